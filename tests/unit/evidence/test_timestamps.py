"""Time-stamps of RFC 3161: each part of the proof, broken by itself."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.roots import Authority, Window
from portcullis.evidence.timestamps import proven_times
from vectors import sigstore as made
from vectors.sigstore import AT, BEGIN, OTHER_TSA, TSA, TSA_ROOT
from vectors.stamps import SHA1, integer, response, sequence, token, tst_info

SIGNATURE = b"a signature"
SECOND = timedelta(seconds=1)
OURS = Authority((TSA.certificate, TSA_ROOT.certificate), Window(BEGIN))
THEIRS = Authority((OTHER_TSA.certificate, *OTHER_TSA.chain), Window(BEGIN))
KEY = TSA.key
assert isinstance(KEY, ec.EllipticCurvePrivateKey)


def test_a_time_stamp() -> None:
    assert proven_times([made.stamp(SIGNATURE)], SIGNATURE, [OURS]) == (AT,)


def test_several_in_their_order() -> None:
    stamps = [made.stamp(SIGNATURE, AT + SECOND), made.stamp(SIGNATURE, by=OTHER_TSA), made.stamp(SIGNATURE)]
    assert proven_times(stamps, SIGNATURE, [OURS]) == (AT + SECOND, AT)
    assert proven_times(stamps, SIGNATURE, [THEIRS, OURS]) == (AT + SECOND, AT, AT)
    assert proven_times(stamps, SIGNATURE, []) == ()
    assert proven_times([], SIGNATURE, [OURS]) == ()


def _by(key: ec.EllipticCurvePrivateKey) -> bytes:
    return response(token(tst_info(SIGNATURE, AT), key, TSA.certificate))


def _refused() -> bytes:
    return sequence(sequence(integer(2)), token(tst_info(SIGNATURE, AT), KEY, TSA.certificate))


def _other_content() -> bytes:
    other = tst_info(SIGNATURE, AT - SECOND)
    return response(token(tst_info(SIGNATURE, AT), KEY, TSA.certificate, content=other))


def _by_sha1() -> bytes:
    return response(token(tst_info(SIGNATURE, AT, hash_algorithm=SHA1), KEY, TSA.certificate))


@pytest.mark.parametrize(
    "stamp",
    [
        pytest.param(lambda: made.stamp(b"other bytes"), id="over other bytes"),
        pytest.param(lambda: made.stamp(SIGNATURE, by=OTHER_TSA), id="by an authority that is not listed"),
        pytest.param(lambda: _by(ec.generate_private_key(ec.SECP256R1())), id="by another key in its name"),
        pytest.param(_refused, id="not granted"),
        pytest.param(_other_content, id="with another content than was signed"),
        pytest.param(_by_sha1, id="by SHA-1"),
        pytest.param(lambda: made.stamp(SIGNATURE, made.END + 2 * SECOND), id="after the certificate ended"),
        pytest.param(lambda: made.stamp(SIGNATURE, made.BEGIN - SECOND), id="before the certificate began"),
    ],
)  # fmt: skip
def test_time_stamps_that_prove_nothing(stamp: Callable[[], bytes]) -> None:
    assert proven_times([stamp()], SIGNATURE, [OURS]) == ()


@pytest.mark.parametrize(
    ("window", "moment"),
    [
        (Window(AT), AT),
        (Window(BEGIN, AT), AT),
        (Window(AT + SECOND), None),
        (Window(BEGIN, AT - SECOND), None),
    ],
)
def test_the_window_of_an_authority(window: Window, moment: datetime | None) -> None:
    times = proven_times([made.stamp(SIGNATURE)], SIGNATURE, [Authority(OURS.certificates, window)])
    assert times == (() if moment is None else (moment,))


@pytest.mark.parametrize(
    "certificates",
    [
        (TSA_ROOT.certificate,),
        (TSA.certificate,),
        (TSA.certificate, made.OTHER_TSA_ROOT.certificate),
        (made.FULCIO.certificate, TSA_ROOT.certificate),
        (made.leaf(above=TSA_ROOT).certificate, TSA_ROOT.certificate),
    ],
)
def test_authorities_that_are_not_this_one(certificates: tuple[x509.Certificate, ...]) -> None:
    assert proven_times([made.stamp(SIGNATURE)], SIGNATURE, [Authority(certificates, Window(BEGIN))]) == ()


def test_a_certificate_for_something_else_of_the_authority() -> None:
    """A leaf of the same root that is for signing code does not stamp times, even where the root lists it."""
    holder = made.leaf(above=TSA_ROOT, start=BEGIN, end=made.END)
    authority = Authority((holder.certificate, TSA_ROOT.certificate), Window(BEGIN))
    assert proven_times([made.stamp(SIGNATURE, by=holder)], SIGNATURE, [authority]) == ()


@pytest.mark.parametrize("stamp", [b"", b"\x30\x00", made.stamp(SIGNATURE)[:-1], b"\x30" * 5000])
def test_time_stamps_that_are_none(stamp: bytes) -> None:
    with pytest.raises(EvidenceError, match="cannot be read"):
        proven_times([stamp], SIGNATURE, [OURS])


def test_a_time_stamp_twice() -> None:
    stamp = made.stamp(SIGNATURE)
    with pytest.raises(EvidenceError, match="stands twice"):
        proven_times([stamp, stamp], SIGNATURE, [OURS])
