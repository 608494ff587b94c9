"""Attestations that we make: they verify, and have the shape that cosign's have."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.errors import ConfigError
from portcullis.evidence.attest import PREDICATE_TYPES, attest, lint_predicate, read_predicate, vuln_predicate
from portcullis.evidence.reports import read_facts
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import Carrier, CarrierKind, LintReport, PredicateClass, ScanReport, Verified
from portcullis.model.image import Digest
from vectors.attestations import CI, SUBJECT, SUBJECT_512, hint, trust
from vectors.reports import trivy

pytestmark = pytest.mark.anyio

NAME = "registry.example/acme/web"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


async def verify(content: bytes, subject: Digest) -> Verified:
    carrier = Carrier(CarrierKind.REFERRER, BUNDLE, Digest("sha256:" + "0" * 64), subject, content)
    verdict = await AttestationVerifier(trust=trust(), limits=DEFAULT_LIMITS).verify(carrier, subject)
    assert isinstance(verdict, Verified), verdict
    return verdict


@pytest.mark.parametrize("subject", [SUBJECT, SUBJECT_512])
async def test_what_is_attested_is_verified(subject: Digest) -> None:
    predicate = {"text": "größe ☃", "number": 1.5, "nothing": None}
    content = attest(predicate=predicate, predicate_type="https://a.test/x", subject=subject, name=NAME, key=CI)

    verified = await verify(content, subject)

    assert verified.statement.predicate_type == "https://a.test/x"
    assert json.loads(verified.statement.predicate) == predicate
    assert [signer.name for signer in verified.signers] == ["ci"]


def test_the_bundle_has_cosigns_shape() -> None:
    document = json.loads(attest(predicate={}, predicate_type="vuln", subject=SUBJECT, name=NAME, key=CI))

    assert document["mediaType"] == BUNDLE
    assert document["verificationMaterial"] == {"publicKey": {"hint": hint(CI)}}
    envelope = document["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    assert json.loads(payload) == {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1",
        "subject": [{"name": NAME, "digest": {"sha256": SUBJECT.hex}}],
        "predicate": {},
    }
    encoded = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    (signature,) = envelope["signatures"]
    CI.public_key().verify(base64.b64decode(signature["sig"]), encoded, ec.ECDSA(hashes.SHA256()))


async def test_a_report_is_read_back() -> None:
    started = datetime(2026, 11, 20, 11, tzinfo=timezone(timedelta(hours=2)))
    predicate = vuln_predicate(trivy(), started=started, finished=started + timedelta(minutes=1))
    content = attest(predicate=predicate, predicate_type="vuln", subject=SUBJECT, name=NAME, key=CI)

    statement = (await verify(content, SUBJECT)).statement
    (report,) = read_facts(statement, PredicateClass.VULNERABILITY, DEFAULT_LIMITS)

    assert isinstance(report, ScanReport)
    assert report.scanned_at == datetime(2026, 11, 20, 9, tzinfo=UTC)


HADOLINT = [{"file": "Dockerfile", "line": 3, "column": 1, "level": "warning", "code": "DL3008", "message": "pin"}]


@pytest.mark.parametrize("linted", [None, datetime(2026, 11, 20, 11, tzinfo=UTC)])
@pytest.mark.parametrize("dockerfile", ["", "ab" * 32])
async def test_a_linters_report_is_read_back(linted: datetime | None, dockerfile: str) -> None:
    predicate = lint_predicate(HADOLINT, tool="hadolint", version="2.14.0", linted=linted, dockerfile=dockerfile)
    content = attest(predicate=predicate, predicate_type="lint", subject=SUBJECT, name=NAME, key=CI)

    (report,) = read_facts((await verify(content, SUBJECT)).statement, PredicateClass.LINT, DEFAULT_LIMITS)

    assert isinstance(report, LintReport)
    assert [finding.rule for finding in report.findings] == ["DL3008"]
    assert report.linted_at == linted
    assert dockerfile in report.dockerfile


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("vuln", PredicateClass.VULNERABILITY),
        ("cyclonedx", PredicateClass.SBOM),
        ("spdxjson", PredicateClass.SBOM),
        ("openvex", PredicateClass.VEX),
        ("slsaprovenance", PredicateClass.PROVENANCE),
        ("slsaprovenance02", PredicateClass.PROVENANCE),
        ("slsaprovenance1", PredicateClass.PROVENANCE),
        ("lint", PredicateClass.LINT),
    ],
)
def test_what_is_attested_under_a_short_name_counts_as_that(name: str, about: PredicateClass) -> None:
    assert trust().classes(PREDICATE_TYPES[name])[0] is about


@pytest.mark.parametrize("predicate", [{"x": float("nan")}, {"x": object()}, {"x": "\ud800"}])
def test_a_predicate_that_is_no_json(predicate: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be written as JSON"):
        attest(predicate=predicate, predicate_type="vuln", subject=SUBJECT, name=NAME, key=CI)


def test_a_predicate_is_read_as_strictly_as_it_will_be_verified() -> None:
    assert read_predicate(b'{"a": [1]}', DEFAULT_LIMITS) == {"a": [1]}
    for content, says in [(b"[]", "not an object"), (b'{"a":1,"a":2}', "stands twice"), (b"{", "not JSON")]:
        with pytest.raises(ConfigError, match=says):
            read_predicate(content, DEFAULT_LIMITS)
    with pytest.raises(ConfigError, match="the limit is 5"):
        read_predicate(b'{"a": 1}', Limits(attestation_bytes=5))
