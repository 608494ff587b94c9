"""The login with a token of Kubernetes, its sessions, and their end."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from fakes.clock import StandingClock
from fakes.readers import HOST, Exchange, MemoryReviews, send
from fakes.sites import FORM, VIEWER, Site, code_in, cookie_of, encoded
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.accesslogin import expiry_of, login_address, next_of
from portcullis.server.review.accessopening import access_of
from portcullis.server.review.sessions import SEALED_CHARS, TOKEN_BYTES, Sealer, Session

pytestmark = pytest.mark.anyio

NOW = StandingClock().seconds


def jwt(**claims: Any) -> str:
    def part(content: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl"


TOKEN = jwt(sub="viewer", exp=NOW + 3600)


def text_of(exchange: Exchange) -> str:
    return exchange.body.decode()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path, tokens={})
    made.reviews.tokens = {TOKEN: VIEWER}
    made.reviews.allowed_in = {VIEWER.username: {"shop"}}
    return made


async def with_session(site: Site, exchange: Exchange, **how: Any) -> Exchange:
    return await site.who(headers={"cookie": cookie_of(exchange)}, **how)


async def test_a_token_opens_a_session_that_sees_what_its_owner_may(site: Site) -> None:
    answered = await site.log_in(TOKEN)
    assert (answered.status, answered.headers["location"]) == (303, "/who")
    (cookie,) = [value for name, value in answered.pairs if name == "set-cookie"]
    assert cookie.startswith("portcullis-session=")
    assert cookie.partition("; ")[2] == "Path=/; Max-Age=3600; HttpOnly; SameSite=Strict"
    assert (await with_session(site, answered)).body.decode().startswith(f"token {VIEWER.username} shop ")


async def test_behind_tls_the_cookie_never_leaves_it(site: Site, tmp_path: Path) -> None:
    answered = await site.log_in(TOKEN, origin=f"https://{HOST}")
    (cookie,) = [value for name, value in answered.pairs if name == "set-cookie"]
    assert cookie.startswith("__Host-portcullis-session=")
    assert cookie.endswith("; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict; Secure")
    assert (await with_session(site, answered)).status == 200


async def test_with_tls_of_its_own_only_cookies_of_this_host_count(tmp_path: Path) -> None:
    site = Site(tmp_path, tokens={}, tls={"webhook": True})
    site.reviews.tokens, site.reviews.allowed_in = {TOKEN: VIEWER}, {VIEWER.username: {"shop"}}
    answered = await site.log_in(TOKEN)
    assert list(answered.cookies) == ["__Host-portcullis-session"]
    sealed = answered.cookies["__Host-portcullis-session"]
    assert (await site.who(headers={"cookie": f"__Host-portcullis-session={sealed}"})).status == 200
    # Another host of the same domain, or somebody on the way, could set this one.
    assert (await site.who(headers={"cookie": f"portcullis-session={sealed}"})).status == 303


async def test_without_a_session_one_is_led_to_the_login_and_back(site: Site) -> None:
    answered = await send(site.app, "/decisions?namespace=shop&verdict=refused")
    assert answered.status == 303
    assert answered.headers["location"] == "/login?next=%2Fdecisions%3Fnamespace%3Dshop%26verdict%3Drefused"
    form = await send(site.app, answered.headers["location"])
    assert form.status == 200
    assert 'name="next" value="/decisions?namespace=shop&amp;verdict=refused"' in form.body.decode()
    assert "kubectl create token NAME --namespace NAMESPACE --audience portcullis.dev/audit" in form.body.decode()
    part = await send(site.app, "/decisions", headers={"hx-request": "true"})
    assert (part.status, part.headers["hx-refresh"]) == (401, "true")
    program = await send(site.app, "/api/v1/decisions")
    assert (program.status, program.json["reason"]) == (401, "reader-unknown")


REFUSED_TOKENS = {
    "unknown": jwt(sub="somebody"),
    "empty": "",
    "blank": "   ",
    "no text": "a b",
    "not ASCII": "ä" * 20,
    "long": "x" * (TOKEN_BYTES + 1),
    "control": "x\r\nset-cookie: a=b",
}


@pytest.mark.parametrize("name", REFUSED_TOKENS)
async def test_every_refusal_says_the_same_at_the_same_time(site: Site, name: str) -> None:
    begun = time.perf_counter()
    answered = await site.log_in(REFUSED_TOKENS[name])
    assert time.perf_counter() - begun >= site.limits.login_seconds
    assert answered.status == 401
    assert list(answered.cookies) == ["portcullis-login"]
    assert (
        "That is no token that the API server accepts for the audience portcullis.dev/audit." in answered.body.decode()
    )
    token = REFUSED_TOKENS[name].strip()
    assert not token or token not in text_of(answered)


async def test_the_token_is_nowhere_to_be_read(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    answered = await site.log_in(TOKEN)
    seen = await with_session(site, answered)
    texts = [str(answered.pairs), str(seen.pairs), seen.body.decode(), "".join(capsys.readouterr())]
    secret = TOKEN.rpartition(".")[2]
    assert not any(secret in text or TOKEN in text for text in texts)
    assert secret not in repr(Session("a", TOKEN, 1))


FORMS = {
    "no cookie": ({"cookie": ""}, {}),
    "another cookie": ({"cookie": "portcullis-login=x"}, {}),
    "no code": ({}, {"csrf": ""}),
    "another code": ({}, {"csrf": "277.0"}),
    "foreign origin": ({"origin": "https://evil.example.com"}, {}),
    "no origin": ({"origin": "null"}, {}),
    "foreign host": ({"host": "evil.example.com"}, {}),
}


@pytest.mark.parametrize("name", FORMS)
async def test_a_login_that_others_make_is_none(site: Site, name: str) -> None:
    changed, fields = FORMS[name]
    form = await send(site.app, "/login")
    headers = {"cookie": cookie_of(form), "origin": f"http://{HOST}", **FORM, **changed}
    body = encoded({"csrf": code_in(form), "token": TOKEN, **fields})
    answered = await send(site.app, "/login", method="POST", headers=headers, body=body)
    assert answered.status == (421 if "host" in changed else 403)
    assert site.reviews.reviewed == []


async def test_few_refused_tokens_a_minute_from_one_place(tmp_path: Path) -> None:
    site = Site(tmp_path, tokens={}, limits={"login_failures": 2, "login_failures_in_all": 4})
    site.reviews.tokens, site.reviews.allowed_in = {TOKEN: VIEWER}, {VIEWER.username: {"shop"}}
    for _ in range(5):
        assert (await site.log_in(TOKEN)).status == 303
    assert [(await site.log_in("x")).status for _ in range(3)] == [401, 401, 429]
    assert (await site.log_in(TOKEN)).status == 429
    # A customer has a whole network of version 6.
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
    assert [(await site.log_in("x", client=one)).status for one in addresses] == [401, 401, 429]
    assert (await site.log_in("x", client="198.51.100.1")).status == 429
    site.clock.seconds += 60
    assert (await site.log_in(TOKEN)).status == 303


async def test_programs_send_the_token_itself(site: Site) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert (await send(site.app, "/api/who", headers=headers)).body.decode().startswith("token ")
    assert (await site.who(headers=headers)).status == 303
    for wrong in ("Bearer x", "Bearer", f"Basic {TOKEN}", TOKEN):
        answered = await send(site.app, "/api/who", headers={"authorization": wrong})
        assert (answered.status, answered.headers["www-authenticate"]) == (401, "Bearer")
    twice = (("authorization", headers["authorization"]),)
    assert (await send(site.app, "/api/who", headers=headers, raw=twice)).status == 401


async def test_a_token_that_is_revoked_ends_its_session(tmp_path: Path) -> None:
    site = Site(tmp_path, tokens={}, limits={"token_review_seconds": 120.0})
    site.reviews.tokens, site.reviews.allowed_in = {TOKEN: VIEWER}, {VIEWER.username: {"shop"}}
    session = await site.log_in(TOKEN)
    assert (await with_session(site, session)).status == 200
    site.reviews.tokens = {}
    site.clock.seconds += 119
    assert (await with_session(site, session)).status == 200
    site.clock.seconds += 1
    assert (await with_session(site, session)).status == 303
    assert (await with_session(site, session)).status == 303


async def test_a_silent_api_server_ends_what_is_believed(site: Site) -> None:
    session = await site.log_in(TOKEN)
    site.reviews.silent = True
    assert (await site.log_in(TOKEN)).status == 303  # it was reviewed a moment ago
    site.clock.seconds += 120
    assert (await with_session(site, session)).status == 503
    assert (await site.log_in(TOKEN)).status == 503
    site.reviews.silent = False
    assert (await with_session(site, session)).status == 200


@pytest.mark.parametrize(
    ("token", "seconds"),
    [(jwt(exp=NOW + 60), 60), (jwt(exp=NOW + 10**6), 8 * 3600), (jwt(), 8 * 3600), ("opaque", 8 * 3600)],
)
async def test_a_session_ends_with_its_token_or_after_eight_hours(tmp_path: Path, token: str, seconds: int) -> None:
    site = Site(tmp_path, tokens={})
    site.reviews.tokens, site.reviews.allowed_in = {token: VIEWER}, {VIEWER.username: {"shop"}}
    session = await site.log_in(token)
    assert f"Max-Age={seconds};" in session.headers["set-cookie"]
    site.clock.seconds += seconds - 1
    assert (await with_session(site, session)).status == 200
    site.clock.seconds += 1
    assert (await with_session(site, session)).status == 303


async def test_log_out(site: Site) -> None:
    session = await site.log_in(TOKEN)
    code = (await with_session(site, session)).body.decode().split()[-1]
    headers = {"cookie": cookie_of(session), "origin": f"http://{HOST}", **FORM}
    for body in (b"", encoded({"csrf": "1.2"})):
        assert (await send(site.app, "/logout", method="POST", headers=headers, body=body)).status == 403
    assert (await send(site.app, "/logout", headers={"cookie": cookie_of(session)})).status == 405
    assert (await with_session(site, session)).status == 200
    out = await send(site.app, "/logout", method="POST", headers=headers, body=encoded({"csrf": code}))
    assert (out.status, out.headers["location"]) == (303, "/login")
    assert out.cookies == {"portcullis-session": "", "__Host-portcullis-session": ""}
    assert (await with_session(site, session)).status == 303


async def test_the_code_of_another_session_is_no_code(site: Site) -> None:
    mine, other = await site.log_in(TOKEN), await site.log_in(TOKEN)
    code = (await with_session(site, other)).body.decode().split()[-1]
    headers = {"cookie": cookie_of(mine), "origin": f"http://{HOST}", **FORM}
    assert (await site.who(method="POST", headers=headers, body=encoded({"csrf": code}))).status == 403


async def test_who_is_logged_in_needs_no_form(site: Site) -> None:
    session = await site.log_in(TOKEN)
    headers = {"cookie": cookie_of(session)}
    answered = await send(site.app, "/login?next=/policies", headers=headers)
    assert (answered.status, answered.headers["location"]) == (303, "/policies")


# -- what is sealed ----------------------------------------------------------------------------------------------------


def test_a_session_opens_with_its_key_and_unchanged_only() -> None:
    sealer = Sealer(b"k" * 32)
    session = Session("id", TOKEN, 100)
    sealed = sealer.seal(session)
    assert sealer.open(sealed, 99) == session
    assert sealer.open(sealed, 100) is None
    assert Sealer(b"k" * 32).open(sealed, 99) == session
    assert Sealer(b"l" * 32).open(sealed, 99) is None
    assert sealer.seal(session) != sealed
    for place in range(0, len(sealed) - 1, 7):
        other = "A" if sealed[place] != "A" else "B"
        assert sealer.open(sealed[:place] + other + sealed[place + 1 :], 99) is None
    for text in ("", "A", "A" * 20, "ä" * 20, "=" * 40, sealed[:-1], sealed + "AAAA", "A" * (SEALED_CHARS + 1)):
        assert sealer.open(text, 99) is None, text


def test_the_longest_token_fits_into_a_cookie() -> None:
    sealed = Sealer(b"k" * 32).seal(Session("0" * 32, "x" * TOKEN_BYTES, 9_999_999_999))
    assert len(sealed) <= SEALED_CHARS
    assert len(f"__Host-portcullis-session={sealed}") <= 4096


@pytest.mark.parametrize(
    ("token", "expiry"),
    [
        (jwt(exp=17), 17), (jwt(exp=17.9), 17), (jwt(exp=0), None), (jwt(exp=-1), None), (jwt(exp="17"), None),
        (jwt(exp=1e300), None), (jwt(), None), ("a.b", None), ("a.b.c", None), ("a.ä.c", None), ("a.W10.c", None),
        ("a." + base64.b64encode(b"[" * 3000).decode() + ".c", None),
    ],
)  # fmt: skip
def test_the_end_of_a_token_is_read_from_it(token: str, expiry: int | None) -> None:
    assert expiry_of(token) == expiry


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/decisions?a=b#c", "/decisions?a=b#c"), ("", "/"), ("decisions", "/"), ("//evil.example.com", "/"),
        ("/\\evil.example.com", "/"), ("/a\\b", "/"), ("https://evil.example.com", "/"), ("/a\r\nset-cookie: x", "/"),
        ("/login?next=/login", "/"), ("/logout", "/"), ("/ä", "/"), ("\t//evil.example.com", "/"),
        ("javascript:alert(1)", "/"),
    ],
)  # fmt: skip
def test_the_way_back_is_a_path_of_ours(text: str, path: str) -> None:
    assert next_of(text) == path


def test_the_address_of_the_login_keeps_where_one_was() -> None:
    assert login_address("/", b"") == "/login"
    assert login_address("/images/ä", b"x=1") == "/login?next=%2Fimages%2F%25C3%25A4%3Fx%3D1"


# -- the configuration -------------------------------------------------------------------------------------------------


def test_replicas_share_sessions_by_a_key_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("0123456789abcdef" * 2 + "\n")
    section = PagesSection.model_validate_json(json.dumps({"tokens": {"sessionKeyFile": str(file)}}))

    def opened() -> Any:
        access = access_of(section, reviews=MemoryReviews(), namespaces=tuple, clock=StandingClock(), limits=Limits())
        assert access.login is not None
        return access.login

    sealed = opened()._sealer.seal(Session("id", TOKEN, 100))
    assert opened()._sealer.open(sealed, 1) is not None
    file.write_text("too short to be by chance")
    with pytest.raises(ConfigError, match=r"audit\.pages\.tokens\.sessionKeyFile: .*fewer than 32 characters"):
        opened()
