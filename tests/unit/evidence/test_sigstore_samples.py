"""Bundles that others made, against the verdicts that came with them.

Where we decide otherwise than the table that lies beside the samples, the reason stands in ``DIFFERENT``.
"""
# ruff: noqa: E501  (tables: one case, one line)

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from portcullis.errors import ConfigError
from portcullis.evidence.bundle import parse_bundle
from portcullis.evidence.dsse import pae
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.keys import load_trusted
from portcullis.evidence.material import Material
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import KeylessSigner, RootSource, SignerKey
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Digest

NOW = datetime(2026, 11, 1, tzinfo=UTC)

DIFFERENT = {
    "java/PKIX_ECDSA_P521_SHA_512.sigstore.json": ("accept", "P-521 with SHA-512 is what the algorithm registry has; only sigstore-python does not read it"),
    "java/PKIX_RSA_PKCS1V15_3072_SHA256.sigstore.json": ("accept", "RSA with 3072 bits likewise"),
}  # fmt: skip
"""Cases that the table calls valid-upstream-unsupported, since the one who made it had sigstore-python alone."""

BY_DEFAULT = {
    "chainloop/bundle_invalid.json": ("attestation-untrusted", "its authority is chainloop's own, and no root lists it"),
    "chainloop/bundle_valid.json": ("attestation-untrusted", "likewise: with a root of that authority it would be asked for a time-stamp"),
    "gh-cli/github_provenance_demo-0.0.12-py3-none-any-bundle-missing-cert.jsonl": ("attestation-invalid", "neither envelope nor signature"),
    "gh-cli/github_provenance_demo-0.0.12-py3-none-any-bundle.jsonl": ("attestation-untrusted", "GitHub's own authority, and the root of the public one: a root for it makes it hold"),
    "java/bundle-no-digest.sigstore": ("attestation-invalid", "version 0.3 with a chain, which the specification forbids"),
    "py/bundle_no_log_entry.txt.sigstore": ("attestation-subject-mismatch", "over another artifact; without entry it would be attestation-unlogged"),
}  # fmt: skip
"""What the table calls reject-by-default: confirmed by nobody else. We refuse them, too, and for these reasons."""

WHOLE = ["accept", "accept-if-SET-only-allowed"]


def cases(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = json.loads((folder / "expected-bundles.json").read_text())["cases"]
    return found


def source(name: str, folder: Path) -> RootSource:
    match name:
        case "production":
            return RootSource("root")
        case "staging":
            return RootSource("root", (folder.parent / "trust" / "staging_trusted_root.json").read_bytes())
        case "own":
            return RootSource("root", (folder / "trusted_root.json").read_bytes())
        case _:
            return RootSource("root", (folder.parent / name).read_bytes())


def verdict(folder: Path, case: Mapping[str, Any], *, set_only: bool = True, by_digest: bool = False) -> str:
    """ "accept", or the reason of the refusal. ``by_digest``: of an artifact only the SHA-256 is handed in."""
    path = folder / "sigstore" / case["file"]
    place = path.parent if case["trusted_root"] == "own" else folder / "sigstore" / "x"
    identity, issuer = case.get("identity"), case.get("issuer")
    signer = KeylessSigner(
        "someone",
        issuer or ".*",
        re.escape(identity) if identity else ".*",
        root="root",
        issuer_is_pattern=not issuer,
        set_only=set_only,
    )
    try:
        checker = KeylessVerifier(
            signers=[signer], roots=[source(case["trusted_root"], place)], limits=DEFAULT_LIMITS, now=lambda: NOW
        )
        material = parse_bundle(path.read_bytes(), DEFAULT_LIMITS)
        if material.certificates:
            checker.prove(material, signed(material, path, by_digest))
        else:
            _prove_keyed(checker, material, path, by_digest)
    except (EvidenceError, ConfigError) as refused:
        return refused.reason
    return "accept"


def _prove_keyed(checker: KeylessVerifier, material: Material, path: Path, by_digest: bool) -> None:
    file = path.parent / "key.pub"
    if not file.exists():
        raise EvidenceError("no key is configured", "attestation-untrusted")
    key = load_trusted(SignerKey("someone", file.read_bytes(), log_root="root"))
    checker.prove_logged(material, key, signed(material, path, by_digest))


ARTIFACTS = {"conformance": "conformance/a.txt", "java": "java/artifact.txt", "py": "py/trust/bundle.txt"}


def signed(material: Material, path: Path, by_digest: bool) -> bytes | Digest:
    if material.envelope is not None:
        return pae(material.envelope.payload_type, material.envelope.payload)
    samples = next(parent for parent in path.parents if parent.name == "sigstore")
    artifact = ARTIFACTS.get(path.relative_to(samples).parts[0])
    if artifact is None:
        assert material.message_digest is not None
        return Digest(f"sha256:{material.message_digest[1].hex()}")
    own = path.parent / "artifact"
    content = (own if own.exists() else samples / artifact).read_bytes()
    return Digest(f"sha256:{sha256(content).hexdigest()}") if by_digest else content


def test_every_case_has_the_verdict_that_it_came_with(shared_data: Path) -> None:
    unlike = {}
    for name, case in cases(shared_data).items():
        expected = case["expect"]
        if expected is None:
            continue
        found = verdict(shared_data, case)
        accepted = name in DIFFERENT or expected in WHOLE
        if accepted != (found == "accept"):
            unlike[name] = (expected, found)
    assert unlike == {}


BEYOND_THE_LIBRARY = {
    "conformance/managed-key-and-trusted-root/bundle.sigstore.json": "a key",
    "conformance/trust-root-tsa-validity-end-inclusive/bundle.sigstore.json": "the last moment of a window",
    "gh-cli/sigstore-js-2.1.0-bundle.json": "an entry of kind intoto",
    "go/dsse.sigstore.json": "an entry of kind intoto, without proof",
    "go/sigstore.js@2.0.0-provenance.sigstore.json": "an entry of kind intoto",
    "java/PKIX_ECDSA_P521_SHA_512.sigstore.json": "P-521",
    "java/PKIX_RSA_PKCS1V15_3072_SHA256.sigstore.json": "RSA",
    "slsa-verifier/attestation.intoto.sigstore": "an entry of kind intoto, without proof",
}


def test_where_we_part_from_sigstore_python(shared_data: Path) -> None:
    """What it accepts we accept, and of what it refuses only what it cannot read."""
    ours_alone, theirs_alone = set(), set()
    for name, case in cases(shared_data).items():
        theirs = case["observed"]["sigstore_python"] == "accept"
        if theirs != (ours := verdict(shared_data, case) == "accept"):
            (ours_alone if ours else theirs_alone).add(name)
    assert (ours_alone, theirs_alone) == (set(BEYOND_THE_LIBRARY), set())


def test_an_artifact_that_is_known_by_its_digest_has_the_same_verdict(shared_data: Path) -> None:
    """As a manifest is, which nobody fetches once more. Of a signature with SHA-512 that says nothing."""
    unlike = {
        name: found
        for name, case in cases(shared_data).items()
        if (found := verdict(shared_data, case, by_digest=True)) != verdict(shared_data, case)
    }
    assert unlike == {"java/PKIX_ECDSA_P521_SHA_512.sigstore.json": "attestation-unsupported"}


def test_what_is_refused_by_default_and_why(shared_data: Path) -> None:
    table = cases(shared_data)
    assert {name for name, case in table.items() if case["expect"] == "reject-by-default"} == set(BY_DEFAULT)
    assert {name for name, case in table.items() if case["expect"] == "valid-upstream-unsupported"} == set(DIFFERENT)
    for name, (reason, _) in BY_DEFAULT.items():
        assert (name, verdict(shared_data, table[name])) == (name, reason)


def test_entries_without_proof_are_a_matter_of_the_signer(shared_data: Path) -> None:
    """With ``set_only`` the four hold; without it the two that have no inclusion proof are refused."""
    strict = {
        name: verdict(shared_data, case, set_only=False)
        for name, case in cases(shared_data).items()
        if case["expect"] == "accept-if-SET-only-allowed"
    }
    assert strict == {
        "gh-cli/sigstore-js-2.1.0-bundle.json": "accept",
        "go/dsse.sigstore.json": "attestation-unlogged",
        "go/sigstore.js@2.0.0-provenance.sigstore.json": "accept",
        "slsa-verifier/attestation.intoto.sigstore": "attestation-unlogged",
    }


REASONS = {
    "bundle-with-root-cert_fail": "attestation-invalid",
    "checkpoint-wrong-roothash_fail": "attestation-unlogged",
    "dsse-invalid-sig_fail": "attestation-invalid",
    "dsse-mismatch-sig_fail": "attestation-unlogged",
    "intoto-log-entry-mismatch_fail": "attestation-unlogged",
    "intoto-set-outside-signing-cert-validity_fail": "attestation-expired",
    "invalid-checkpoint-signature_fail": "attestation-unlogged",
    "managed-key-no-key_fail": "attestation-untrusted",
    "rekor2-checkpoint-missing-log-signature_fail": "attestation-unlogged",
    "rekor2-checkpoint-no-matching-signature_fail": "attestation-unlogged",
    "rekor2-dsse-mismatch-envelope_fail": "attestation-unlogged",
    "rekor2-timestamp-outside-trust-root-tsa-validity_fail": "attestation-expired",
    "rekor2-timestamp-payload-mismatch_fail": "attestation-expired",
    "set-invalid-signature_fail": "attestation-unlogged",
    "trust-root-tlog-missing-validity-start_fail": "config-invalid",
    "wrong-hashedrekord-cert-and-sig_fail": "attestation-unlogged",
    "wrong-material_fail": "attestation-subject-mismatch",
}
"""That they are refused for what is wrong with them, and not by chance."""


def test_reasons(shared_data: Path) -> None:
    table = cases(shared_data)
    found = {name: verdict(shared_data, table[f"conformance/{name}/bundle.sigstore.json"]) for name in REASONS}
    assert found == REASONS


@pytest.mark.parametrize(
    "change",
    [{"identity": "https://github.com/someone/else"}, {"issuer": "https://issuer.example"}],
    ids=["identity", "issuer"],
)
def test_of_somebody_else(shared_data: Path, change: dict[str, str]) -> None:
    held = [case for case in cases(shared_data).values() if case["expect"] == "accept" and case.get("identity")]
    assert held
    for case in held:
        assert verdict(shared_data, {**case, **change}) in {"attestation-untrusted", "accept"}
        if case["key"] is None:
            assert verdict(shared_data, {**case, **change}) == "attestation-untrusted"
