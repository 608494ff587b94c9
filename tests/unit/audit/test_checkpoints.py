"""The form of checkpoints, their signatures, and what is published of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.chains import KEY, OTHER_KEY
from fakes.records import NOON
from portcullis.audit.checkpoints import (
    Checkpoint,
    CheckpointError,
    Place,
    Signed,
    Signer,
    holds,
    key_id,
    read_body,
    read_signed,
)
from portcullis.audit.published import read_published
from portcullis.errors import ConfigError

HASH = "ab" * 32
ONE = Checkpoint("c1", "gate-0", Place(7, HASH), NOON, Place(2, HASH), previous=HASH)
FIRST = replace(ONE, head=Place(0, HASH), pruned=Place(0, HASH), previous="")


def test_the_body_is_the_one_that_is_documented() -> None:
    assert ONE.body() == (
        b'{"apiVersion":"portcullis.dev/v1","kind":"AuditCheckpoint","chain":"c1","replica":"gate-0","position":7,'
        b'"hash":"' + HASH.encode() + b'","at":"2026-03-01T12:00:00.123456Z","prunedThrough":{"position":2,"hash":"'
        + HASH.encode() + b'"},"previous":"' + HASH.encode() + b'"}'
    )  # fmt: skip


@pytest.mark.parametrize("checkpoint", [ONE, FIRST, replace(ONE, replica='"\u00e9\ud800\n')])
def test_what_is_written_is_read(checkpoint: Checkpoint) -> None:
    assert read_body(checkpoint.body()) == checkpoint
    signed = Signer(KEY).sign(checkpoint)
    assert read_signed(json.loads(json.dumps(signed.tree()))) == signed
    assert read_signed(Signed(checkpoint).tree()) == Signed(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        {"apiVersion": "v2"},
        {"kind": "AuditChain"},
        {"chain": 1},
        {"replica": "x" * 301},
        {"position": -1},
        {"position": True},
        {"position": "7"},
        {"position": 2**63},
        {"hash": HASH.upper()},
        {"hash": "ab"},
        {"at": "yesterday"},
        {"at": ""},
        {"prunedThrough": None},
        {"prunedThrough": {"position": 1}},
        {"previous": "x"},
        {"more": 1},
    ],
)
def test_a_body_that_is_written_otherwise_is_none(change: dict[str, Any]) -> None:
    body = json.dumps({**ONE.tree(), **change}, separators=(",", ":")).encode()
    with pytest.raises(CheckpointError):
        read_body(body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b'"x"', ONE.body() + b" ", b"\xff"])
def test_rubbish_is_no_checkpoint(body: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_body(body)


def test_a_signature_is_of_one_key_and_one_body() -> None:
    signed = Signer(KEY).sign(ONE)
    assert holds(KEY.public_key(), signed)
    assert signed.key == key_id(KEY.public_key())
    assert not holds(OTHER_KEY.public_key(), signed)
    assert not holds(KEY.public_key(), replace(signed, checkpoint=FIRST))
    assert not holds(KEY.public_key(), replace(signed, signature=b""))
    assert not holds(KEY.public_key(), replace(signed, signature=KEY.sign(ONE.body())))
    assert Signer().sign(ONE) == Signed(ONE, b"", "")


# -- what is published -------------------------------------------------------------------------------------------------


def line(event: str, signed: Signed) -> str:
    return json.dumps({"timestamp": "2026-03-01", "event": event, "checkpoint": signed.tree(), "logger": "x"})


def test_log_lines_are_read_whatever_stands_around_them(tmp_path: Path) -> None:
    path = tmp_path / "log"
    opened, made = line("audit chain opened", Signed(FIRST)), line("audit checkpoint", Signer(KEY).sign(ONE))
    noise = json.dumps({"event": "decision", "name": '"audit checkpoint"', "x": "y" * 100})
    path.write_text(f"starting\n{noise}\n{opened}\n2026-03-01T12:00:00Z gate-0 {made}\nnot json\n")
    found = list(read_published(path))
    assert [(one.where, one.signed) for one in found] == [
        (f"{path}:3", Signed(FIRST)),
        (f"{path}:4", Signer(KEY).sign(ONE)),
    ]


@pytest.mark.parametrize("form", [yaml.safe_dump, json.dumps, lambda tree: json.dumps(tree, indent=4)])
def test_the_config_map_is_read(tmp_path: Path, form: Any) -> None:
    path = tmp_path / "map"
    data = {"c1": json.dumps(Signed(ONE).tree()), "c2": json.dumps(Signed(replace(ONE, chain="c2")).tree())}
    path.write_text(form({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}))
    assert [one.chain for one in read_published(path)] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no checkpoint"),
        ('{"event": "serving"}\n', "holds no checkpoint"),
        ("kind: ConfigMap\n", "holds no checkpoint"),
        ("kind: ConfigMap\ndata: {c1: x}\n", "data.c1 is no JSON"),
        ("kind: ConfigMap\ndata: {c1: '{}'}\n", "data.c1: it is no AuditCheckpoint"),
        (f"kind: ConfigMap\ndata: {{c2: {json.dumps(json.dumps(Signed(ONE).tree()))}}}\n", "speaks of another chain"),
        ("kind: ConfigMap\ndata: [\n", "is no ConfigMap"),
        (line("audit checkpoint", Signed(ONE))[:200], ":1 is cut off"),
        ('{"event": "audit checkpoint", "checkpoint": {}}', ":1: it is no AuditCheckpoint"),
        (line("audit checkpoint", Signed(ONE)).replace('"signature": ""', '"signature": "x"'), "no hexadecimal"),
    ],
)
def test_what_is_damaged_is_said(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        list(read_published(path))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read_published(tmp_path / "none"))
