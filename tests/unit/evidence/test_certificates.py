"""Certificates of signers: the profile, the identity, and the way to an authority."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from portcullis.evidence.certificates import (
    Identity,
    identity_of,
    is_root,
    lead_to,
    load_certificate,
    names_issuer,
    require_profile,
    require_valid,
    signing_key,
)
from portcullis.evidence.refusal import EvidenceError
from vectors import sigstore as made
from vectors.extensions import Extension
from vectors.keys import RSA
from vectors.sigstore import AT, FULCIO, ROOT, leaf

URI = x509.UniformResourceIdentifier
OURS = (FULCIO.certificate, ROOT.certificate)
LEAF = leaf()
SECOND = timedelta(seconds=1)


def test_a_certificate_is_read() -> None:
    assert load_certificate(LEAF.der) == LEAF.certificate


def _twice() -> bytes:
    """A certificate with one extension twice, which no builder makes: the purpose's identifier becomes the usage's."""
    return LEAF.der.replace(bytes.fromhex("0603551d25"), bytes.fromhex("0603551d0f"))


@pytest.mark.parametrize("der", [b"", b"\x30\x00", LEAF.der[:-1], LEAF.der + b"\0", _twice()])
def test_what_is_no_certificate(der: bytes) -> None:
    with pytest.raises(EvidenceError, match="a certificate cannot be read"):
        load_certificate(der)


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        (leaf(names=(URI("https://x"),)), Identity("https://x", made.ISSUER)),
        (leaf(names=(x509.RFC822Name("a@b"),), issuer=None, old_issuer="i"), Identity("a@b", "i")),
        (leaf(names=(x509.DNSName("b"),), issuer="n", old_issuer="o"), Identity("b", "n")),
        (leaf(names=(x509.OtherName(made.OTHER_NAME, made.utf8_string("me")),)), Identity("me", made.ISSUER)),
        (leaf(issuer="i" * 200), Identity(made.IDENTITY, "i" * 200)),
        (leaf(issuer="i" * 2048), Identity(made.IDENTITY, "i" * 2048)),
        (leaf(issuer=None), Identity(made.IDENTITY, "")),
    ],
)
def test_an_identity(holder: made.Holder, expected: Identity) -> None:
    assert identity_of(holder.certificate) == expected


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: leaf(names=()), "0 subject alternative names"),
        (lambda: leaf(names=(URI("a:a"), URI("b:b"))), "2 subject alternative names"),
        (lambda: leaf(names=(x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),)), "of a kind that is not read"),
        (lambda: leaf(names=(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01x"),)), "of a kind"),
        (lambda: leaf(names=(x509.OtherName(made.OTHER_NAME, b"\x04\x01x"),)), "is no UTF8String"),
        (lambda: leaf(names=(URI("x" * 2049),)), "has 2049 characters"),
        (lambda: leaf(issuer="i" * 2049), "has 2049 characters"),
        (lambda: leaf(issuer_der=b"\x0c\x02x"), "is no UTF8String"),
        (lambda: leaf(issuer_der=b"\x0c\x80x"), "is no UTF8String"),
        (lambda: leaf(issuer_der=b"\x0c\x83\0\0\x01x"), "is no UTF8String"),
        (lambda: leaf(issuer_der=b"\x0c\x01\xff"), "is not UTF-8"),
        (lambda: leaf(issuer_der=b"\x0c"), "is no UTF8String"),
        (lambda: leaf(issuer=None, old_issuer="\ud800".encode("utf-8", "surrogatepass").decode("latin-1")), ""),
    ],
)
def test_identities_that_are_refused(make: Callable[[], made.Holder], says: str) -> None:
    holder = make()
    if not says:
        assert identity_of(holder.certificate).issuer
        return
    with pytest.raises(EvidenceError) as refused:
        identity_of(holder.certificate)
    assert says in refused.value.message


def test_the_profile() -> None:
    require_profile(LEAF.certificate)
    require_profile(leaf(constraints=(x509.BasicConstraints(ca=False, path_length=None), True)).certificate)
    with pytest.raises(EvidenceError, match="that of a certificate authority"):
        require_profile(FULCIO.certificate)


def test_when_it_is_valid() -> None:
    certificate = LEAF.certificate
    for moment in (certificate.not_valid_before_utc, AT, certificate.not_valid_after_utc):
        require_valid(certificate, moment)
    for moment in (certificate.not_valid_before_utc - SECOND, certificate.not_valid_after_utc + SECOND):
        with pytest.raises(EvidenceError) as refused:
            require_valid(certificate, moment)
        assert refused.value.reason == "attestation-expired"


def test_a_chain() -> None:
    assert lead_to([LEAF.certificate], OURS, AT) == [LEAF.certificate, *OURS]
    assert lead_to([LEAF.certificate, FULCIO.certificate], (ROOT.certificate,), AT) == [LEAF.certificate, *OURS]


BARE = leaf(identifiers=False)
CRITICAL = leaf(purpose=(made.CODE_SIGNING[0], True))


@pytest.mark.parametrize("holder", [BARE, CRITICAL])
def test_what_a_leaf_need_not_have(holder: made.Holder) -> None:
    assert lead_to([holder.certificate], OURS, AT)[0] == holder.certificate


def purposes(*usages: x509.ObjectIdentifier) -> Extension:
    return x509.ExtendedKeyUsage(usages), False


@pytest.mark.parametrize(
    "between",
    [
        made.authority("between", ROOT),
        made.authority("between", ROOT, purposes(ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH)),
        made.authority("between", ROOT, purposes(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)),
    ],
)
def test_an_authority_that_may_issue_for_code(between: made.Holder) -> None:
    assert len(lead_to([leaf(above=between).certificate, between.certificate], (ROOT.certificate,), AT)) == 3


FOR_SERVERS = made.authority("between", ROOT, purposes(ExtendedKeyUsageOID.SERVER_AUTH))
NO_AUTHORITY = leaf()


@pytest.mark.parametrize(
    ("chain", "authority"),
    [
        pytest.param([LEAF.certificate], (ROOT.certificate,), id="no certificate between"),
        pytest.param([LEAF.certificate], (FULCIO.certificate, made.STRANGER.certificate), id="another root"),
        pytest.param(
            [LEAF.certificate], (FULCIO.certificate, made.ROOT_TWIN.certificate), id="a root of the same name"
        ),
        pytest.param([LEAF.certificate, *OURS], (made.STRANGER.certificate,), id="a root that came with it"),
        pytest.param(
            [leaf(above=made.STRANGER).certificate, made.STRANGER.certificate], OURS, id="a stranger with its own root"
        ),
        pytest.param([leaf(names=()).certificate], OURS, id="no name at all"),
        pytest.param(
            [leaf(above=FOR_SERVERS).certificate, FOR_SERVERS.certificate],
            (ROOT.certificate,),
            id="an authority for servers",
        ),
        pytest.param(
            [leaf(above=NO_AUTHORITY).certificate, NO_AUTHORITY.certificate], OURS, id="a leaf in an authority's place"
        ),
    ],
)
def test_what_leads_nowhere(chain: Sequence[x509.Certificate], authority: Sequence[x509.Certificate]) -> None:
    with pytest.raises(EvidenceError) as refused:
        lead_to(chain, authority, AT)
    assert refused.value.reason == "attestation-untrusted"


@pytest.mark.parametrize("moment", [AT - timedelta(days=1), AT + timedelta(days=1), made.BEGIN - SECOND])
def test_a_chain_at_another_time(moment: datetime) -> None:
    with pytest.raises(EvidenceError, match="does not lead to"):
        lead_to([LEAF.certificate], OURS, moment)


def test_names_that_prove_nothing() -> None:
    assert names_issuer([LEAF.certificate], OURS)
    assert names_issuer([leaf(above=made.ROOT_TWIN).certificate], OURS)
    assert not names_issuer([leaf(above=made.STRANGER).certificate], OURS)


def test_what_a_root_is() -> None:
    assert is_root(ROOT.certificate)
    assert not is_root(FULCIO.certificate)
    assert not is_root(LEAF.certificate)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        RSA,
    ],
)
def test_keys(key: made.Private) -> None:
    assert signing_key(leaf(key).certificate) == key.public_key()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        rsa.generate_private_key(65537, 1024),
        ed448.Ed448PrivateKey.generate(),
    ],
)
def test_keys_that_are_not_read(key: made.Private) -> None:
    with pytest.raises(EvidenceError) as refused:
        signing_key(leaf(key).certificate)
    assert refused.value.reason == "attestation-unsupported"
