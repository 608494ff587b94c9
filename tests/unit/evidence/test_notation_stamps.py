"""RFC 3161 tokens beside signatures of Notation: each step of the proof broken, with an authority of our own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Use

from portcullis.evidence.countersignature import Stamped, verify_token
from portcullis.evidence.refusal import EvidenceError
from portcullis.limits import DEFAULT_LIMITS
from vectors.notation import AUTHORITY, END, NOW, STAMPS, STAMPS_ROOT, Holder, holder
from vectors.stamps import BASELINE, SHA1, SIGNED_DATA, oid, response, sequence, stamping, tlv, token, tst_info

SIGNATURE = b"the bytes of a signature"
UNLOGGED = "attestation-unlogged"


def made(by: Holder = STAMPS, *, info: bytes | None = None, **how: Any) -> bytes:
    others = how.pop("others", by.chain[1:])
    return token(tst_info(SIGNATURE, NOW) if info is None else info, by.key, by.certificate, others, **how)  # type: ignore[arg-type]


def verified(content: bytes, *, signature: bytes = SIGNATURE, root: Holder = STAMPS_ROOT, **limits: int) -> Stamped:
    return verify_token(content, signature, [root.certificate], replace(DEFAULT_LIMITS, **limits))


def refused(content: bytes, **how: Any) -> tuple[str, str]:
    with pytest.raises(EvidenceError) as caught:
        verified(content, **how)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("info", "accuracy"),
    [
        (tst_info(SIGNATURE, NOW), 0),
        (tst_info(SIGNATURE, NOW, policy=BASELINE), 1),
        (tst_info(SIGNATURE, NOW, policy=BASELINE, accuracy=timedelta(seconds=5)), 5),
        (tst_info(SIGNATURE, NOW, accuracy=timedelta(seconds=60)), 60),
    ],
)
def test_the_time_and_how_exact_it_is(info: bytes, accuracy: int) -> None:
    span = timedelta(seconds=accuracy)
    assert verified(made(info=info)) == Stamped(NOW, NOW - span, NOW + span)


def test_certificates_in_another_order_than_der_wants_are_read() -> None:
    """As GlobalSign writes them. In one of the two cases they are not sorted."""
    chain = holder("Clock", holder("M", STAMPS_ROOT, AUTHORITY), change={x509.ExtendedKeyUsage: stamping()})
    first, second = made(chain, in_order=True), made(chain, in_order=False)
    assert first != second
    assert verified(first) == verified(second)


def test_an_authority_whose_certificate_has_ended_since() -> None:
    """It is judged at the time in the token, and by no clock."""
    short = holder("Clock", STAMPS_ROOT, end=NOW + timedelta(minutes=1), change={x509.ExtendedKeyUsage: stamping()})
    assert verified(made(short)).time == NOW


# -- (1) DER ---------------------------------------------------------------------------------------------------------

GOOD = made()
_OID = oid(SIGNED_DATA)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x30", id="no length"),
        pytest.param(b"\x30\x80\x00\x00", id="indefinite length"),
        pytest.param(b"\x30\x85\x01\x01\x01\x01\x01", id="length of a terabyte"),
        pytest.param(b"\x30\x84\xff\xff\xff\xff", id="length of four gigabytes"),
        pytest.param(b"\x30\x82\x01", id="length cut off"),
        pytest.param(b"\x31" + GOOD[1:], id="a set"),
        pytest.param(GOOD[:1] + b"\x83\x00" + GOOD[2:], id="length that begins with zero"),
        pytest.param(GOOD[:1] + b"\x85\x00\x00\x00" + GOOD[2:], id="length that begins with zeros"),
        pytest.param(GOOD.replace(_OID, b"\x06\x81\x09" + _OID[2:], 1), id="long form of a short length"),
        pytest.param(GOOD[:-1], id="cut off"),
        pytest.param(GOOD[:3] + bytes((GOOD[3] + 1,)) + GOOD[4:], id="a length that is more than there is"),
        pytest.param(GOOD + b"\0", id="something behind it"),
        pytest.param(response(GOOD), id="a whole response"),
        pytest.param(sequence(oid("1.2.840.113549.1.7.2"), tlv(0xA0, sequence())), id="no fields"),
        pytest.param(
            GOOD.replace(oid("1.2.840.113549.1.9.16.1.4"), oid("1.2.840.113549.1.9.16.1.5"), 1), id="no TSTInfo"
        ),
    ],
)
def test_what_is_no_token(content: bytes) -> None:
    assert refused(content) == (UNLOGGED, "the time-stamp is no RFC 3161 token in DER")


# -- (2), (3) the signer's certificate -------------------------------------------------------------------------------


def test_two_certificates_with_one_name_and_number() -> None:
    """A certificate of the same authority that is for something else signs, one that was made up says that it may."""
    other = holder("Clock", STAMPS_ROOT)
    pretended = holder(
        "Clock",
        holder("Stamps", extensions=AUTHORITY),
        serial=other.certificate.serial_number,
        change={x509.ExtendedKeyUsage: stamping()},
    )
    for order in (True, False):
        content = made(other, others=(pretended.certificate, STAMPS_ROOT.certificate), in_order=order)
        said = refused(content)
        assert said == (UNLOGGED, "the time-stamp has 2 certificates of its signer, not one")


def test_no_certificate_of_the_signer() -> None:
    content = made()
    der = STAMPS.certificate.public_bytes(Encoding.DER)
    assert content.count(der) == 1
    stranger = holder("Clock", STAMPS_ROOT, change={x509.ExtendedKeyUsage: stamping()})
    without = made(stranger, others=()).replace(stranger.certificate.public_bytes(Encoding.DER), der)
    assert refused(without)[0] == UNLOGGED


def test_two_signers() -> None:
    other = holder("Clock", STAMPS_ROOT, change={x509.ExtendedKeyUsage: stamping()})
    said = refused(made(others=(other.certificate, STAMPS_ROOT.certificate), beside=(other.key, other.certificate)))
    assert said == (UNLOGGED, "the time-stamp has 2 signers, not one")


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(None, id="none"),
        pytest.param(stamping(critical=False), id="not critical"),
        pytest.param(stamping(also=[Use.CODE_SIGNING]), id="and for code"),
        pytest.param((x509.ExtendedKeyUsage([Use.CODE_SIGNING]), True), id="for code"),
    ],
)
def test_a_signer_that_is_not_one_for_time_stamps(use: Any) -> None:
    content = made(holder("Clock", STAMPS_ROOT, change={x509.ExtendedKeyUsage: use}))
    assert refused(content) == (UNLOGGED, "the time-stamp's signer is not one for time-stamps only")


def test_more_certificates_than_the_limit() -> None:
    others = tuple(holder(f"R{number}", extensions=AUTHORITY).certificate for number in range(3))
    said = refused(made(others=others), certificates=3)
    assert said == ("too-large", "the time-stamp has 4 certificates; the limit certificates is 3")


# -- (4) its signature and chain -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "root"),
    [
        pytest.param(made(content=tst_info(SIGNATURE, NOW - timedelta(days=1))), STAMPS_ROOT, id="another time"),
        pytest.param(made(), holder("Stamps", extensions=AUTHORITY), id="another authority of that name"),
        pytest.param(
            made(holder("Clock", STAMPS_ROOT, end=NOW - timedelta(days=1), change={x509.ExtendedKeyUsage: stamping()})),
            STAMPS_ROOT,
            id="its certificate had ended",
        ),
        pytest.param(
            made(info=tst_info(SIGNATURE, END + timedelta(days=1))), STAMPS_ROOT, id="after the authority's end"
        ),
        pytest.param(
            made(holder("Clock", holder("NoCA", STAMPS_ROOT), change={x509.ExtendedKeyUsage: stamping()})),
            STAMPS_ROOT,
            id="issued by what is no authority",
        ),
    ],
)
def test_a_token_that_does_not_hold(content: bytes, root: Holder) -> None:
    said = refused(content, root=root)
    assert said[0] == UNLOGGED
    assert said[1].startswith("the time-stamp does not hold")


def test_a_time_at_the_end_of_the_calendar() -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    root = holder("Stamps", extensions=AUTHORITY, end=end)
    clock = holder("Clock", root, end=end, change={x509.ExtendedKeyUsage: stamping()})
    info = tst_info(SIGNATURE, end - timedelta(seconds=1), accuracy=timedelta(seconds=60))
    said = refused(made(clock, info=info), root=root)
    assert said == (UNLOGGED, "the time-stamp has no time that a calendar holds")


# -- (5) what was stamped --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "signature"),
    [
        pytest.param(made(), b"another signature", id="another signature"),
        pytest.param(made(info=tst_info(SIGNATURE, NOW, hash_algorithm=SHA1)), SIGNATURE, id="a weak hash"),
    ],
)
def test_a_stamp_of_something_else(content: bytes, signature: bytes) -> None:
    said = refused(content, signature=signature)
    assert said[0] == UNLOGGED
    assert said[1].startswith("the time-stamp does not hold")
