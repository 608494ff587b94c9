"""The rule for token endpoints, the life of tokens, and the header WWW-Authenticate."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from portcullis.errors import Denied, Malformed
from portcullis.model.image import Anonymous, Credential, IdentityToken, RegistryCredential, RegistryToken
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
        ("1.dkr.ecr.cn-north-1.amazonaws.com.cn", "evil.amazonaws.com.cn", False),
        ("1.dkr-ecr.eu-west-1.on.aws", "evil.lambda-url.eu-west-1.on.aws", False),
        ("demo.azurecr.io", "demo.azurecr.io", True),
        ("demo.azurecr.io", "evil.azurecr.io", False),
        ("eu-docker.pkg.dev", "eu-docker.pkg.dev", True),
        ("eu-docker.pkg.dev", "evil.pkg.dev", False),
        ("eu.gcr.io", "evil.gcr.io", False),
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
    """A token endpoint that writes down what it is asked, and a clock that stands still."""

    def __init__(self, body: bytes, *insecure: str) -> None:
        self.body = body
        self.asked: list[URL] = []
        self.headers: list[Mapping[str, str]] = []
        self.forms: list[Mapping[str, str]] = []
        self.denies = False
        self.now = 1000.0
        hosts = HostRules(insecure=frozenset(insecure))
        self.auth = Authenticator(hosts=hosts, fetch=self.fetch, post=self.post, clock=lambda: self.now)

    async def fetch(self, url: URL, headers: Mapping[str, str]) -> bytes:
        self.headers.append(headers)
        return self._answer(url)

    async def post(self, url: URL, form: Mapping[str, str]) -> bytes:
        self.forms.append(form)
        return self._answer(url)

    def _answer(self, url: URL) -> bytes:
        self.asked.append(url)
        if self.denies:
            raise Denied("auth.example refuses a token (HTTP 401)")
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


CI = Credential("ci", "s3cret")
BASIC = "Basic Y2k6czNjcmV0"


def bearer(realm: str) -> list[str]:
    return [f'Bearer realm="{realm}",service="registry.example",scope="repository:a/b:pull,push"']


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("origin", "realm", "insecure", "sent"),
    [
        # Step 2: to whom it belongs.
        ("https://registry.example", "https://registry.example/token", (), True),
        ("https://registry.example", "https://auth.registry.example/token", (), True),
        ("https://registry.example", "https://registry.example.attacker/token", (), False),
        ("https://registry.example", "https://attacker/token", (), False),
        ("https://demo.azurecr.io", "https://evil.azurecr.io/token", (), False),
        # Step 3: over TLS, or the very host that gets it is marked.
        ("http://registry.example", "http://registry.example/token", ("registry.example",), True),
        ("http://registry.example", "https://registry.example/token", ("registry.example",), True),
        ("http://registry.example", "http://auth.registry.example/token", ("registry.example",), False),
        (
            "http://registry.example",
            "http://auth.registry.example/token",
            ("registry.example", "auth.registry.example"),
            True,
        ),
        ("http://registry.example:1", "http://registry.example:2/token", ("registry.example:1",), False),
    ],
)
@pytest.mark.parametrize("credential", [CI, IdentityToken("refresh")])
async def test_which_token_endpoint_gets_the_credential(
    origin: str, realm: str, insecure: tuple[str, ...], sent: bool, credential: Credential | IdentityToken
) -> None:
    tokens = Tokens(b'{"token":"t"}', *insecure)
    assert await tokens.auth.answer(GRANT, URL(origin), None, bearer(realm), credential) == "Bearer t"
    shown = BASIC in [headers.get("Authorization") for headers in tokens.headers] or bool(tokens.forms)
    assert shown is sent
    assert len(tokens.asked) == 1
    assert "refresh" not in str(tokens.asked[0])


@pytest.mark.anyio
@pytest.mark.parametrize("fields", [['Basic realm="r"'], bearer("https://registry.example/token")])
@pytest.mark.parametrize("credential", [CI, IdentityToken("refresh"), RegistryToken("access")])
async def test_no_credential_without_tls_to_a_registry_that_is_not_marked(
    fields: list[str], credential: RegistryCredential
) -> None:
    """Step 1."""
    tokens = Tokens(b'{"token":"t"}')
    with pytest.raises(Denied, match="without TLS"):
        await tokens.auth.answer(GRANT, URL("http://registry.example"), None, fields, credential)
    assert tokens.asked == []


@pytest.mark.anyio
async def test_an_identity_token_is_the_refresh_token_of_oauth() -> None:
    tokens = Tokens(b'{"access_token":"t","expires_in":100}')
    realm = "https://auth.registry.example/token?account=x"
    header = await tokens.auth.answer(GRANT, ORIGIN, None, bearer(realm), IdentityToken("refresh"))
    assert header == "Bearer t"
    assert tokens.asked == [URL(realm)]
    assert tokens.forms == [
        {
            "grant_type": "refresh_token",
            "service": "registry.example",
            "client_id": "portcullis",
            "scope": "repository:a/b:pull",
            "refresh_token": "refresh",
        }
    ]


@pytest.mark.anyio
async def test_a_registry_token_is_shown_to_the_registry_alone() -> None:
    """Step 4."""
    tokens = Tokens(b'{"token":"t"}')
    realm = bearer("https://registry.example/token")
    assert await tokens.auth.answer(GRANT, ORIGIN, None, realm, RegistryToken("access")) == "Bearer access"
    assert tokens.auth.known(GRANT) == "Bearer access"
    assert tokens.asked == []
    with pytest.raises(Denied, match="characters that no token has"):
        await tokens.auth.answer(GRANT, ORIGIN, "Bearer access", realm, RegistryToken("a\r\nX-Evil: 1"))


@pytest.mark.anyio
@pytest.mark.parametrize("credential", [IdentityToken("refresh"), RegistryToken("access")])
async def test_a_token_is_no_password(credential: IdentityToken | RegistryToken) -> None:
    with pytest.raises(Denied, match="a name and a password"):
        await Tokens(b"").auth.answer(GRANT, ORIGIN, None, ["Basic"], credential)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("https://other.example/token", "another's host"),
        ("http://auth.registry.example/token", "no TLS and is not configured as insecure"),
    ],
)
async def test_a_refusal_says_that_the_credential_was_withheld(realm: str, why: str) -> None:
    """Step 5: otherwise nobody would understand why a configured credential does not help."""
    tokens = Tokens(b"", "registry.example")
    tokens.denies = True
    origin = URL("http://registry.example")
    with pytest.raises(Denied, match=f"refuses a token .*registry.example was not sent there: .*{why}") as caught:
        await tokens.auth.answer(GRANT, origin, None, bearer(realm), CI)
    assert "s3cret" not in caught.value.message
    with pytest.raises(Denied, match=r"HTTP 401\)$"):
        await tokens.auth.answer(GRANT, origin, None, bearer(realm), Anonymous())
