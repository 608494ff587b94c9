"""Trusted roots: what is read, what is passed over, what stops the gate from starting, and how current they are."""
# ruff: noqa: E501  (tables: one case, one line)

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.errors import ConfigError
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.roots import RootAge, Window, load_root
from portcullis.evidence.signers import RootSource
from portcullis.limits import DEFAULT_LIMITS
from vectors import sigstore as made
from vectors.attestations import compact
from vectors.keys import RSA

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_a_root() -> None:
    root = load_root(made.root(), DEFAULT_LIMITS)
    assert root.name == "ours"
    assert [(log.url, log.id) for log in root.logs] == [
        ("https://rekor.test", made.LOG_ID),
        ("https://log2025-1.rekor.test", made.LOG2_ID),
    ]
    assert [authority.certificates for authority in root.authorities] == [
        (made.FULCIO.certificate, made.ROOT.certificate)
    ]
    assert len(root.ct_logs) == len(root.stampers) == 1
    assert root.authorities[0].window == Window(made.BEGIN)


def test_the_public_root_is_built_in() -> None:
    root = load_root(RootSource("public"), DEFAULT_LIMITS)
    assert {"https://rekor.sigstore.dev", "https://log2025-1.rekor.sigstore.dev"} <= {log.url for log in root.logs}
    assert all(log.key is not None for log in (*root.logs, *root.ct_logs))
    assert root.authorities
    assert root.stampers


def test_a_client_trust_config() -> None:
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": made.trusted_root(),
        "signingConfig": {"anything": []},
    }
    assert load_root(RootSource("ours", compact(config)), DEFAULT_LIMITS) == load_root(made.root(), DEFAULT_LIMITS)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "application/vnd.dev.sigstore.trustedroot.v0.1+json",
        "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
        "application/vnd.dev.sigstore.trustedroot.v0.2+json",
    ],
)
def test_versions(media_type: str) -> None:
    root = load_root(made.source(mediaType=media_type), DEFAULT_LIMITS)
    assert replace(root, text=b"") == replace(load_root(made.root(), DEFAULT_LIMITS), text=b"")


@pytest.mark.parametrize("missing", ["tlogs", "ctlogs", "timestampAuthorities"])
def test_what_a_root_need_not_have(missing: str) -> None:
    document = made.trusted_root()
    del document[missing]
    empty = load_root(RootSource("ours", compact(document)), DEFAULT_LIMITS)
    assert not {"tlogs": empty.logs, "ctlogs": empty.ct_logs, "timestampAuthorities": empty.stampers}[missing]


def test_a_log_with_an_unknown_kind_of_key_stays_listed_and_proves_nothing() -> None:
    strange = made.trusted_log("new.test", made.LOG_KEY.public_key(), made.LOG_ID, "ML_DSA_65")
    (log,) = load_root(made.source(tlogs=[strange]), DEFAULT_LIMITS).logs
    assert log.key is None
    assert not log.signed(made.sign(made.LOG_KEY, b"x"), b"x")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "PKIX_ECDSA_P384_SHA_384"),
        (ec.generate_private_key(ec.SECP521R1()), "PKIX_ECDSA_P521_SHA_512"),
        (made.LOG_KEY, "PKIX_ECDSA_P256_SHA_256"),
        (made.LOG2_KEY, "PKIX_ED25519"),
        (RSA, "PKIX_RSA_PKCS1V15_2048_SHA256"),
    ],
)
def test_kinds_of_keys(key: Any, kind: str) -> None:
    (log,) = load_root(made.source(tlogs=[made.trusted_log("log", key.public_key(), b"x", kind)]), DEFAULT_LIMITS).logs
    assert log.signed(made.sign(key, b"text"), b"text")
    assert not log.signed(made.sign(key, b"text"), b"other")
    assert not log.signed(b"", b"text")


def _log(**changes: Any) -> dict[str, Any]:
    log = made.trusted_log("log.test", made.LOG_KEY.public_key(), made.LOG_ID, made.ECDSA)
    log["publicKey"].update(changes)
    return {"tlogs": [log]}


def _chain(*certificates: dict[str, Any], **changes: Any) -> dict[str, Any]:
    authority = made.trusted_authority((made.ROOT.certificate,))
    return {"certificateAuthorities": [{**authority, "certChain": {"certificates": list(certificates)}, **changes}]}


ROOT = {"rawBytes": made.b64(made.ROOT.certificate.public_bytes(Encoding.DER))}

REFUSED: list[tuple[str, Callable[[], bytes | None], str]] = [
    ("no JSON", lambda: b"x", "is not JSON"),
    ("a key twice", lambda: compact(made.trusted_root())[:-1] + b',"tlogs":[]}', "stands twice"),
    ("a list", lambda: b"[]", "another shape"),
    ("no media type", lambda: b"{}", "is not that of a trusted root"),
    ("another media type", lambda: compact(made.trusted_root(mediaType="application/json")), 'mediaType "application/json"'),
    ("a config without root", lambda: compact({"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"}), "without a trustedRoot"),
    ("a config in a config", lambda: compact({"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", "trustedRoot": {"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"}}), "is not that of a trusted root"),
    ("an empty root", lambda: compact({"mediaType": made.trusted_root()["mediaType"]}), "lists no certificate authority"),
    ("another shape", lambda: compact(made.trusted_root(tlogs={})), "another shape"),
    ("no start", lambda: compact(made.trusted_root(**_log(validFor={}))), 'the key of "https://log.test" in tlogs has no validFor.start'),
    ("no window", lambda: compact(made.trusted_root(**_log(validFor=None))), "has no validFor.start"),
    ("a start that is no time", lambda: compact(made.trusted_root(**_log(validFor={"start": "yesterday"}))), "no RFC 3339 time"),
    ("an end that is no time", lambda: compact(made.trusted_root(**_log(validFor={"start": "2025-01-01T00:00:00Z", "end": "x"}))), "no RFC 3339 time"),
    ("a key that is none", lambda: compact(made.trusted_root(**_log(rawBytes="AAAA"))), "no public key that can be read"),
    ("a key in no base64", lambda: compact(made.trusted_root(**_log(rawBytes="%"))), "not standard base64"),
    ("a key of another kind", lambda: compact(made.trusted_root(**_log(rawBytes=made.b64(made.der(RSA.public_key()))))), "is not of the kind PKIX_ECDSA_P256_SHA_256"),
    ("a weak key", lambda: compact(made.trusted_root(tlogs=[made.trusted_log("weak", rsa.generate_private_key(65537, 1024).public_key(), b"x", "PKCS1_RSA_PKCS1V5")])), "is not of the kind PKCS1_RSA_PKCS1V5"),
    ("an empty chain", lambda: compact(made.trusted_root(**_chain())), "holds no certificate"),
    ("a certificate that is none", lambda: compact(made.trusted_root(**_chain(ROOT, {"rawBytes": "AAAA"}))), "a certificate cannot be read"),
    ("an authority without start", lambda: compact(made.trusted_root(**_chain(ROOT, validFor={"end": "2025-01-01T00:00:00Z"}))), "in certificateAuthorities has no validFor.start"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused(make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_root(RootSource("ours", make()), DEFAULT_LIMITS)
    assert refused.value.message.startswith('the trusted root "ours" cannot be used: ')
    assert says in refused.value.message


def test_the_limit_on_its_size() -> None:
    size = len(made.root().content or b"")
    load_root(made.root(), replace(DEFAULT_LIMITS, trusted_root_bytes=size))
    with pytest.raises(ConfigError, match=f"the limit trustedRootBytes is {size - 1}"):
        load_root(made.root(), replace(DEFAULT_LIMITS, trusted_root_bytes=size - 1))


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        (made.BEGIN - SECOND, False),
        (made.BEGIN, True),
        (made.AT, True),
        (made.END, True),
        (made.END + SECOND, False),
    ],
)
def test_a_window_includes_both_ends(moment: datetime, holds: bool) -> None:
    assert Window(made.BEGIN, made.END).holds(moment) is holds
    assert Window(made.BEGIN).holds(moment) is (moment >= made.BEGIN)


def _ages(**changes: Any) -> RootAge:
    roots = [made.source(**changes)]
    return KeylessVerifier(signers=[], roots=roots, limits=DEFAULT_LIMITS).root_ages(NOW)["ours"]


ENDED: dict[str, Any] = {"end": NOW - SECOND}
LOG = made.LOG_KEY.public_key()
CERTIFICATES = (made.FULCIO.certificate, made.ROOT.certificate)


@pytest.mark.parametrize(
    ("changes", "expected", "current"),
    [
        ({}, RootAge(made.BEGIN, True, True, True), True),
        ({"tlogs": [], "timestampAuthorities": []}, RootAge(made.BEGIN, True, None, None), True),
        ({"tlogs": [made.trusted_log("a", LOG, b"a", made.ECDSA, **ENDED)]}, RootAge(made.BEGIN, True, False, True), False),
        ({"tlogs": [made.trusted_log("a", LOG, b"a", "ML_DSA_65")]}, RootAge(made.BEGIN, True, False, True), False),
        ({"certificateAuthorities": [made.trusted_authority(CERTIFICATES, **ENDED)]}, RootAge(made.BEGIN, False, True, True), False),
        ({"timestampAuthorities": [made.trusted_authority(CERTIFICATES, **ENDED)]}, RootAge(made.BEGIN, True, True, False), False),
        ({"tlogs": [made.trusted_log("a", LOG, b"a", made.ECDSA, **ENDED), made.trusted_log("b", LOG, b"b", made.ECDSA, start=made.AT)]}, RootAge(made.AT, True, True, True), True),
    ],
)  # fmt: skip
def test_how_current_a_root_is(changes: dict[str, Any], expected: RootAge, current: bool) -> None:
    age = _ages(**changes)
    assert (age, age.current) == (expected, current)


def test_the_text_of_a_root_is_its_own_json() -> None:
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": made.trusted_root(),
    }
    assert json.loads(load_root(RootSource("ours", compact(config)), DEFAULT_LIMITS).text) == made.trusted_root()
