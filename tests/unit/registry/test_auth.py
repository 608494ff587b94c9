"""The rule for token endpoints, the life of tokens, and the header WWW-Authenticate."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from portcullis.errors import Denied, Malformed
from portcullis.model.image import Anonymous
from portcullis.registry.auth import Authenticator, Grant, may_receive_credential
from portcullis.registry.challenges import Challenge, parse_challenges
from portcullis.registry.hosts import HostRules


@pytest.mark.parametrize(
    ("registry", "realm", "may"),
    [
        ("registry.example.com", "registry.example.com", True),
        ("registry.example.com", "REGISTRY.example.com.", True),
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry.example.com", "auth.example.com", True),
        ("registry.example.com", "example.com.attacker.net", False),
        ("registry.example.com", "attackerexample.com", False),
        ("example.com", "evil-example.com", False),
        ("registry.example.com", "registry.example.org", False),
        ("a.co.uk", "b.co.uk", False),
        ("r.a.co.uk", "auth.a.co.uk", True),
        ("a.com.au", "b.com.au", False),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "evil.elb.amazonaws.com", False),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.1.0.1", False),
        ("1.0.0.1", "2.0.0.1", False),
        ("localhost", "127.0.0.1", False),
        ("localhost", "evil", False),
        ("com", "example.com", False),
        ("", "", False),
    ],
)
def test_who_may_receive_a_registrys_credential(registry: str, realm: str, may: bool) -> None:
    assert may_receive_credential(registry, realm) is may


@pytest.mark.parametrize(
    ("fields", "challenges"),
    [
        ([], []),
        (["Basic"], [Challenge("basic", {})]),
        (['Basic realm="a b"'], [Challenge("basic", {"realm": "a b"})]),
        (
            ['Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {"realm": "https://auth.example/token", "service": "r", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (["BEARER Realm = x , SERVICE=y"], [Challenge("bearer", {"realm": "x", "service": "y"})]),
        (
            ['Digest realm="a, b=\\"c\\"", Basic realm=x'],
            [Challenge("digest", {"realm": 'a, b="c"'}), Challenge("basic", {"realm": "x"})],
        ),
        (
            ["Negotiate a87421000492aa874209af8bc028==", "Basic realm=x"],
            [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})],
        ),
        (["Negotiate, Basic realm=x"], [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        (["Negotiate abc, Basic realm=x"], [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        ([", ,Basic realm=x,,"], [Challenge("basic", {"realm": "x"})]),
    ],
)
def test_challenges(fields: list[str], challenges: list[Challenge]) -> None:
    assert parse_challenges(fields, "registry.example") == challenges


@pytest.mark.parametrize(
    "field",
    [
        'Bearer realm="unclosed',
        "Bearer realm=a b=c d=",
        'Bearer realm="a"b="c"',
        "Bearer realm=a,realm=b",
        'Bearer realm="a",REALM="b"',
        "Bearer =x",
        '"Bearer" realm=x',
        "Bearer@x",
        "Bearer " + ",".join(f"p{number}=1" for number in range(21)),
        ",".join(f"s{number}" for number in range(11)),
        "x" * 9000,
        "\x00",
    ],
)
def test_broken_challenges(field: str) -> None:
    with pytest.raises(Malformed, match=r"registry\.example"):
        parse_challenges([field], "registry.example")


_ALPHABET = st.sampled_from(list('aB0"\\,= \t/+-~;@\x00é'))


@given(st.text(_ALPHABET, max_size=200))
def test_any_header_is_read_or_malformed(field: str) -> None:
    try:
        challenges = parse_challenges([field], "registry.example")
    except Malformed:
        return
    assert all(challenge.scheme == challenge.scheme.lower() for challenge in challenges)


_NAMES = st.text("abcdefgh-", min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(
            _NAMES,
            st.dictionaries(
                _NAMES, st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs"))), max_size=5
            ),
        ),
        max_size=5,
    )
)
def test_what_was_written_is_read(wanted: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    fields = [
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in wanted
    ]
    assert parse_challenges(fields, "x") == [Challenge(scheme, parameters) for scheme, parameters in wanted]


class Tokens:
    """A token endpoint that counts, and a clock that stands still."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[URL] = []
        self.now = 1000.0
        hosts = HostRules()
        self.auth = Authenticator(hosts=hosts, fetch=self.fetch, clock=lambda: self.now)

    async def fetch(self, url: URL, headers: Mapping[str, str]) -> bytes:
        self.asked.append(url)
        return self.body


GRANT = Grant("registry.example", "repository:a/b:pull", "anonymous")
ORIGIN = URL("https://registry.example")
FIELDS = ['Bearer realm="https://auth.registry.example/token"']


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "alive", "dead"),
    [
        (b'{"token":"t"}', 53, 55),
        (b'{"token":"t","expires_in":100}', 89, 91),
        (b'{"token":"t","expires_in":0}', 53, 55),
        (b'{"token":"t","expires_in":100000000}', 3239, 3241),
    ],
)
async def test_how_long_a_token_is_used(body: bytes, alive: float, dead: float) -> None:
    tokens = Tokens(body)
    assert await tokens.auth.answer(GRANT, ORIGIN, None, FIELDS, Anonymous()) == "Bearer t"
    tokens.now = 1000 + alive
    assert tokens.auth.known(GRANT) == "Bearer t"
    tokens.now = 1000 + dead
    assert tokens.auth.known(GRANT) is None


@pytest.mark.anyio
async def test_a_token_that_somebody_else_got_meanwhile_is_used() -> None:
    tokens = Tokens(b'{"token":"t"}')
    for _ in range(2):
        assert await tokens.auth.answer(GRANT, ORIGIN, None, FIELDS, Anonymous()) == "Bearer t"
    assert len(tokens.asked) == 1
    await tokens.auth.answer(GRANT, ORIGIN, "Bearer t", FIELDS, Anonymous())
    assert len(tokens.asked) == 2


@pytest.mark.anyio
async def test_a_realm_without_tls_is_refused_where_the_registry_has_tls() -> None:
    tokens = Tokens(b'{"token":"t"}')
    with pytest.raises(Denied, match="without TLS"):
        await tokens.auth.answer(GRANT, ORIGIN, None, ['Bearer realm="http://registry.example/token"'], Anonymous())
    assert tokens.asked == []
