"""Issue 8: two replicas on one PostgreSQL, which is killed, which a newer version has changed, and over which two
configurations with different policies stand side by side; each under a steady stream of requests."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from e2e.cluster.gate import CHART, FEW, NAMESPACE, RELEASE, Installed, shared_store
from e2e.cluster.programs import until
from e2e.faulting.joining import Fate, joined, postgres_records
from e2e.faulting.stream import Stream
from e2e.faulting.watching import readyz
from fakes.postgres import PostgresServer

SHOP = "shop"
TEAM = """
# METADATA
# title: Workloads name their team
# custom: {mode: audit}
package portcullis.policies.team_label

import rego.v1

deny contains {"msg": "has no label team", "fix": "add it"} if not labelled

labelled if input.workload.labels.team != ""
"""


@pytest.fixture(scope="module")
def gate(release: Installed) -> Iterator[Installed]:
    release.cluster.namespace(SHOP)
    with shared_store(release):
        policies = {"metadata": {"name": "teams", "namespace": NAMESPACE}, "data": {"team.rego": TEAM}}
        release.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", **policies})
        ungated = len(release.cluster.audit_events())
        release.helm("install", values=release.values("enforce"))
        yield release
        found = joined(release, lambda: postgres_records(release), ungated=ungated)
        assert not found.of(Fate.UNMATCHED), str(found)
        assert (list(found.twice), list(found.unclaimed)) == ([], []), str(found)
        assert len(found.of(Fate.RECORDED)) > 200, str(found)
        assert not found.of(Fate.UNRECORDED), str(found)


@pytest.fixture
def server(gate: Installed) -> PostgresServer:
    assert gate.postgres is not None
    return gate.postgres


def test_kill_9_of_postgresql_under_load(gate: Installed, server: PostgresServer) -> None:
    """Nobody who creates a pod notices: the journals take over, and their records arrive later."""
    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        server.kill()
        stream.settle(40)
        said = [readyz(pod) for pod in gate.kubelet.alive]
        assert all(ready for ready, _ in said), said
        assert any("[!]audit degraded" in text for _, text in said), said
        server.start()
        stream.settle()
        until(
            lambda: all("[+]audit ok" in readyz(pod)[1] for pod in gate.kubelet.alive), "the journals to be told", 120
        )
    assert not stream.felt, stream.counts
    until(lambda: recorded(gate) >= {one.name for one in stream.sent}, "every record", 120)


def recorded(gate: Installed) -> set[str]:
    return {record["name"] for record in postgres_records(gate)}


def test_two_configurations_with_other_policies_side_by_side(gate: Installed) -> None:
    """A rollout that stops half-way: both decide, each by its own, and record into one log that holds together."""
    before = {pod.uid for pod in gate.kubelet.alive}
    changed = {
        **gate.values("enforce", policies={"enabled": [*FEW, "team-label"], "modes": {"image-pinned": "audit"}}),
        "policyConfigMaps": ["teams"],
    }
    deployment = ("deployment", RELEASE, "--namespace", NAMESPACE)
    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        told = len(postgres_records(gate))
        upgrade(gate, changed)
        until(lambda: len(gate.kubelet.alive) > len(before), "the first pod of the new revision", 120)
        gate.cluster.kubectl("rollout", "pause", *deployment)
        until(lambda: len(gate.kubelet.ready) > len(before), "it to be ready", 200)
        assert before <= {pod.uid for pod in gate.kubelet.ready}
        stream.settle(60)
        revisions = [record["config_revision"] for record in postgres_records(gate)[told:]]
        assert len(set(revisions)) == 2
        first = revisions.index(next(one for one in revisions if one != revisions[0]))
        assert revisions[0] in revisions[first:], "they took turns"
        gate.cluster.kubectl("rollout", "resume", *deployment)
        gate.cluster.kubectl("rollout", "status", *deployment, "--timeout=600s")
        stream.settle()
    assert not stream.felt, stream.counts
    verified = gate.kubelet.execute(gate.kubelet.ready[0], ["portcullis", "audit", "verify"])
    assert verified.returncode == 0, verified.stdout + verified.stderr


def upgrade(gate: Installed, wanted: dict[str, Any]) -> None:
    """Does not wait for the pods."""
    command = ("helm", "upgrade", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-")
    gate.cluster.run(*command, stdin=yaml.safe_dump(wanted))


def test_a_newer_version_has_changed_the_database(gate: Installed, server: PostgresServer) -> None:
    """Who runs goes on; who starts does not, and says why: the other replica serves meanwhile."""
    (revision,) = server.execute("SELECT version_num FROM alembic_version", database=gate.database)
    old, other = gate.kubelet.ready
    with Stream(gate, SHOP).running() as stream:
        stream.settle()
        server.execute("UPDATE alembic_version SET version_num = '9999'", database=gate.database)
        stream.settle()
        os.kill(old.process.pid, signal.SIGKILL)
        until(lambda: "newer version of Portcullis" in old.log, "its words", 200)
        stream.settle()
        assert other.ready
        assert not old.ready
        server.execute("UPDATE alembic_version SET version_num = %s", *revision, database=gate.database)
        until(lambda: old.ready, "it to start", 200)
        stream.settle()
