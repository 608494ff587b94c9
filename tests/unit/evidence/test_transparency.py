"""Entries of transparency logs: promises, inclusion proofs and checkpoints; and whose entry it is."""
# ruff: noqa: E501  (tables: one case, one line)

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portcullis.evidence.entries import Claim, require_entry_of
from portcullis.evidence.material import InclusionProof, LogEntry
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.roots import load_root
from portcullis.evidence.signed import Signed
from portcullis.evidence.transparency import prove_entry
from portcullis.limits import DEFAULT_LIMITS
from vectors import sigstore as made
from vectors.sigstore import AT, LOG_ID, LOG_KEY, LOG_NAME, b64

LOGS = load_root(made.root(), DEFAULT_LIMITS).logs
BODY = b'{"kind":"x"}'
SECONDS = int(AT.timestamp())


def promised(**changes: Any) -> LogEntry:
    """An entry with a promise and no proof."""
    usual = LogEntry("", "", LOG_ID, 1005, SECONDS, BODY, made.promise(BODY, SECONDS), None)
    return replace(usual, **changes)


def included(index: int = 5, size: int = 7, **changes: Any) -> LogEntry:
    """An entry with a proof and no promise."""
    given = made.inclusion(BODY, index=index, size=size)
    proof = InclusionProof(
        log_index=index,
        tree_size=size,
        root_hash=base64.b64decode(given["rootHash"]),
        hashes=tuple(base64.b64decode(one) for one in given["hashes"]),
        checkpoint=given["checkpoint"]["envelope"],
    )
    return LogEntry("", "", LOG_ID, 1005, None, BODY, b"", replace(proof, **changes))


def test_a_promise_gives_a_time_and_a_proof_none() -> None:
    proven = prove_entry(promised(), LOGS)
    assert (proven.at, proven.included, proven.log) == (AT, False, LOGS[0])
    proven = prove_entry(included(), LOGS)
    assert (proven.at, proven.included) == (None, True)
    proven = prove_entry(replace(included(), set=made.promise(BODY, SECONDS), integrated_at=SECONDS), LOGS)
    assert (proven.at, proven.included) == (AT, True)


@pytest.mark.parametrize(("index", "size"), [(index, size) for size in range(1, 18) for index in range(size)])
def test_proofs_in_trees_of_all_shapes(index: int, size: int) -> None:
    assert prove_entry(included(index, size), LOGS).included
    entry = included(index, size)
    assert entry.proof is not None
    spare = replace(entry.proof, hashes=(*entry.proof.hashes, b"x" * 32))
    for proof in (
        spare,
        replace(entry.proof, hashes=entry.proof.hashes[:-1]),
        replace(entry.proof, log_index=index + 1),
    ):
        if proof != entry.proof:
            with pytest.raises(EvidenceError, match="the inclusion proof"):
                prove_entry(replace(entry, proof=proof), LOGS)


def _note(text: str, *lines: str) -> str:
    return f"{text}\n{''.join(lines)}"


ROOT = made.tree_hash([*(str(number).encode() for number in range(5)), BODY, b"6"])
TEXT = f"{LOG_NAME} - 123\n7\n{b64(ROOT)}\n"
GOOD_LINE = made.note_line(LOG_NAME, LOG_ID, made.sign(LOG_KEY, TEXT.encode()))
STRANGE_LINE = made.note_line("witness.test", b"wxyz", b"anything")
WITH_TIME = TEXT + "Timestamp: 1700000000\n"


@pytest.mark.parametrize(
    "checkpoint",
    [
        _note(TEXT, GOOD_LINE),
        _note(TEXT, STRANGE_LINE, GOOD_LINE),
        _note(TEXT, GOOD_LINE, STRANGE_LINE),
        _note(TEXT, made.note_line(LOG_NAME, LOG_ID, b"broken"), GOOD_LINE),
        _note(TEXT, made.note_line(LOG_NAME, b"wxyz", b"another key"), GOOD_LINE),
        _note(WITH_TIME, made.note_line(LOG_NAME, LOG_ID, made.sign(LOG_KEY, WITH_TIME.encode()))),
    ],
)
def test_checkpoints_that_hold(checkpoint: str) -> None:
    assert prove_entry(included(checkpoint=checkpoint), LOGS).included


def _signed(text: str) -> str:
    return _note(text, made.note_line(LOG_NAME, LOG_ID, made.sign(LOG_KEY, text.encode())))


@pytest.mark.parametrize(
    ("checkpoint", "says"),
    [
        ("", "no signed note"),
        (TEXT, "no signed note"),
        (_note(TEXT), "has no signature, or a line"),
        (_note(TEXT, GOOD_LINE, "not a signature\n"), "a line among them that is none"),
        (_note(TEXT, GOOD_LINE, "\n", GOOD_LINE), "a line among them that is none"),
        (_note(TEXT, STRANGE_LINE), "no signature of the log"),
        (_note(TEXT, made.note_line(LOG_NAME, LOG_ID, b"broken")), "no signature of the log"),
        (_note(TEXT, made.note_line("other.test", LOG_ID, made.sign(LOG_KEY, TEXT.encode()))), "no signature of the log"),
        (_note(TEXT, made.note_line(LOG_NAME, b"wxyz", made.sign(LOG_KEY, TEXT.encode()))), "no signature of the log"),
        (_note(TEXT.replace("7", "8"), GOOD_LINE), "of another tree"),
        (_signed(TEXT.replace("\n7\n", "\n8\n")), "of another tree"),
        (_signed(f"{LOG_NAME} - 123\n7\n{b64(b'x' * 32)}\n"), "of another tree"),
        (_note(TEXT.replace("123", "124"), GOOD_LINE), "no signature of the log"),
        (_signed(f"{LOG_NAME}\n7\n"), "no signed note"),
        (_signed(f"\n7\n{b64(ROOT)}\n"), "no signed note"),
        (_signed(f"{LOG_NAME}\nseven\n{b64(ROOT)}\n"), "no signed note"),
        (_signed(f"{LOG_NAME}\n7\n%\n"), "not standard base64"),
        (_note(TEXT, *[STRANGE_LINE] * 1100), "the checkpoint has 3"),
    ],
    ids=map(str, range(18)),
)  # fmt: skip
def test_checkpoints_that_do_not_hold(checkpoint: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        prove_entry(included(checkpoint=checkpoint), LOGS)
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (promised(log_id=b"x" * 32), "the trusted root does not list"),
        (promised(log_id=LOG_ID[:4]), "the trusted root does not list"),
        (promised(set=made.promise(BODY, SECONDS, key=made.CT_KEY)), "is none of the log"),
        (promised(set=b"x"), "is none of the log"),
        (promised(body=b"{}"), "is none of the log"),
        (promised(integrated_at=None), "without a time that can be"),
        (promised(integrated_at=2**62), "without a time that can be"),
        (promised(log_index=2**62), "canonical JSON"),
        (included(root_hash=b"x" * 32), "does not lead to its root hash"),
        (included(tree_size=0), "about entry 5 of a tree of 0"),
        (replace(included(), body=b"{}"), "does not lead to its root hash"),
        (replace(included(), proof=None), "neither"),
    ],
)
def test_entries_that_are_not_proven(entry: LogEntry, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        prove_entry(entry, LOGS)
    assert (refused.value.reason, says in refused.value.message) == ("attestation-unlogged", True), (
        refused.value.message
    )


def test_a_log_whose_key_is_of_an_unknown_kind() -> None:
    with pytest.raises(EvidenceError, match="does not list"):
        prove_entry(promised(), [replace(LOGS[0], key=None)])


# -- step 5: whose entry it is -----------------------------------------------------------------------------

HOLDER = made.leaf()
PAYLOAD = b"{}"
MADE = made.made_by(HOLDER, PAYLOAD)
CLAIM = Claim((MADE.signature,), Signed(MADE.signed), PAYLOAD, HOLDER.der, is_certificate=True)
SPKI = made.der(HOLDER.certificate.public_key())  # type: ignore[arg-type]
KEY_PEM = HOLDER.certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def entry_with(body: bytes, kind: str = "", version: str = "") -> LogEntry:
    return promised(body=body, kind=kind, version=version)


KINDS: dict[str, Callable[[made.Made], bytes]] = {
    "dsse": made.dsse,
    "intoto": made.intoto,
    "hashedrekord": made.hashedrekord,
    "hashedrekord 2": made.hashedrekord2,
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_of_this_signature(kind: str) -> None:
    require_entry_of(entry_with(KINDS[kind](MADE)), CLAIM, DEFAULT_LIMITS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"payload": b"x", "signed": b"x"}, "of other content"),
        ({"signature": b"x"}, "of another signature"),
        ({"verifier": made.leaf().pem, "raw": made.leaf().der}, "of another signer"),
        ({"verifier": KEY_PEM, "raw": SPKI, "is_certificate": False}, "of a"),
    ],
)
def test_an_entry_of_another(kind: str, changes: dict[str, Any], says: str) -> None:
    """Each of the three parts by itself: content, signature, signer."""
    with pytest.raises(EvidenceError) as refused:
        require_entry_of(entry_with(KINDS[kind](replace(MADE, **changes))), CLAIM, DEFAULT_LIMITS)
    assert (refused.value.reason, says in refused.value.message) == ("attestation-unlogged", True), (
        refused.value.message
    )


def test_an_entry_whose_signature_is_in_base64_once() -> None:
    body = json.loads(made.intoto(MADE))
    body["spec"]["content"]["envelope"]["signatures"][0]["sig"] = b64(MADE.signature)
    require_entry_of(entry_with(rfc8785.dumps(body)), CLAIM, DEFAULT_LIMITS)


def _edited(make: Callable[[made.Made], bytes], edit: Callable[[dict[str, Any]], object]) -> bytes:
    body = json.loads(make(MADE))
    edit(body["spec"])
    return rfc8785.dumps(body)


@pytest.mark.parametrize(
    ("body", "claim", "reason", "says"),
    [
        (b"x", CLAIM, "invalid", "is not JSON"),
        (b'{"kind":"dsse","kind":"dsse"}', CLAIM, "invalid", "stands twice"),
        (b"{}", CLAIM, "invalid", "another shape"),
        (b'{"kind":"intoto","apiVersion":"0.0.1","spec":{}}', CLAIM, "unsupported", 'kind "intoto 0.0.1"'),
        (b'{"kind":"dsse","apiVersion":"0.0.2","spec":{}}', CLAIM, "unsupported", 'kind "dsse 0.0.2"'),
        (b'{"kind":"rpm","apiVersion":"0.0.1","spec":{}}', CLAIM, "unsupported", "which is not read"),
        (b'{"kind":"dsse","apiVersion":"0.0.1","spec":{}}', CLAIM, "invalid", "another shape"),
        (_edited(made.dsse, lambda spec: spec.update(signatures=[])), CLAIM, "unlogged", "holds no signature"),
        (_edited(made.dsse, lambda spec: spec.update(signatures=spec["signatures"] * 2)), CLAIM, "", ""),
        (_edited(made.dsse, lambda spec: spec["signatures"].append({"signature": "AAAA", "verifier": ""})), CLAIM, "unlogged", "another signature"),
        (_edited(made.dsse, lambda spec: spec["payloadHash"].update(algorithm="md5")), CLAIM, "unlogged", 'a hash by "md5"'),
        (_edited(made.intoto, lambda spec: spec["content"]["envelope"].update(signatures=[])), CLAIM, "unlogged", "holds no signature"),
        (_edited(made.intoto, lambda spec: spec["content"]["payloadHash"].update(value="")), CLAIM, "unlogged", "other content"),
        (_edited(made.hashedrekord, lambda spec: spec["data"]["hash"].update(algorithm="sha1")), CLAIM, "unlogged", 'a hash by "sha1"'),
        (_edited(made.hashedrekord, lambda spec: spec["data"]["hash"].update(algorithm="sha512")), CLAIM, "unlogged", "other content"),
        (_edited(made.hashedrekord2, lambda spec: spec["hashedRekordV002"]["data"].update(algorithm="SHA1")), CLAIM, "unlogged", 'a hash by "SHA1"'),
        (_edited(made.hashedrekord2, lambda spec: spec["hashedRekordV002"]["signature"].update(verifier={})), CLAIM, "unlogged", "another signer"),
        (made.hashedrekord2(MADE, "SHA2_512"), CLAIM, "", ""),
        (made.dsse(MADE), replace(CLAIM, payload=None), "unlogged", "what was signed is none"),
        (made.intoto(MADE), replace(CLAIM, payload=None), "unlogged", "what was signed is none"),
        (made.dsse(replace(MADE, verifier=HOLDER.pem * 2)), CLAIM, "invalid", "not one PEM"),
        (made.dsse(replace(MADE, verifier=b"")), CLAIM, "invalid", "not one PEM"),
        (made.dsse(replace(MADE, verifier=KEY_PEM)), replace(CLAIM, verifier=SPKI, is_certificate=False), "", ""),
        (made.hashedrekord2(replace(MADE, raw=SPKI, is_certificate=False)), replace(CLAIM, verifier=SPKI, is_certificate=False), "", ""),
        (made.hashedrekord2(MADE), replace(CLAIM, verifier=SPKI, is_certificate=False), "unlogged", "another signer"),
        (made.hashedrekord(MADE), replace(CLAIM, signed=Signed(None, sha256=sha256(MADE.signed).digest())), "", ""),
        (made.hashedrekord2(MADE, "SHA2_512"), replace(CLAIM, signed=Signed(None, sha256=sha256(MADE.signed).digest())), "unlogged", "other content"),
    ],
)  # fmt: skip
def test_bodies(body: bytes, claim: Claim, reason: str, says: str) -> None:
    if not reason:
        require_entry_of(entry_with(body), claim, DEFAULT_LIMITS)
        return
    with pytest.raises(EvidenceError) as refused:
        require_entry_of(entry_with(body), claim, DEFAULT_LIMITS)
    assert (refused.value.reason, says in refused.value.message) == (f"attestation-{reason}", True), (
        refused.value.message
    )


@pytest.mark.parametrize("limit", ["json_values", "json_depth"])
def test_limits_on_a_body(limit: str) -> None:
    limits = replace(DEFAULT_LIMITS, **{limit: 2})
    with pytest.raises(EvidenceError) as refused:
        require_entry_of(entry_with(made.dsse(MADE)), CLAIM, limits)
    assert refused.value.reason == "too-large"


def test_the_kind_beside_the_body() -> None:
    require_entry_of(entry_with(made.dsse(MADE), "dsse", "0.0.1"), CLAIM, DEFAULT_LIMITS)
    for kind, version in (("dsse", "0.0.2"), ("intoto", "0.0.1")):
        with pytest.raises(EvidenceError, match="the bundle says"):
            require_entry_of(entry_with(made.dsse(MADE), kind, version), CLAIM, DEFAULT_LIMITS)
