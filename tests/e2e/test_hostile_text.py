"""Issue 7, bad input: an attacker's text goes through the real webhook into the log, and out again unharmed."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.support import portcullis
from fakes.reviews import review
from fakes.webhook import WebhookProcess, running_webhook
from portcullis.audit.sql import open_records
from portcullis.model.record import RecordFilter

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

NAME_CHARS = 260
USER_CHARS = 512
"""What is kept of names and of users (server/recording.py)."""

ECHO = """# METADATA
# title: Says what the author of an object wrote
# description: So that his text is in messages.
# custom: {severity: low, mode: deny}
package portcullis.policies.echo

import rego.v1

deny contains violation if {
	said := input.workload.annotations.say
	some container in input.containers
	where := {"container": container.name, "image": container.image}
	violation := object.union(where, {"msg": said, "fix": said, "details": {said: said}})
}
"""

HOSTILE = {
    "SQL": "x'; DROP TABLE decisions; --",
    "SQL in double quotes": 'x" OR "1"="1',
    "wildcards": "%_*?[a-z]",
    "HTML": "</td><script>alert(document.domain)</script>",
    "attributes": "\" onmouseover=alert(1) x='",
    "templates": "{{ 7*7 }}{% for x in y %}${7*7}",
    "a terminal": "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "lines": 'a\r\nb\n{"level":"error","event":"forged"}',
    "CSV": '=HYPERLINK("http://example.test","x")',
    "right to left": "abc\u202etxt.exe\u2066",
    "full text": 'NEAR("a" b) AND NOT c* ^d',
    "paths": "../../../etc/hostname",
    "long": "n" * 5000,
}  # fmt: skip


def hostile_body(number: int, text: str) -> bytes:
    """A review with the text in every field that somebody else than the API server chooses."""
    judged = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": text,
            "namespace": text,
            "labels": {text: text, "app": text},
            "annotations": {text: text, "say": text},
            "finalizers": [text],
        },
        "spec": {
            "serviceAccountName": text,
            "containers": [{"name": text, "image": text, "command": [text], "env": [{"name": text, "value": text}]}],
        },
    }
    user = {"username": text, "uid": text, "groups": [text], "extra": {text: [text]}}
    return json.dumps(review(judged, uid=f"u-{number}", name=text, namespace=text, userInfo=user)).encode()


@contextlib.asynccontextmanager
async def echoing(folder: Path) -> AsyncIterator[WebhookProcess]:
    (folder / "policies").mkdir()
    (folder / "policies" / "echo.rego").write_text(ECHO)
    async with running_webhook(folder, policies={"builtin": False, "folders": ["policies"]}) as running:
        yield running


def audit(folder: Path, *arguments: str) -> str:
    """What an audit command prints."""
    command, *others = arguments
    done = portcullis("audit", command, "--config", str(folder / "portcullis.yaml"), *others)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bounded(text: str, limit: int) -> str:
    """As it is kept."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


async def test_hostile_text_is_recorded_and_found_as_it_is(tmp_path: Path) -> None:
    async with echoing(tmp_path) as running:
        decisions = {}
        for number, (kind, text) in enumerate(HOSTILE.items()):
            reply = await running.post(hostile_body(number, text))
            assert reply.response["status"]["code"] == 403, kind
            decisions[kind] = reply.response["auditAnnotations"]["decision-id"]
        assert not [line for line in running.lines if line.get("event") == "forged"]

        async with open_records(f"sqlite:///{tmp_path}/audit.db") as records:
            for kind, text in HOSTILE.items():
                name, user = bounded(text, NAME_CHARS), bounded(text, USER_CHARS)
                for query in (
                    RecordFilter(name=name),
                    RecordFilter(namespace=name),
                    RecordFilter(username=user),
                    RecordFilter(image=text),
                ):
                    (found,) = await records.search(query)
                    assert found.decision.id == decisions[kind], (kind, query)
                record = await records.get(decisions[kind])
                assert record is not None
                assert (record.name, record.namespace) == (name, name)
                assert (record.username, record.groups) == (user, (user,))
                assert record.decision.images[0].written == text
                workload = json.loads(record.decision.document)["workload"]
                assert workload["annotations"]["say"] == workload["labels"][text] == text

        listed = json.loads(audit(tmp_path, "list", "--user", HOSTILE["SQL"], "-o", "json"))["items"]
        assert [item["id"] for item in listed] == [decisions["SQL"]]
        shown = json.loads(audit(tmp_path, "show", decisions["a terminal"], "-o", "json"))["record"]
        assert shown["name"] == shown["input"]["workload"]["annotations"]["say"] == HOSTILE["a terminal"]
        for page in (
            audit(tmp_path, "list"),
            *(audit(tmp_path, "show", decisions[kind]) for kind in ("a terminal", "lines", "right to left")),
        ):
            assert not {char for char in page if not char.isprintable()} - {"\n"}


async def test_annotations_of_a_megabyte_are_kept_whole(tmp_path: Path) -> None:
    words = "".join(f"word {number} " for number in range(100_000))[: 1024 * 1024]
    async with echoing(tmp_path) as running:
        sent = json.loads(hostile_body(0, "web"))
        sent["request"]["object"]["metadata"]["annotations"] = {"large": words}
        for number in range(3):
            sent["request"]["uid"] = f"u-{number}"
            reply = await running.post(json.dumps(sent).encode())
            assert reply.response["allowed"] is True
        decision = reply.response["auditAnnotations"]["decision-id"]
        shown = json.loads(audit(tmp_path, "show", decision, "-o", "json"))["record"]
        assert shown["input"]["workload"]["annotations"]["large"] == words
        assert len(audit(tmp_path, "list")) < 10_000
