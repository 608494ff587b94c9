"""Keyless signatures: what holds, and each step of the proof broken by itself.

The bundles are made by a Sigstore of our own (vectors/sigstore.py). The numbers are those of keyless.py; where a step is
proven in transparency.py or timestamps.py, their own tests go deeper.
"""
# ruff: noqa: E501  (tables: one case, one line)

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from portcullis.errors import ConfigError
from portcullis.evidence.bundle import parse_bundle
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.material import Material, Proven
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import KeylessSigner, RootSource
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Signer
from portcullis.model.image import Digest
from vectors import sigstore as made
from vectors.attestations import compact, statement
from vectors.extensions import usage
from vectors.keys import RSA
from vectors.sigstore import AT, SIGNER

PAYLOAD = compact(statement())
OTHER_PAYLOAD = compact(statement(name="registry.example/acme/other"))
PAE = made.pre_authenticated(PAYLOAD)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CI = Signer("ci", "keyless", made.ISSUER, made.IDENTITY)

MINUTE = timedelta(minutes=1)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """``make`` gives the bundle; ``root`` are fields of the trusted root that are others than the usual ones."""

    name: str
    make: Callable[[], Document] = field(repr=False)
    step: int = 0
    reason: str = ""
    says: str = ""
    root: dict[str, Any] = field(default_factory=dict)
    signer: KeylessSigner = SIGNER
    now: datetime = NOW
    logged: bool = True

    def __str__(self) -> str:
        return f"{self.step}: {self.name}"


def verifier(
    *signers: KeylessSigner, sources: Sequence[RootSource] = (), now: datetime = NOW, **limits: int
) -> KeylessVerifier:
    return KeylessVerifier(
        signers=signers or (SIGNER,),
        roots=sources or (made.root(),),
        limits=replace(DEFAULT_LIMITS, **limits),
        now=lambda: now,
    )


def prove(case: Case) -> Proven:
    document = case.make()
    material = parse_bundle(compact(document), DEFAULT_LIMITS)
    source = made.source(**case.root) if case.root else made.root()
    return verifier(case.signer, sources=[source], now=case.now).prove(material, PAE)


def entry_of(document: Document, **changes: Any) -> Document:
    document["verificationMaterial"]["tlogEntries"][0].update(changes)
    return document


def proof_of(document: Document, **changes: Any) -> Document:
    document["verificationMaterial"]["tlogEntries"][0]["inclusionProof"].update(changes)
    return document


def stamped(*, at: datetime = AT, by: made.Holder = made.TSA, holder: made.Holder | None = None) -> Document:
    """An entry of Rekor 2 and a time-stamp."""
    return made.bundle(
        PAYLOAD,
        holder,
        entries=lambda one: [made.entry2(made.hashedrekord2(one))],
        stamps=lambda signature: [made.stamp(signature, at, by)],
    )


def unlogged(at: datetime = AT, stamps: Callable[[bytes], Sequence[bytes]] | None = None) -> Document:
    """A time-stamp and no entry, as GitHub signs for private repositories."""
    return made.bundle(
        PAYLOAD, entries=lambda one: [], stamps=stamps or (lambda signature: [made.stamp(signature, at)])
    )


def with_entries(*entries: Callable[[made.Made], Document], holder: made.Holder | None = None) -> Document:
    return made.bundle(PAYLOAD, holder, entries=lambda one: [make(one) for make in entries])


def of_key(key: made.Private) -> Document:
    """Signed by a leaf with ``key``, logged by Rekor 1."""
    return made.bundle(PAYLOAD, made.leaf(key))


def named(*names: x509.GeneralName, **options: Any) -> Document:
    return made.bundle(PAYLOAD, made.leaf(names=names, **options))


URI = x509.UniformResourceIdentifier
NO_LOGS: dict[str, Any] = {"tlogs": [], "ctlogs": []}
LOGS = made.trusted_root()["tlogs"]
OLD = made.BUNDLE_V01
SECONDS_LATER = AT + timedelta(seconds=1)
NO_PROOF: dict[str, Any] = {**NO_LOGS, "timestampAuthorities": []}
"""Of a root of a firm whose certificates live for years: nobody in it proves a time."""


def authorities(**valid: Any) -> dict[str, Any]:
    return {
        "certificateAuthorities": [made.trusted_authority((made.FULCIO.certificate, made.ROOT.certificate), **valid)]
    }


def stampers(**valid: Any) -> dict[str, Any]:
    return {
        "timestampAuthorities": [made.trusted_authority((made.TSA.certificate, made.TSA_ROOT.certificate), **valid)]
    }


def first_log(**valid: Any) -> dict[str, Any]:
    return {"tlogs": [made.trusted_log(made.LOG_NAME, made.LOG_KEY.public_key(), made.LOG_ID, made.ECDSA, **valid)]}


def lasting(**options: Any) -> Document:
    """Signed with a certificate that lives for years; no log has it, and no time-stamp."""
    holder = made.leaf(announced=(), **{"start": AT, "end": NOW, **options})
    return made.bundle(PAYLOAD, holder, entries=lambda one: [])


GOOD = [
    Case("an entry of Rekor 1", lambda: made.bundle(PAYLOAD)),
    Case("the other spelling of version 0.3", lambda: {**made.bundle(PAYLOAD), "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.3"}),
    Case("version 0.2", lambda: made.bundle(PAYLOAD, media_type=made.BUNDLE_V02)),
    Case("version 0.1", lambda: made.bundle(PAYLOAD, media_type=OLD)),
    Case("version 0.1, an entry without proof", lambda: made.bundle(PAYLOAD, media_type=OLD, entries=lambda one: [made.entry(made.dsse(one), included=False)])),
    Case("a chain with the root's own certificates", lambda: made.bundle(PAYLOAD, media_type=OLD, chain=(made.FULCIO.certificate, made.ROOT.certificate))),
    Case("an intermediate that the root does not list", lambda: made.bundle(PAYLOAD, media_type=OLD, chain=(made.FULCIO.certificate,)), root={"certificateAuthorities": [made.trusted_authority((made.ROOT.certificate,))]}),
    Case("an entry of kind intoto", lambda: made.bundle(PAYLOAD, body=made.intoto)),
    Case("an entry of kind hashedrekord", lambda: made.bundle(PAYLOAD, body=made.hashedrekord)),
    Case("an entry of Rekor 2 and a time-stamp", stamped),
    Case("an entry of Rekor 1 and a time-stamp", lambda: made.bundle(PAYLOAD, stamps=lambda signature: [made.stamp(signature, SECONDS_LATER)])),
    Case("a time-stamp of a stranger beside a promise", lambda: made.bundle(PAYLOAD, stamps=lambda signature: [made.stamp(signature, by=made.OTHER_TSA)])),
    Case("entries of two logs", lambda: with_entries(lambda one: made.entry(made.dsse(one)), lambda one: made.entry2(made.hashedrekord2(one)))),
    Case("a root without logs, a time-stamp", unlogged, root=NO_LOGS, logged=False),
    Case("a root without logs, an entry of some log", stamped, root=NO_LOGS, logged=False),
    Case("a root without certificate logs", lambda: made.bundle(PAYLOAD, made.leaf(announced=())), root={"ctlogs": []}),
    Case("a leaf of the root itself", lambda: made.bundle(PAYLOAD, made.leaf(above=made.ROOT)), root={"certificateAuthorities": [made.trusted_authority((made.ROOT.certificate,))]}),
    Case("a certificate without key identifiers", lambda: made.bundle(PAYLOAD, made.leaf(identifiers=False)), root={"ctlogs": []}),
    Case("a leaf for P-384", lambda: of_key(ec.generate_private_key(ec.SECP384R1()))),
    Case("a leaf for P-521", lambda: of_key(ec.generate_private_key(ec.SECP521R1()))),
    Case("a leaf for RSA", lambda: of_key(RSA)),
    Case("a leaf for Ed25519", lambda: of_key(ed25519.Ed25519PrivateKey.generate())),
    Case("an issuer in the older extension", lambda: made.bundle(PAYLOAD, made.leaf(issuer=None, old_issuer=made.ISSUER))),
    Case("an issuer by pattern", lambda: made.bundle(PAYLOAD), signer=replace(SIGNER, issuer=r"https://token\.actions\.[a-z.]+", issuer_is_pattern=True)),
    Case("a proof, for a signer that asks for one", lambda: made.bundle(PAYLOAD), signer=replace(SIGNER, set_only=False)),
    Case("signed when the certificate began", lambda: made.bundle(PAYLOAD, made.leaf(start=AT))),
    Case("signed when the certificate ended", lambda: made.bundle(PAYLOAD, made.leaf(end=AT))),
    Case("signed when the authority began", lambda: made.bundle(PAYLOAD), root=authorities(start=AT)),
    Case("signed when the authority ended", lambda: made.bundle(PAYLOAD), root=authorities(end=AT)),
    Case("logged when the log began", lambda: made.bundle(PAYLOAD), root=first_log(start=AT)),
    Case("logged when the log ended", lambda: made.bundle(PAYLOAD), root=first_log(end=AT)),
    Case("stamped when the authority began", stamped, root=stampers(start=AT)),
    Case("stamped when the authority ended", stamped, root=stampers(end=AT)),
]  # fmt: skip


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_what_holds(case: Case) -> None:
    proven = prove(case)
    assert proven == Proven((CI,), AT, case.logged)


@pytest.mark.parametrize("now", [AT, AT + MINUTE, NOW], ids=["first moment", "between", "last moment"])
def test_a_root_in_which_nobody_proves_a_time(now: datetime) -> None:
    """The certificate holds now, which says nothing of when it was used."""
    assert prove(Case("", lasting, root=NO_PROOF, now=now)) == Proven((CI,), None, logged=False)


def _other_entry() -> Document:
    """A good entry of the same signer for another payload, beside this payload's envelope."""
    holder = made.leaf()
    document, other = made.bundle(PAYLOAD, holder), made.bundle(OTHER_PAYLOAD, holder)
    document["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    return document


def _other_signature() -> Document:
    """A good entry of the same signer and payload, for another of its signatures (they are random)."""
    holder = made.leaf()
    document, other = made.bundle(PAYLOAD, holder), made.bundle(PAYLOAD, holder)
    document["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    return document


def _other_signer() -> Document:
    """An entry that somebody else made of this payload and this very signature."""
    return with_entries(lambda one: made.entry(made.dsse(replace(one, verifier=made.leaf().pem))))


def _tampered_payload() -> Document:
    document = made.bundle(PAYLOAD)
    document["dsseEnvelope"]["payload"] = made.b64(OTHER_PAYLOAD)
    return document


def _two_signatures() -> Document:
    document = made.bundle(PAYLOAD)
    document["dsseEnvelope"]["signatures"] *= 2
    return document


def _broken_stamp(signature: bytes) -> Sequence[bytes]:
    return [made.stamp(signature)[:-9] + b"\0" * 9]


INVALID, UNTRUSTED, EXPIRED, UNLOGGED, UNSUPPORTED = (
    f"attestation-{word}" for word in ("invalid", "untrusted", "expired", "unlogged", "unsupported")
)

BAD = [
    Case("two signatures", _two_signatures, 1, INVALID, "2 signatures"),
    Case("no signature", lambda: {**made.bundle(PAYLOAD), "dsseEnvelope": {**made.bundle(PAYLOAD)["dsseEnvelope"], "signatures": []}}, 1, INVALID, "no signature"),
    Case("a certificate that is none", lambda: (document := made.bundle(PAYLOAD), document["verificationMaterial"]["certificate"].update(rawBytes="AAAA"))[0], 1, INVALID, "cannot be read"),
    Case("a root of a stranger in the chain", lambda: made.bundle(PAYLOAD, media_type=OLD, chain=(made.STRANGER.certificate,)), 1, INVALID, "brings a root certificate"),
    Case("a root that is called as ours", lambda: made.bundle(PAYLOAD, media_type=OLD, chain=(made.ROOT_TWIN.certificate,)), 1, INVALID, "brings a root certificate"),
    Case("no entry", unlogged, 2, UNLOGGED, "no entry of a transparency log"),
    Case("no entry, no time-stamp", with_entries, 2, UNLOGGED, "no entry of a transparency log"),
    Case("an entry of another log", lambda: made.bundle(PAYLOAD), 2, UNLOGGED, "does not list", {"tlogs": LOGS[1:]}),
    Case("an entry that names the other log", lambda: entry_of(made.bundle(PAYLOAD), logId={"keyId": made.b64(made.LOG2_ID)}), 2, UNLOGGED, "signed entry timestamp"),
    Case("a tampered promise", lambda: entry_of(made.bundle(PAYLOAD), inclusionPromise={"signedEntryTimestamp": made.b64(b"\x30\x06\x02\x01\x01\x02\x01\x01")}), 2, UNLOGGED, "signed entry timestamp"),
    Case("a promise for another time", lambda: entry_of(made.bundle(PAYLOAD), integratedTime=str(int(AT.timestamp()) + 1)), 2, UNLOGGED, "signed entry timestamp"),
    Case("a promise for another index", lambda: entry_of(made.bundle(PAYLOAD), logIndex="1006"), 2, UNLOGGED, "signed entry timestamp"),
    Case("a promise of a log not yet trusted", lambda: made.bundle(PAYLOAD), 2, UNLOGGED, "was not to be trusted", first_log(start=SECONDS_LATER)),
    Case("a promise of a log no longer trusted", lambda: made.bundle(PAYLOAD), 2, UNLOGGED, "was not to be trusted", first_log(end=AT - MINUTE)),
    Case("a tampered body", lambda: (document := made.bundle(PAYLOAD), entry_of(document, canonicalizedBody=made.b64(made.dsse(made.made_by(made.leaf(), PAYLOAD)))))[0], 2, UNLOGGED, "signed entry timestamp"),
    Case("a tampered body of Rekor 2", lambda: entry_of(stamped(), canonicalizedBody=made.b64(made.hashedrekord2(made.made_by(made.leaf(), PAYLOAD)))), 2, UNLOGGED, "does not lead to its root hash"),
    Case("a tampered proof", lambda: proof_of(made.bundle(PAYLOAD), hashes=[made.b64(b"x" * 32)] * 3), 2, UNLOGGED, "does not lead to its root hash"),
    Case("one bad entry beside a good one", lambda: with_entries(lambda one: made.entry(made.dsse(one)), lambda one: {**made.entry2(made.hashedrekord2(one)), "logId": {"keyId": made.b64(b"y" * 32)}}), 2, UNLOGGED, "does not list"),
    Case("a time-stamp over other bytes", lambda: unlogged(stamps=lambda signature: [made.stamp(b"other")]), 3, EXPIRED, "neither a log nor a time-stamp", NO_LOGS),
    Case("a time-stamp of a stranger", lambda: stamped(by=made.OTHER_TSA), 3, EXPIRED, "neither a log nor a time-stamp"),
    Case("a time-stamp whose signature is broken", lambda: unlogged(stamps=_broken_stamp), 3, EXPIRED, "neither a log nor a time-stamp", NO_LOGS),
    Case("a time-stamp that is none", lambda: unlogged(stamps=lambda signature: [b"\x30\x00"]), 3, INVALID, "cannot be read", NO_LOGS),
    Case("a time-stamp twice", lambda: unlogged(stamps=lambda signature: [made.stamp(b"same")[:]] * 2), 3, INVALID, "stands twice", NO_LOGS),
    Case("an authority of stamps not yet trusted", stamped, 3, EXPIRED, "neither a log nor a time-stamp", stampers(start=SECONDS_LATER)),
    Case("an authority of stamps no longer trusted", stamped, 3, EXPIRED, "neither a log nor a time-stamp", stampers(end=AT - MINUTE)),
    Case("no authority of stamps", stamped, 3, EXPIRED, "neither a log nor a time-stamp", {"timestampAuthorities": []}),
    Case("no trusted time, expired", lambda: with_entries(lambda one: made.entry2(made.hashedrekord2(one))), 4, EXPIRED, "expired at 2025-03-01T12:09:00Z"),
    Case("no trusted time, not expired", lambda: with_entries(lambda one: made.entry2(made.hashedrekord2(one))), 4, UNLOGGED, "proves when it was signed", now=AT),
    Case("a time that nobody promised", lambda: with_entries(lambda one: made.entry(made.dsse(one), promised=False)), 4, EXPIRED, "neither a log nor a time-stamp"),
    Case("a root without logs, no time-stamp", lambda: with_entries(lambda one: made.entry(made.dsse(one))), 4, EXPIRED, "neither a log nor a time-stamp", NO_LOGS),
    Case("a lasting certificate, a root with time-stamps", lasting, 4, UNLOGGED, "neither a log nor a time-stamp", NO_LOGS),
    Case("a lasting certificate, a root with logs", lasting, 2, UNLOGGED, "no entry of a transparency log", {"ctlogs": [], "timestampAuthorities": []}),
    Case("a lasting certificate, a root with a log of an unknown kind", lasting, 2, UNLOGGED, "no entry of a transparency log", {**NO_PROOF, "tlogs": [made.trusted_log("new.test", made.LOG_KEY.public_key(), made.LOG_ID, "PKIX_ML_DSA_65")]}),
    Case("a lasting certificate, a root with certificate logs", lasting, 6, UNLOGGED, "no certificate log", {"tlogs": [], "timestampAuthorities": []}),
    Case("a certificate that has ended, and nobody proves a time", lambda: lasting(end=NOW - MINUTE), 5, EXPIRED, "and now, at 2026-06-01T00:00:00Z, it is not", NO_PROOF),
    Case("a certificate that has not begun, and nobody proves a time", lambda: lasting(start=NOW + MINUTE, end=NOW + 2 * MINUTE), 5, EXPIRED, "is valid from 2026-06-01T00:01:00Z", NO_PROOF),
    Case("an entry that nobody in the root wrote proves no time", lambda: made.bundle(PAYLOAD), 5, EXPIRED, "it is not", NO_PROOF),
    Case("a time-stamp that nobody in the root wrote proves no time", unlogged, 5, EXPIRED, "it is not", NO_PROOF),
    Case("an authority that ended, and nobody proves a time", lasting, 5, UNTRUSTED, "was to be trusted at", {**NO_PROOF, **authorities(end=NOW - MINUTE)}),
    Case("a lasting certificate of a stranger", lambda: lasting(above=made.STRANGER), 5, UNTRUSTED, "which is no authority of a trusted root", NO_PROOF),
    Case("a lasting certificate for another purpose", lambda: lasting(purpose=None), 6, INVALID, "codeSigning", NO_PROOF),
    Case("a lasting certificate of another identity", lambda: lasting(names=[URI("https://evil.example")]), 10, UNTRUSTED, "evil.example", NO_PROOF),
    Case("Rekor 2 of a log not yet trusted", stamped, 4, UNLOGGED, "was not to be trusted", {"tlogs": [made.trusted_log(made.LOG2_NAME, made.LOG2_KEY.public_key(), made.LOG2_ID, made.ED25519, start=SECONDS_LATER)]}),
    Case("signed after the certificate ended", lambda: made.bundle(PAYLOAD, made.leaf(end=AT - MINUTE, start=AT - 2 * MINUTE)), 5, EXPIRED, "it was signed at 2025-03-01T12:00:00Z"),
    Case("signed before the certificate began", lambda: made.bundle(PAYLOAD, made.leaf(start=AT + MINUTE)), 5, EXPIRED, "valid from 2025-03-01T12:01:00Z"),
    Case("one of two times outside of the certificate", lambda: made.bundle(PAYLOAD, stamps=lambda signature: [made.stamp(signature, AT + 10 * MINUTE)]), 5, EXPIRED, "signed at 2025-03-01T12:10:00Z"),
    Case("a leaf of a stranger's authority", lambda: made.bundle(PAYLOAD, made.leaf(above=made.STRANGER)), 5, UNTRUSTED, "which is no authority of a trusted root"),
    Case("a leaf of an authority that is called as ours", lambda: made.bundle(PAYLOAD, made.leaf(above=made.ROOT_TWIN)), 5, UNTRUSTED, "does not lead to"),
    Case("an authority not yet trusted", lambda: made.bundle(PAYLOAD), 5, UNTRUSTED, "was to be trusted at", authorities(start=SECONDS_LATER)),
    Case("an authority no longer trusted", lambda: made.bundle(PAYLOAD), 5, UNTRUSTED, "was to be trusted at", authorities(end=AT - MINUTE)),
    Case("a leaf that signs another leaf", lambda: made.bundle(PAYLOAD, made.leaf(above=replace(_as_authority(), chain=())), media_type=OLD, chain=(_as_authority().certificate,)), 5, UNTRUSTED, "does not lead to"),
    Case("no purpose", lambda: made.bundle(PAYLOAD, made.leaf(purpose=None)), 6, INVALID, "codeSigning"),
    Case("another purpose", lambda: made.bundle(PAYLOAD, made.leaf(purpose=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))), 6, INVALID, "codeSigning"),
    Case("any purpose", lambda: made.bundle(PAYLOAD, made.leaf(purpose=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False))), 6, INVALID, "codeSigning"),
    Case("no key usage", lambda: made.bundle(PAYLOAD, made.leaf(key_usage=None)), 6, INVALID, "digitalSignature"),
    Case("another key usage", lambda: made.bundle(PAYLOAD, made.leaf(key_usage=usage("key_agreement"))), 6, INVALID, "digitalSignature"),
    Case("not announced", lambda: made.bundle(PAYLOAD, made.leaf(announced=())), 6, UNLOGGED, "no certificate log"),
    Case("announced to a strange log", lambda: made.bundle(PAYLOAD, made.leaf(announced=((made.LOG_KEY, AT),))), 6, UNLOGGED, "no certificate log"),
    Case("announced before the log was trusted", lambda: made.bundle(PAYLOAD, made.leaf(announced=((made.CT_KEY, made.BEGIN - MINUTE),))), 6, UNLOGGED, "no certificate log"),
    Case("another key signed", lambda: made.bundle(PAYLOAD, replace(made.leaf(), key=ec.generate_private_key(ec.SECP256R1()))), 7, INVALID, "does not match its certificate"),
    Case("a weak key", lambda: of_key(rsa.generate_private_key(65537, 1024)), 7, UNSUPPORTED, "RSA with 2048 to 8192 bits"),
    Case("a key of an unknown curve", lambda: made.bundle(PAYLOAD, replace(made.leaf(ec.generate_private_key(ec.SECP256K1())), key=RSA)), 7, UNSUPPORTED, "none of ECDSA P-256"),
    Case("the entry of another image", _other_entry, 8, UNLOGGED, "of other content"),
    Case("the entry of another signature", _other_signature, 8, UNLOGGED, "of another signature"),
    Case("the entry of another signer", _other_signer, 8, UNLOGGED, "of another signer"),
    Case("two certificate logs' stamps, of which the library takes one", lambda: made.bundle(PAYLOAD, made.leaf(announced=((made.CT_KEY, AT), (made.LOG_KEY, AT)))), 9, INVALID, "sigstore-python refuses the bundle"),
    Case("another identity", lambda: named(URI("https://github.com/other/web/.github/workflows/scan.yml@refs/heads/main")), 10, UNTRUSTED, 'signed by "https://github.com/other/web/'),
    Case("an identity that begins as the pattern", lambda: named(URI(made.IDENTITY + "-evil")), 10, UNTRUSTED, "which no configured signer matches"),
    Case("an identity that ends as the pattern", lambda: named(URI("https://evil.example/?" + made.IDENTITY)), 10, UNTRUSTED, "which no configured signer matches"),
    Case("an identity with a line behind it", lambda: named(URI(made.IDENTITY + "\n")), 10, UNTRUSTED, "which no configured signer matches"),
    Case("another issuer", lambda: made.bundle(PAYLOAD, made.leaf(issuer="https://issuer.example")), 10, UNTRUSTED, "(issuer https://issuer.example)"),
    Case("an issuer that begins as ours", lambda: made.bundle(PAYLOAD, made.leaf(issuer=made.ISSUER + ".evil.example")), 10, UNTRUSTED, "which no configured signer matches"),
    Case("an issuer that begins as the pattern", lambda: made.bundle(PAYLOAD, made.leaf(issuer=made.ISSUER + "/x")), 10, UNTRUSTED, "no configured", signer=replace(SIGNER, issuer=r"https://[a-z.]+", issuer_is_pattern=True)),
    Case("no issuer", lambda: made.bundle(PAYLOAD, made.leaf(issuer=None)), 10, UNTRUSTED, "(issuer none)"),
    Case("the newer of two issuers counts", lambda: made.bundle(PAYLOAD, made.leaf(issuer="https://issuer.example", old_issuer=made.ISSUER)), 10, UNTRUSTED, "issuer.example"),
    Case("an issuer of two that is no text", lambda: made.bundle(PAYLOAD, made.leaf(issuer_der=b"\x04\x01x")), 10, INVALID, "no UTF8String"),
    Case("two identities", lambda: named(URI(made.IDENTITY), URI("https://evil.example")), 10, INVALID, "2 subject alternative names"),
    Case("no proof, for a signer that asks for one", lambda: made.bundle(PAYLOAD, media_type=OLD, entries=lambda one: [made.entry(made.dsse(one), included=False)]), 10, UNLOGGED, 'which signer "ci" asks for', signer=replace(SIGNER, set_only=False)),
]  # fmt: skip


def _as_authority() -> made.Holder:
    """A leaf that a trusted authority issued, in the place of an authority; always the same."""
    return _LEAF


_LEAF = made.leaf()


@pytest.mark.parametrize("case", BAD, ids=str)
def test_each_step_broken(case: Case) -> None:
    with pytest.raises(EvidenceError) as refused:
        prove(case)
    assert (refused.value.reason, case.says in refused.value.message) == (case.reason, True), refused.value.message


def test_every_step_is_broken_by_something() -> None:
    assert {case.step for case in BAD} == set(range(1, 11))


def test_changed_content() -> None:
    """Step 7 by itself: the envelope is changed with what is handed in beside it, and the entry is the old one."""
    document = _tampered_payload()
    material = parse_bundle(compact(document), DEFAULT_LIMITS)
    with pytest.raises(EvidenceError, match="does not match its certificate") as refused:
        verifier().prove(material, made.pre_authenticated(OTHER_PAYLOAD))
    assert refused.value.reason == INVALID


def test_an_email_and_a_name_of_another_kind() -> None:
    email = replace(SIGNER, name="mail", identity=r"[a-z]+@acme\.example")
    other = replace(SIGNER, name="other", identity="someone")
    for name, signer in (
        (x509.RFC822Name("dev@acme.example"), email),
        (x509.OtherName(made.OTHER_NAME, made.utf8_string("someone")), other),
        (x509.DNSName("someone"), other),
    ):
        proven = prove(Case("", lambda name=name: named(name), signer=signer))  # type: ignore[misc]
        assert [one.name for one in proven.signers] == [signer.name]


def test_an_authority_of_ones_own_that_names_no_issuer() -> None:
    """A signer without issuer is one whose certificates name none, and not one of any issuer."""
    own = replace(SIGNER, issuer="")
    assert prove(Case("", lambda: made.bundle(PAYLOAD, made.leaf(issuer=None)), signer=own)).signers[0].issuer == ""
    with pytest.raises(EvidenceError, match="which no configured signer matches"):
        prove(Case("", lambda: made.bundle(PAYLOAD), signer=own))


def test_all_signers_that_match() -> None:
    everyone = replace(SIGNER, name="everyone", identity=".*")
    nobody = replace(SIGNER, name="nobody", identity="x")
    material = parse_bundle(made.keyless_bundle(PAYLOAD), DEFAULT_LIMITS)
    proven = verifier(everyone, nobody, SIGNER).prove(material, PAE)
    assert [signer.name for signer in proven.signers] == ["everyone", "ci"]


def test_a_signer_that_takes_no_entry_without_proof_beside_one_that_does() -> None:
    strict = replace(SIGNER, name="strict", set_only=False)
    document = made.bundle(PAYLOAD, media_type=OLD, entries=lambda one: [made.entry(made.dsse(one), included=False)])
    material = parse_bundle(compact(document), DEFAULT_LIMITS)
    proven = verifier(strict, SIGNER).prove(material, PAE)
    assert [signer.name for signer in proven.signers] == ["ci"]


def test_several_roots() -> None:
    """A signer counts for its own root alone; each certificate is judged by the root that knows its authority."""
    theirs = RootSource(
        "theirs",
        compact(made.trusted_root(certificateAuthorities=[made.trusted_authority((made.STRANGER.certificate,))])),
    )
    stranger = replace(SIGNER, name="stranger", root="theirs")
    both = verifier(SIGNER, stranger, sources=[made.root(), theirs])
    for above, expected in ((made.FULCIO, "ci"), (made.STRANGER, "stranger")):
        material = parse_bundle(compact(made.bundle(PAYLOAD, made.leaf(above=above))), DEFAULT_LIMITS)
        assert [signer.name for signer in both.prove(material, PAE).signers] == [expected]
    with pytest.raises(EvidenceError, match='no authority of a trusted root \\("ours" and "theirs"\\)'):
        both.prove(_of(made.leaf(above=_FOURTH)), PAE)


_FOURTH = made.authority("a fourth")


def _of(holder: made.Holder) -> Material:
    return parse_bundle(compact(made.bundle(PAYLOAD, holder)), DEFAULT_LIMITS)


def test_an_entry_of_an_old_form() -> None:
    """What cosign keeps in annotations: an envelope or a message, the chain with its root, a promise alone."""
    material = parse_bundle(
        compact(
            made.bundle(
                PAYLOAD,
                media_type=OLD,
                chain=(made.FULCIO.certificate, made.ROOT.certificate),
                entries=lambda one: [made.entry(made.dsse(one), included=False)],
            )
        ),
        DEFAULT_LIMITS,
    )
    entry = replace(material.entries[0], kind="", version="")
    assert verifier().prove(replace(material, bundle=b"", entries=(entry,)), PAE) == Proven((CI,), AT, logged=True)


def test_an_entry_with_neither_promise_nor_proof() -> None:
    material = parse_bundle(made.keyless_bundle(PAYLOAD), DEFAULT_LIMITS)
    entry = replace(material.entries[0], set=b"", proof=None)
    with pytest.raises(EvidenceError, match="neither a signed entry timestamp nor an inclusion proof"):
        verifier().prove(replace(material, entries=(entry,)), PAE)


def test_a_kind_that_the_bundle_says_and_the_entry_does_not() -> None:
    with pytest.raises(EvidenceError, match='the log entry is of kind "dsse", and the bundle says "intoto"'):
        prove(Case("", lambda: entry_of(made.bundle(PAYLOAD), kindVersion={"kind": "intoto", "version": "0.0.2"})))


MESSAGE = b"a manifest"
MESSAGE_DIGEST = Digest("sha256:" + sha256(MESSAGE).hexdigest())


@pytest.mark.parametrize("claimed", [True, False])
def test_a_plain_signature(claimed: bool) -> None:
    material = parse_bundle(compact(made.message_bundle(MESSAGE, claimed=claimed)), DEFAULT_LIMITS)
    for signed in (MESSAGE, MESSAGE_DIGEST):
        assert verifier().prove(material, signed) == Proven((CI,), AT, logged=True)


def test_a_plain_signature_over_something_else() -> None:
    material = parse_bundle(compact(made.message_bundle(MESSAGE)), DEFAULT_LIMITS)
    with pytest.raises(EvidenceError) as refused:
        verifier().prove(material, b"another")
    assert refused.value.reason == "attestation-subject-mismatch"
    unclaimed = parse_bundle(compact(made.message_bundle(MESSAGE, claimed=False)), DEFAULT_LIMITS)
    for signed in (b"another", Digest("sha256:" + "0" * 64), Digest("sha512:" + "0" * 128)):
        with pytest.raises(EvidenceError, match="does not match its certificate"):
            verifier().prove(unclaimed, signed)


def test_a_digest_that_cannot_be_compared() -> None:
    material = parse_bundle(compact(made.message_bundle(MESSAGE)), DEFAULT_LIMITS)
    for algorithm in ("SHA2_512", "MD5"):
        with pytest.raises(EvidenceError) as refused:
            verifier().prove(replace(material, message_digest=(algorithm, b"x")), MESSAGE_DIGEST)
        assert refused.value.reason == UNSUPPORTED


@pytest.mark.parametrize("size", [1, 100_000])
def test_whether_the_library_is_asked_or_not_a_large_payload_is_proven(size: int) -> None:
    payload = compact(statement(predicate={"x": "y" * size}))
    signed = made.pre_authenticated(payload)
    material = parse_bundle(made.keyless_bundle(payload), DEFAULT_LIMITS)
    assert verifier().prove(material, signed).signers == (CI,)


def test_what_nobody_expected_is_a_refusal() -> None:
    """A digest that is none, which the type does not keep out."""
    with pytest.raises(EvidenceError, match="it cannot be verified: ValueError"):
        verifier().prove(_of(made.leaf()), Digest("sha256:no-hex"))


def test_no_certificate() -> None:
    with pytest.raises(EvidenceError, match="has no certificate"):
        verifier().prove(Material(message=MESSAGE, signature=b"x"), MESSAGE)
    with pytest.raises(EvidenceError, match="has no signature"):
        verifier().prove(Material(message=MESSAGE, certificates=(made.leaf().der,)), MESSAGE)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"certificates": 0}, "the limits certificates"),
        ({"certificate_bytes": 100}, "certificateBytes"),
        ({"log_entries": 0}, "the limit logEntries is 0"),
    ],
)
def test_limits_on_what_was_found(limits: dict[str, int], says: str) -> None:
    material = parse_bundle(made.keyless_bundle(PAYLOAD), DEFAULT_LIMITS)
    with pytest.raises(EvidenceError) as refused:
        verifier(**limits).prove(material, PAE)
    assert refused.value.reason == "too-large"
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("signers", "sources", "limits", "says"),
    [
        ([SIGNER] * 3, [made.root()], {"signers": 2}, "the limit signers is 2"),
        ([SIGNER], [made.root(), made.root()], {"trusted_roots": 1}, "the limit trustedRoots is 1"),
        ([SIGNER], [made.root(), made.root()], {}, '"ours" stands twice'),
        ([SIGNER], [RootSource("theirs", made.root().content)], {}, 'the unknown trusted root "ours"'),
        ([replace(SIGNER, identity="(")], [made.root()], {}, "the pattern of its identity has a ( without its )"),
        ([replace(SIGNER, identity="")], [made.root()], {}, "the pattern of its identity has 0 characters"),
        ([replace(SIGNER, identity="x" * 1001)], [made.root()], {}, "has 1001 characters"),
        ([replace(SIGNER, issuer="[", issuer_is_pattern=True)], [made.root()], {}, "the pattern of its issuer"),
    ],
)  # fmt: skip
def test_configurations_that_are_refused(
    signers: Sequence[KeylessSigner], sources: Sequence[RootSource], limits: dict[str, int], says: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        KeylessVerifier(signers=signers, roots=sources, limits=replace(DEFAULT_LIMITS, **limits))
    assert says in refused.value.message


def test_nothing_is_configured() -> None:
    none = KeylessVerifier(signers=[], roots=[], limits=DEFAULT_LIMITS)
    with pytest.raises(EvidenceError, match="none is configured"):
        none.prove(_of(made.leaf()), PAE)
    assert none.root_ages(NOW) == {}


def test_what_comes_in_is_not_changed() -> None:
    document = made.bundle(PAYLOAD)
    before = copy.deepcopy(document)
    material = parse_bundle(compact(document), DEFAULT_LIMITS)
    first = verifier().prove(material, PAE)
    assert (verifier().prove(material, PAE), document) == (first, before)
