"""A secret in every field of a review, and a search for each in everything that the running program leaves behind."""

import asyncio
import base64
import contextlib
import json
import re
import signal
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.collector import Collector, collecting
from fakes.patience import PATIENCE_SECONDS
from fakes.reviews import review
from fakes.webhook import WebhookProcess, running_webhook
from portcullis.audit.exporting import export_line, export_row
from portcullis.audit.sql import SqlRecords
from portcullis.model.record import AuditRecord, RecordFilter

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

SEGMENT = "an-unguessable-word-0001"
KEPT = "no-secret-and-so-found-everywhere"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# A policy that repeats all it sees where people read it, and one that refuses, in message and details.
TALKATIVE = """# METADATA
# title: Repeats what it sees
# description: Repeats what it sees.
# custom: {severity: low, mode: deny}
package portcullis.policies.talkative

import rego.v1

deny contains {
	"msg": json.marshal(input.request),
	"details": {"object": input.request.object, "old": input.request.oldObject},
	"field": input.workload.name,
}
"""


class Sower:
    """Makes secrets that differ, and remembers them."""

    def __init__(self) -> None:
        self.planted: dict[str, str] = {}

    def plain(self, field: str) -> str:
        """One that only its place gives away."""
        self.planted[field] = f"plain{len(self.planted):03}Hunter2"
        return self.planted[field]

    def token(self, field: str) -> str:
        """One that is known by its form."""
        self.planted[field] = f"ghp_{len(self.planted):03}" + "Zz9" * 11
        return self.planted[field]

    def jwt(self, field: str) -> str:
        self.planted[field] = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOi{len(self.planted):03}.c2lnbmF0dXJl"
        return self.planted[field]

    def found(self, content: bytes) -> list[str]:
        """The fields whose secret is in there, plain or in base64."""
        return [field for field, text in self.planted.items() if any(form in content for form in forms(text))]


def forms(text: str) -> Iterator[bytes]:
    yield text.encode()
    for before in range(3):  # where it may stand in what was encoded
        whole = base64.b64encode(b"\0" * before + text.encode())
        yield whole[4 if before else 0 : -4]


def pod_of(sow: Sower, name: str) -> dict[str, Any]:
    def container(where: str) -> dict[str, Any]:
        probe = {
            "exec": {"command": ["sh", "-c", f"mysql -p{sow.plain(f'{where} probe')} -e 1"]},
            "httpGet": {
                "port": 1,
                "httpHeaders": [{"name": "Authorization", "value": f"Basic {sow.plain(f'{where} header')}"}],
            },
        }
        return {
            "name": "c",
            "image": "registry.example/acme/web@sha256:" + "ab" * 32,
            "command": ["run", f"--password={sow.plain(f'{where} command')}"],
            "args": ["--token", sow.plain(f"{where} args"), sow.token(f"{where} token in args"), f"note={KEPT}"],
            "env": [{"name": "A", "value": sow.plain(f"{where} env")}],
            "livenessProbe": probe,
            "lifecycle": {"preStop": {"exec": {"command": ["curl", "-u", f"ada:{sow.plain(f'{where} hook')}"]}}},
        }

    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"token-of-label": sow.token(f"{name} label"), "kept": KEPT},
            "annotations": {
                LAST_APPLIED: json.dumps({"spec": sow.plain(f"{name} last applied")}),
                "note": f"see https://ada:{sow.plain(f'{name} annotation URL')}@r.example and {sow.jwt(f'{name} JWT')}",
                "db-password": sow.plain(f"{name} annotation by name"),
                "docker": json.dumps({"auths": {"r.example": {"auth": sow.plain(f"{name} docker config")}}}),
                sow.token(f"{name} annotation key"): "x",
                "kept": KEPT,
            },
            "managedFields": [{"manager": sow.plain(f"{name} managed fields")}],
        },
        "spec": {
            "containers": [container(f"{name} container")],
            "initContainers": [container(f"{name} init")],
            "ephemeralContainers": [container(f"{name} ephemeral")],
        },
    }


def reviews_of(sow: Sower, turn: str) -> list[dict[str, Any]]:
    user = {"username": "ada@example.test", "groups": ["developers"], "uid": sow.token(f"{turn} user uid")}
    user["extra"] = {"x.example/token": [sow.plain(f"{turn} extra by name")], "k": [sow.jwt(f"{turn} extra")]}
    hostile = {"username": sow.token(f"{turn} user"), "groups": [sow.token(f"{turn} group")]}
    options = {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": sow.token(f"{turn} options")}
    pod = pod_of(sow, f"{turn}-pod")
    secret = {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": "s", "annotations": {"kept": KEPT}},
        "data": {"a": base64.b64encode(sow.plain(f"{turn} Secret data").encode()).decode()},
        "stringData": {"b": sow.plain(f"{turn} Secret stringData")},
    }
    settings = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "c"},
        "data": {"app.yaml": f"kept: {KEPT}\npassword: {sow.plain(f'{turn} ConfigMap')}\n"},
        "binaryData": {"a": base64.b64encode(sow.plain(f"{turn} ConfigMap binary").encode()).decode()},
    }
    key = f"-----BEGIN PRIVATE KEY-----\n{sow.plain(f'{turn} private key')}\n-----END PRIVATE KEY-----\n"
    custom = {
        "kind": "App",
        "apiVersion": "example.test/v1",
        "metadata": {"name": "a"},
        "spec": {
            "deep": [{"er": {"password": sow.plain(f"{turn} custom password")}}],
            "key": key,
            "own": {"place": sow.plain(f"{turn} own path")},
            "words": f"acme {(own := sow.plain(f'{turn} own pattern'))} {own.upper()}",
            sow.token(f"{turn} custom key"): {"kept": KEPT},
        },
    }  # fmt: skip
    return [
        review(pod, userInfo=user, options=options),
        review(pod, operation="UPDATE", oldObject=pod_of(sow, f"{turn}-old"), userInfo=hostile, dryRun=True),
        review(secret, name=sow.token(f"{turn} name")),
        review(settings),
        review(custom, namespace=sow.token(f"{turn} namespace")),
        review(None, operation="DELETE", oldObject=secret),
    ]


def bad_bodies(sow: Sower, turn: str) -> list[bytes]:
    """What is no review, and what cannot be redacted."""
    good = json.dumps(review(pod_of(sow, f"{turn}-twice"))).encode()
    key = sow.token(f"{turn} double key").encode()
    much = {"kind": "App", "apiVersion": "v1", "spec": f"password={sow.plain(f'{turn} too much')} " * 20_000}
    return [
        good.replace(b'"request": {', b'"request": {"' + key + b'": 1, "' + key + b'": 2, ', 1),
        good.replace(b"admission.k8s.io/v1", sow.token(f"{turn} apiVersion").encode()),
        json.dumps(review(much)).encode(),
    ]


@contextlib.asynccontextmanager
async def gate(folder: Path, collector: Collector) -> Any:
    policies = folder / "policies" / "talkative"
    policies.mkdir(parents=True)
    (policies / "policy.rego").write_text(TALKATIVE)
    redaction = {
        "paths": ["object.spec.own.place"],
        "patterns": [{"name": "acme", "regex": "acme plain[0-9]{3}Hunter2"}],
    }
    sinks = [
        {"stdout": {"input": True}},
        {"file": {"path": "decisions.jsonl", "input": True}},
        {"otlp": {"endpoint": collector.url, "input": True}},
    ]
    with (folder / "stdout").open("wb") as stdout:
        async with running_webhook(
            folder,
            stdout=stdout,
            server={"pathSegment": SEGMENT},
            limits={"messageChars": 100_000},
            policies={"builtin": False, "folders": [str(policies.parent)]},
            audit={
                "database": "sqlite:///audit.db",
                "redaction": redaction,
                "sinks": sinks,
                "pages": {"enabled": True, "port": 0},
            },
        ) as running:
            yield running


async def records_of(folder: Path) -> list[AuditRecord]:
    store = SqlRecords(url=f"sqlite:///{folder}/audit.db", read_only=True)
    await store.start()
    try:
        found = await store.search(RecordFilter(limit=1000))
        whole = [await store.get(record.decision.id) for record in found]
        return [record for record in whole if record is not None]
    finally:
        await store.aclose()


def shown(address: str, records: list[AuditRecord]) -> bytes:
    """All that a reader of the audit pages gets of the decisions."""
    paths = ["/", "/decisions", "/decisions/export.csv", "/decisions/export.jsonl", "/policies", "/api/v1/decisions"]
    for record in records:
        page = f"/decisions/{record.decision.id}"
        paths += [page, f"{page}/record.json", f"{page}/input.json", f"/api/v1{page}"]
    content = b""
    for path in paths:
        # A record without an input has none to show: 404.
        with (
            contextlib.suppress(urllib.error.HTTPError),
            urllib.request.urlopen(f"{address}{path}", timeout=120) as answer,
        ):
            content += answer.read()
    return content


async def send_all(running: WebhookProcess, sow: Sower, turn: str) -> None:
    for path in (f"/{SEGMENT}/validate?timeout=30s", "/validate?timeout=30s"):
        for judged in reviews_of(sow, f"{turn}{len(path)}"):
            reply = await running.post(json.dumps(judged).encode(), path)
            answer = reply.response
            assert answer["status"]["code"] == 403, answer
            assert sow.found(json.dumps(answer).encode()) == []
        for body in bad_bodies(sow, f"{turn}{len(path)}"):
            assert (await running.post(body, path)).status == 200


async def test_no_planted_secret_is_left_anywhere(tmp_path: Path) -> None:
    sow = Sower()
    with collecting() as collector:
        async with gate(tmp_path, collector) as running:
            await send_all(running, sow, "first")
            hold = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
            try:
                hold.execute("begin exclusive")
                await send_all(running, sow, "down")
                journal = (tmp_path / "audit.db.journal").read_bytes()
            finally:
                hold.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(records := await records_of(tmp_path)) < 36:
                    await asyncio.sleep(0.1)
            address = (await running.until_logged("serving audit pages"))[0]["address"]
            pages = await asyncio.to_thread(shown, address, records)
            metrics = (await running.get("/metrics")).body + (await running.get("/readyz?verbose")).body
            wal = (tmp_path / "audit.db-wal").read_bytes()
            assert await running.stop(signal.SIGTERM) == 0
        lines = json.dumps(running.lines).encode()
        told = b"\n".join(record.body.string_value.encode() for record in collector.received)
    left = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    documents = b"\n".join(record.decision.document for record in records)
    exported = b"".join(
        export_line(record, document=True) + "\n".join(export_row(record)).encode() for record in records
    )
    places = {
        **left,
        "journal": journal,
        "wal": wal,
        "log": lines,
        "pages": pages,
        "metrics": metrics,
        "collector": told,
        "documents": documents,
        "exports": exported,
        "records": repr(records).encode(),
    }
    assert len(sow.planted) > 200
    assert {name: found for name, content in places.items() if (found := sow.found(content))} == {}
    # The search itself works: what is no secret is found where it should be.
    for name in ("stdout", "decisions.jsonl", "journal", "pages", "collector", "documents", "exports"):
        assert KEPT.encode() in places[name], name
    check_records(records)


def check_records(records: list[AuditRecord]) -> None:
    """Redaction left what policies and people need: names, images, and the rest of the request."""
    verified = [record for record in records if str(record.caller) == "path"]
    unverified = [record for record in records if str(record.caller) == "unverified"]
    assert len(verified) == len(unverified) == 18
    assert all(record.decision.document == b"" for record in unverified)
    reasons = [problem.reason for record in verified for problem in record.decision.problems]
    assert sorted(reasons) == ["redaction-failed"] * 2 + ["review-malformed"] * 4
    assert {record.dry_run for record in verified} == {True, False}
    judged = [json.loads(record.decision.document) for record in verified if record.decision.document]
    assert len(judged) == 12
    pods = [one for one in judged if one["workload"]["kind"] == "Pod"]
    for pod in pods:
        for container in pod["containers"]:
            assert re.fullmatch(r"registry\.example/acme/web@sha256:(ab){32}", container["image"])
            assert container["spec"]["args"] == ["--token", "[redacted]", "[redacted]", f"note={KEPT}"]
            assert container["spec"]["command"] == ["run", "--password=[redacted]"]
    assert len(pods) == 4
