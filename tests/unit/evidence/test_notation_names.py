"""Identities of Notation, as trust-store-trust-policy.md writes them."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from portcullis.errors import ConfigError
from portcullis.evidence.x509names import has_all, parse_identities, parse_identity
from vectors.notation import name


@pytest.mark.parametrize(
    ("identity", "subject"),
    [
        ("x509.subject: C=US, ST=WA, O=acme", name("B")),
        ("x509.subject:C=US,ST=WA,O=acme", name("B")),
        ("x509.subject: o=acme, st=WA, c=US, CN=B, L=Seattle", name("B")),
        ("x509.subject: C=US, S=WA, O=acme", name("B")),
        (r"x509.subject: C=US, ST=WA, O=acme\, Inc.", name("B", O="acme, Inc.")),
        (r"x509.subject: C=US, ST=WA, O=a\;b\\c\+d\"e\<f\>\#\=g", name("B", O='a;b\\c+d"e<f>#=g')),
        (r"x509.subject: C=US, ST=WA, O=\ acme\ ", name("B", O=" acme ")),
        ("x509.subject: C=US, ST=WA, O=  acme rockets  ", name("B", O="acme rockets")),
        (r"x509.subject: C=US, ST=WA, O=M\C3\BCller", name("B", O="Müller")),
        ("x509.subject: C=US, ST=WA, O=Müller", name("B", O="Müller")),
        ("x509.subject: C=US, ST=WA, O=a=b", name("B", O="a=b")),
    ],
)
def test_a_subject_that_has_all_attributes(identity: str, subject: x509.Name) -> None:
    assert has_all(subject, parse_identity(identity))


_ORGANISATIONS = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in ("acme", "other")]


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(name("B", O="Acme"), id="another case"),
        pytest.param(name("B", O="acme "), id="longer"),
        pytest.param(name("B", O="acme, O=other"), id="a comma within"),
        pytest.param(x509.Name([]), id="nothing"),
        pytest.param(x509.Name([*name("B"), _ORGANISATIONS[1]]), id="one more behind"),
        pytest.param(x509.Name([_ORGANISATIONS[0], *name("B")]), id="the same one twice"),
        pytest.param(name("O=acme", O="other"), id="within another attribute"),
    ],
)
def test_a_subject_that_has_not(subject: x509.Name) -> None:
    assert not has_all(subject, parse_identity("x509.subject: C=US, ST=WA, O=acme"))


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ("C=US, ST=WA, O=acme", "does not begin with x509.subject:"),
        ("X509.subject: C=US, ST=WA, O=acme", "does not begin with"),
        ("x509.subject:", "lacks an ="),
        ("x509.subject: C=US, ST=WA", "O is missing; C, ST, O are needed"),
        ("x509.subject: ST=WA, O=acme", "C is missing"),
        ("x509.subject: C=US, O=acme", "ST is missing"),
        ("x509.subject: C=US, ST=WA, O=", "O is empty"),
        ("x509.subject: C=US, ST=WA, O=acme, O=other", "O stands there twice"),
        ("x509.subject: C=US, ST=WA, S=WA, O=acme", "S stands there twice"),
        ("x509.subject: C=US, ST=WA, O=acme, E=x", '"E" is none of'),
        ("x509.subject: C=US, ST=WA, O=acme,", "lacks an ="),
        ("x509.subject: C=US, ST=WA, O=acme+OU=x", "+ must be escaped"),
        ("x509.subject: C=US; ST=WA; O=acme", "; must be escaped"),
        ('x509.subject: C=US, ST=WA, O="acme, Inc."', '" must be escaped'),
        ("x509.subject: C=US, ST=WA, O=acme\\", "escapes nothing"),
        (r"x509.subject: C=US, ST=WA, O=\q", "escapes nothing"),
        (r"x509.subject: C=US, ST=WA, O=\FF", "no distinguished name"),
    ],
)
def test_what_is_no_identity(identity: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_identity(identity)
    assert words in caught.value.message


def test_any_subject() -> None:
    assert parse_identities(("*",)) is None
