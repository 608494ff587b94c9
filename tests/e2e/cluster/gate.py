"""The gate as an engineer installs it: by Helm, from the chart, on the real API server; and what it did there."""

import base64
import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.network import ServiceProxy
from e2e.cluster.pods import Kubelet
from e2e.cluster.programs import Cluster, service_socket
from e2e.cluster.registry import SampleRegistry
from fakes.postgres import PASSWORD, PostgresServer

NAMESPACE = "portcullis-system"
RELEASE = "portcullis"
WEBHOOK = "gate.portcullis.dev"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SIGNER = "signer-ci"
"""The Secret with the public key of who signs scans."""
DATABASE = "audit-database"
"""The Secret with the password of the shared store."""
HELM_SECONDS = 600
"""A machine on which other tests run as well replaces two pods slowly."""
FEW = ("image-pinned", "image-user", "scan-required")
"""The policies by which the images of the tests differ. The library as a whole, which costs each start of a gate
seconds, is installed by test_admission.py, test_install.py and test_live_policies.py."""
CHART = Path(__file__).resolve().parents[3] / "charts" / "portcullis"


@dataclass
class Installed:
    """The release, its pods and its network."""

    cluster: Cluster
    kubelet: Kubelet
    registry: SampleRegistry
    proxy: ServiceProxy
    postgres: PostgresServer | None = None
    database: str = ""
    """The database of that server which the release was told of, "" for SQLite on the volumes."""

    @property
    def replicated(self) -> dict[str, Any]:
        """The values of two replicas on the database, where there is one."""
        if not self.database:
            return {}
        return {"replicas": 2, "database": {"passwordSecret": {"name": DATABASE, "key": "password"}}}

    @property
    def database_url(self) -> str:
        assert self.postgres is not None
        return self.postgres.url(self.database, password="", query="sslmode=disable")

    def shared(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database that replicas share answers."""
        assert self.postgres is not None
        return self.postgres.execute(statement, database=self.database)

    @property
    def ports(self) -> dict[str, int]:
        """Where on this machine's loopback the gate listens, by the names of the chart; of the first replica."""
        return self.kubelet.alive[0].named

    def helm(self, verb: str, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """helm install, upgrade or uninstall; waits until it is done."""
        chart = [] if verb == "uninstall" else [str(CHART), "--values", "-"]
        text = yaml.safe_dump(values or {})
        waiting = ("--wait", f"--timeout={HELM_SECONDS}s")
        command = ("helm", verb, RELEASE, *chart, "--namespace", NAMESPACE, *waiting, *arguments)
        done = self.cluster.run(*command, stdin=text, ok=None, seconds=HELM_SECONDS + 60)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{text}\n{self.kubelet.logs()}"
        return done.stdout

    def values(self, profile: str, **config: Any) -> dict[str, Any]:
        """What the tests need beside the defaults: a registry on loopback that they trust, few policies, and little
        patience. ``policies={}`` leaves the whole library, and is needed where policies of one's own come later."""
        host, loopback = self.registry.host, {"insecure": True, "private": True}
        accept = [{"predicates": ["vulnerability"], "signers": ["ci"]}]
        return {
            "profile": profile,
            **self.replicated,
            "config": {
                **({"audit": {"database": self.database_url}} if self.database else {}),
                "policies": {"enabled": list(FEW)},
                "server": {"stopDelaySeconds": 1},
                "registries": {"hosts": {host: loopback}},
                "trust": {
                    "signers": {"ci": {"key": {"secret": {"name": SIGNER}}}},
                    "rules": [{"images": [f"{host}/acme/**"], "accept": accept}],
                },
                **config,
            },
        }

    def webhook(self) -> dict[str, Any]:
        """The entry of the webhook configuration that judges workloads."""
        webhooks = self.cluster.api.get(f"{CONFIGURATIONS}/{RELEASE}")["webhooks"]
        return next(dict(webhook) for webhook in webhooks if webhook["name"] == WEBHOOK)

    @property
    def ca_bundle(self) -> bytes:
        """By which the webhook is trusted: PEM."""
        return base64.b64decode(self.webhook()["clientConfig"].get("caBundle", ""))

    @property
    def records(self) -> list[dict[str, Any]]:
        """Every decision in the audit logs of the release, oldest first: on its volumes and in its database."""
        columns = "id, chain, uid, username, operation, kind, namespace, name, verdict, code, because, dry_run, body"
        query = f"select {columns} from decisions order by sequence"
        found = []
        for database in sorted(self.kubelet.claims.glob("*/audit.db"), key=lambda path: path.stat().st_ctime):
            with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                found += [dict(row) for row in connection.execute(query)]
        if self.postgres is not None and self.database:
            rows = self.shared(query)
            found += [dict(zip(columns.split(", "), row, strict=True)) for row in rows]
        return found

    def records_of(self, name: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["name"] == name]


@contextlib.contextmanager
def prepared(cluster: Cluster, registry: SampleRegistry, *, nodes: int = 1) -> Iterator[Installed]:
    """Everything that an installation needs of a cluster; nothing is installed yet."""
    kubelet = Kubelet(cluster, NAMESPACE, nodes)
    proxy = ServiceProxy(cluster.api, service_socket(cluster.folder), kubelet.true_port)
    made = Installed(cluster, kubelet, registry, proxy)
    prepare_namespace(made)
    with proxy.running(), kubelet.running():
        yield made


def prepare_namespace(release: Installed) -> None:
    """The namespace of the release, with the Secrets that its values name."""
    release.cluster.namespace(NAMESPACE)
    _secret(release, SIGNER, {"cosign.pub": release.registry.public_key})
    if release.database:
        _secret(release, DATABASE, {"password": PASSWORD})


def _secret(release: Installed, name: str, content: Mapping[str, str]) -> None:
    metadata = {"name": name, "namespace": NAMESPACE}
    release.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(content)})


@contextlib.contextmanager
def shared_store(release: Installed) -> Iterator[None]:
    """A PostgreSQL server beside the cluster, and the Secret with its password: what is installed meanwhile has two
    replicas."""
    server = release.postgres = PostgresServer()
    try:
        server.start()
        with server.database() as database:
            release.database = database
            _secret(release, DATABASE, {"password": PASSWORD})
            yield
    finally:
        release.database, release.postgres = "", None
        server.close()


def assert_joined(installed: Installed) -> None:
    """Every request of this cluster that a rule covers has its record; the webhook was there all the time. Events are
    read first: a record is there before its answer, and controllers go on."""
    events = installed.cluster.audit_events()
    webhook = installed.webhook()
    (exempt,) = webhook["namespaceSelector"]["matchExpressions"]
    ids = {record["id"] for record in installed.records}
    assert unmatched(events, ids, webhook["rules"], exempt["values"]) == []


def unmatched(
    events: Iterable[Mapping[str, Any]], ids: Collection[str], rules: Sequence[Mapping[str, Any]], exempt: Sequence[str]
) -> list[str]:
    """Requests of the API server's audit log that a rule covers and that no record of ours is joined with.

    The joint is the decision's id: the API server makes a uid for each review, which its own log does not keep, and
    keeps the annotations of the answer. A request that never came to validating admission has no decision: the API
    server said before that it is not allowed, not valid, or in conflict with another.

    Args:
        events: of audit.k8s.io/v1.
        ids: of our records.
        rules: of the webhook.
        exempt: namespaces that its selector leaves out.
    """
    covered = {
        (group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }  # fmt: skip
    missing = []
    for event in events:
        reference = event.get("objectRef", {})
        resource = "/".join(part for part in (reference.get("resource", ""), reference.get("subresource", "")) if part)
        if (reference.get("apiGroup", ""), resource) not in covered or reference.get("namespace", "") in exempt:
            continue
        if event["verb"] not in ("create", "update", "patch"):
            continue
        decision = event.get("annotations", {}).get(f"{WEBHOOK}/decision-id")
        if decision in ids or (decision is None and _ended_before(event)):
            continue
        missing.append(json.dumps({key: event.get(key) for key in ("verb", "requestURI", "responseStatus", "user")}))
    return missing


def _ended_before(event: Mapping[str, Any]) -> bool:
    """Whether the request was refused on its way to validating admission, by others than the webhook."""
    status = event.get("responseStatus", {})
    return status.get("code") in (400, 401, 403, 404, 409, 415, 422) and "webhook" not in status.get("message", "")
