"""One step of what is shared: from the entries and what clients trust to the entries as they are to be. What a folder
does with it stands in test_certificate.py, whole runs of several replicas in tests/property/test_rotation.py."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from portcullis.cluster.certificateissuing import (
    Lives,
    certificate_pem,
    general_names,
    make_authority,
    make_leaf,
    read_certificates,
)
from portcullis.cluster.certificatestate import (
    MOST_AUTHORITIES,
    MOST_NAMES,
    SKEW,
    Content,
    Terms,
    Trust,
    advance,
    fingerprint,
    issuer_of,
    pair_of,
    word_of,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TERMS = Terms(names=general_names(["gate.svc"]), path=True)
NOBODY = Trust()


def step(
    content: Content, trust: Trust | None, *, terms: Terms = TERMS, now: datetime = NOW, **more: object
) -> Content:
    return advance(content, terms=terms, trust=trust, now=now, **more)  # type: ignore[arg-type]


def trusting(content: Content, *, settled: bool = False) -> Trust:
    """Clients that have the bundle of ``content``."""
    bundle = tuple(read_certificates(content["ca.crt"]))
    return Trust(bundle, bundle, frozenset(map(fingerprint, bundle)) if settled else frozenset())


@pytest.fixture(scope="module")
def first() -> Content:
    return step({}, NOBODY)


def signer(content: Content) -> x509.Certificate | None:
    pair = pair_of(content)
    return issuer_of(pair, read_certificates(content["ca.crt"])) if pair is not None else None


def names_of(content: Content) -> list[x509.GeneralName]:
    leaf = read_certificates(content["tls.crt"])[0]
    return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def test_where_nobody_trusts_anything_the_first_ca_signs_at_once(first: Content) -> None:
    assert signer(first) == read_certificates(first["ca.crt"])[0]
    assert set(first) == {"ca.crt", "ca.key", "tls.crt", "tls.key", "path"}
    assert len(word_of(first)) >= 32


def test_what_is_in_order_stays_the_same_object(first: Content) -> None:
    assert step(first, trusting(first)) is first
    assert step(first, NOBODY, now=NOW + timedelta(days=59)) is first


def test_a_wish_is_granted_once_and_in_two_steps(first: Content) -> None:
    terms = Terms(names=TERMS.names, path=True, rotate="now")
    asked = step(first, trusting(first, settled=True), terms=terms)
    assert (signer(asked), asked["rotated"]) == (signer(first), b"now")
    assert word_of(asked) != word_of(first)
    old, new = read_certificates(asked["ca.crt"])
    assert read_certificates(asked["next.crt"]) == [new]
    assert step(asked, trusting(asked), terms=terms) is asked
    signed = step(asked, trusting(asked, settled=True), terms=terms)
    assert (signer(signed), read_certificates(signed["ca.crt"])) == (new, [old, new])
    assert "next.key" not in {name for name, entry in signed.items() if entry}
    assert step(signed, trusting(signed, settled=True), terms=terms) == signed


def test_a_ca_that_only_some_have_does_not_sign(first: Content) -> None:
    asked = step(first, trusting(first), terms=Terms(names=TERMS.names, rotate="now"))
    old, new = read_certificates(asked["ca.crt"])
    assert step(asked, Trust((old,), (old, new), frozenset({fingerprint(old)}))) is asked


@pytest.mark.parametrize(
    "lost", [("ca.key",), ("ca.crt", "ca.key"), ("ca.crt", "ca.key", "tls.crt", "tls.key", "path")]
)
def test_a_lost_ca_is_followed_by_another_that_waits(first: Content, lost: tuple[str, ...]) -> None:
    left = {name: entry for name, entry in first.items() if name not in lost}
    trust = trusting(first)
    mended = step(left, trust, called_by=word_of(first))
    old = read_certificates(first["ca.crt"])[0]
    assert old in read_certificates(mended["ca.crt"])
    assert (mended.get("tls.crt", b""), word_of(mended)) == (left.get("tls.crt", b""), word_of(first))
    assert "ca.key" not in mended
    signed = step(mended, trusting(mended, settled=True))
    assert signer(signed) not in (None, old)


def test_a_lost_bundle_is_found_where_clients_have_it(first: Content) -> None:
    mended = step({**first, "ca.crt": b"nonsense"}, trusting(first))
    assert read_certificates(mended["ca.crt"]) == read_certificates(first["ca.crt"])
    assert mended["tls.crt"] == first["tls.crt"]


def test_what_somebody_serves_goes_on_being_trusted(first: Content) -> None:
    other = make_authority(NOW).certificate
    kept = step(first, trusting(first), kept=(other,))
    assert read_certificates(kept["ca.crt"]) == [*read_certificates(first["ca.crt"]), other]


def test_a_ca_is_dropped_an_hour_after_its_end(first: Content) -> None:
    old = make_authority(NOW - timedelta(days=10), timedelta(days=10)).certificate
    content = {**first, "ca.crt": first["ca.crt"] + certificate_pem(old)}
    assert step(content, NOBODY, now=NOW + SKEW - timedelta(seconds=1)) is content
    assert read_certificates(step(content, NOBODY, now=NOW + SKEW)["ca.crt"]) == read_certificates(first["ca.crt"])


def test_no_more_cas_are_kept_than_are_allowed_and_the_signing_one_among_them(first: Content) -> None:
    others = [make_authority(NOW, timedelta(days=400 + number)).certificate for number in range(MOST_AUTHORITIES + 3)]
    content = {**first, "ca.crt": first["ca.crt"] + b"".join(map(certificate_pem, others))}
    kept = read_certificates(step(content, NOBODY)["ca.crt"])
    assert kept == [*read_certificates(first["ca.crt"]), *others[-(MOST_AUTHORITIES - 1) :]]


def test_replicas_of_two_configurations_are_content_with_one_leaf(first: Content) -> None:
    """Else each would make it anew, by turns, for as long as a change is rolled out."""
    other = Terms(names=general_names(["gate.svc", "pages.svc"]), path=True)
    trust = trusting(first, settled=True)
    second = step(first, trust, terms=Terms(names=general_names(["other.svc"]), path=True))
    third = step(second, trust, terms=other)
    for terms in (TERMS, other):
        assert step(third, trust, terms=terms) is third
    # A name that nobody asks for is gone when the leaf is renewed.
    renewed = read_certificates(step(third, trust, now=NOW + timedelta(days=61))["tls.crt"])[0]
    assert list(renewed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == list(
        TERMS.names or ()
    )


def test_names_do_not_pile_up(first: Content) -> None:
    many = Terms(names=general_names([f"{number}.svc" for number in range(MOST_NAMES)]), path=True)
    assert names_of(step(first, trusting(first), terms=many)) == list(many.names or ())


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "next.crt", "next.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize("kind", ["rsa", "ed25519", "leaf", "text"])
def test_entries_of_another_kind_are_as_good_as_none(first: Content, name: str, kind: str) -> None:
    if kind == "leaf":
        entry = make_leaf(make_authority(NOW), general_names(["x"]), NOW).certificate_pem
    elif kind == "text":
        entry = b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n"
    else:
        key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
        entry = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    mended = step({**first, name: entry}, trusting(first))
    for _ in range(2):
        mended = step(mended, trusting(mended, settled=True))
    assert signer(mended) is not None
    assert read_certificates(first["ca.crt"])[0] in read_certificates(mended["ca.crt"])


def test_entries_that_are_not_known_are_kept(first: Content) -> None:
    content = {"of-a-later-version": b"x", **first, "tls.crt": b""}
    assert step(content, trusting(first))["of-a-later-version"] == b"x"


def test_without_names_there_is_only_a_path() -> None:
    content = step({}, NOBODY, terms=Terms(path=True))
    assert (set(content), step(content, NOBODY, terms=Terms(path=True)) is content) == ({"path"}, True)
    assert step({}, NOBODY, terms=Terms()) == {}


@pytest.mark.parametrize("called_by", ["validate", "a/b", "", "short"])
def test_a_word_of_the_path_that_is_none_is_not_kept(called_by: str) -> None:
    assert len(word_of(step({"path": b"\xff"}, NOBODY, terms=Terms(path=True), called_by=called_by))) >= 32


def test_lives_are_those_that_are_asked_for() -> None:
    terms = Terms(names=TERMS.names, lives=Lives(timedelta(days=4), timedelta(days=2)))
    content = step({}, NOBODY, terms=terms)
    leaf, authority = read_certificates(content["tls.crt"])
    assert (authority.not_valid_after_utc - NOW, leaf.not_valid_after_utc - NOW) == (
        terms.lives.authority,
        terms.lives.leaf,
    )
