"""Secrets in text: what goes, what stays, and that neither takes long."""

import contextlib
import random
import time

import pytest

from portcullis.audit import redactiontext
from portcullis.audit.linear import linear
from portcullis.audit.redactiontext import (
    REDACTED,
    Work,
    is_secret_argument,
    is_secret_field,
    suspect,
    without_secret_arguments,
    without_secrets,
)
from portcullis.errors import RedactionError

X = REDACTED
A36 = "Ab1" * 12


def redacted(text: str) -> str:
    """The text without its secrets; once more changes nothing, and what is not suspected is not changed."""
    made = without_secrets(text, Work(2**20))
    assert without_secrets(made, Work(2**20)) == made
    assert made == text or suspect(text)
    return made


@pytest.mark.parametrize(
    "token",
    [
        f"ghp_{A36}",
        f"gho_{A36}",
        "github_pat_" + "a1_" * 20,
        "glpat-" + "x-Y_" * 6,
        "glrt-" + "x" * 20,
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "xoxb-12345678901-abcdefgh",
        "hooks.slack.com/services/T000/B000/XXXXXXXXXXXX",
        "AIza" + "b" * 35,
        "ya29." + "c" * 40,
        "GOCSPX-" + "d" * 28,
        f"npm_{A36}",
        "pypi-" + "AgEI" * 20,
        "dckr_pat_" + "e" * 27,
        "sk_live_" + "f1" * 12,
        "hvs." + "g" * 30,
        "SG." + "h" * 22 + "." + "i" * 43,
        "dop_v1_" + "0f" * 32,
        "hf_" + "j" * 34,
        "shpat_" + "0a" * 16,
        "sk-proj-" + "k" * 40,
        "AGE-SECRET-KEY-1" + "Q" * 58,
        "abc8Q~" + "l" * 34,
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
        "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2",
    ],
)
def test_tokens_go_to_their_last_character(token: str) -> None:
    assert redacted(token) == X
    assert redacted(f"use {token}, please") == f"use {X}, please"
    assert token not in redacted(f'{{"a":"{token}"}}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--password=hunter2", f"--password={X}"),
        ("run --db-password hunter2 --verbose", f"run --db-password {X} --verbose"),
        ('run --token "two words" x', f'run --token "{X}" x'),
        ("PGPASSWORD=hunter2 psql", f"PGPASSWORD={X} psql"),
        ("API_KEY_2=hunter2", f"API_KEY_2={X}"),
        ("GITHUB_PAT=hunter2", f"GITHUB_PAT={X}"),
        ("password: hunter2", f"password: {X}"),
        ("client_secret => 'hunter2'", f"client_secret => '{X}'"),
        ('{"password":"hun\\"ter2","user":"a"}', f'{{"password":"{X}","user":"a"}}'),
        ('"{\\"apiKey\\":\\"hunter2\\"}"', f'"{{\\"apiKey\\":\\"{X}\\"}}"'),
        ("{password: hunter2}", f"{{password: {X}}}"),
        ("password=hunter2,user=a", f"password={X}"),
        ("user=a;password=hunter2;host=b", f"user=a;password={X};host=b"),
        ("token=$A,password=hunter2", f"token={X}"),
        ("DefaultEndpointsProtocol=https;AccountKey=aGk=;E=x", f"DefaultEndpointsProtocol=https;AccountKey={X};E=x"),
        ('{"auths":{"r.example":{"auth":"dTpw"}}}', f'{{"auths":{{"r.example":{{"auth":"{X}"}}}}}}'),
        ("https://ada:hunter2@r.example/x", f"https://ada:{X}@r.example/x"),
        ("redis://:hunter2@cache:6379/0", f"redis://:{X}@cache:6379/0"),
        ("https://b.example/?sv=1&sig=aGk%3D&se=2", f"https://b.example/?sv=1&sig={X}&se=2"),
        ("https://s3.example/o?X-Amz-Signature=0f0f&x=1", f"https://s3.example/o?X-Amz-Signature={X}&x=1"),
        ("Authorization: Bearer hunter2", f"Authorization: Bearer {X}"),
        ("-H 'Bearer hunter22'", f"-H 'Bearer {X}'"),
        ("Authorization: Basic dTpw", f"Authorization: Basic {X}"),
        ('curl -H "authorization: token hunter2" a', f'curl -H "authorization: token {X}" a'),
        ("curl -u ada:hunter2 https://r.example", f"curl -u ada:{X} https://r.example"),
        ("mysql -uroot -phunter2 shop", f"mysql -uroot -p{X} shop"),
        ("docker login -u ada -p hunter2 r.example", f"docker login -u ada -p {X} r.example"),
        ("sshpass -p hunter2 ssh -p 2222 h", f"sshpass -p {X} ssh -p {X} h"),
        ("redis-cli -a hunter2 ping", f"redis-cli -a {X} ping"),
        ("a\n-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----\nb", f"a\n{X}\nb"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2", X),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2\n-----END PGP PRIVATE KEY BLOCK-----\n", f"{X}\n"),
    ],
)
def test_values_go_and_names_stay(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "registry.example/acme/web:1.4@sha256:" + "0f" * 32,
        "sha256:" + "ab" * 32,
        "6d1f2b8e-1111-4222-8333-444455556666",
        "mkdir -p /data/cache",
        "ssh -p 2222 host",
        "docker run -p 8080:80 nginx",
        "--token=$(TOKEN)",
        "--password=${PASSWORD}",
        "password: /run/secrets/db",
        "--password-file=/run/secrets/db",
        "--tls-private-key-file /a/b",
        "--secure-port=6443",
        "secretName: web-tls",
        "automountServiceAccountToken: false",
        "token: true",
        "password:",
        "the bearer of this",
        "http://npm.example:4873/@scope/pkg",
        "git@github.com:acme/web.git",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "[redacted]",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_arguments_of_a_list() -> None:
    arguments = ["app", "--password", "two words", "--token=a b", "-Ddb.password=x,y", "--verbose", "--api-key", "--x"]
    assert without_secret_arguments(arguments) == {
        2: REDACTED,
        3: f"--token={REDACTED}",
        4: f"-Ddb.password={REDACTED}",
    }
    assert without_secret_arguments(["curl", "-uada:hunter2", "--user=ada:hunter2", "-u", "ada"]) == {
        1: f"-uada:{REDACTED}",
        2: f"--user=ada:{REDACTED}",
    }
    assert without_secret_arguments(["mysql", "-phunter2", ";", "ssh", "-p22"]) == {1: f"-p{REDACTED}"}
    assert without_secret_arguments([1, None, {"a": "--password"}, "--token", 5, "x"]) == {}


def test_names() -> None:
    assert all(map(is_secret_field, ("password", "dbPassword", "x.example/api-token", "clientSecret", "db_pass")))
    assert not any(
        map(is_secret_field, ("secretName", "secret", "tokenPath", "compass", "publicKey", "existingSecret"))
    )
    assert all(map(is_secret_argument, ("--secret", "Authorization", "X-Api-Key", "AWS_SECRET_ACCESS_KEY")))
    assert not any(map(is_secret_argument, ("--secret-name", "bypass", "KEY", "--token-file")))


def test_a_long_line_is_searched_where_something_may_be() -> None:
    text = "lorem ipsum " * 20_000 + f"ghp_{A36}" + ' dolor "password": "' + "b " * 4000 + '"' + " sit" * 60_000
    made = without_secrets(text, Work(64 * 1024))
    assert A36 not in made
    assert "b b" not in made
    assert made.endswith(' "password": "[redacted]"' + " sit" * 60_000)


FINDING = {
    name: getattr(redactiontext, name) for name in ("_TOKEN", "_KEY", "_URL", "_QUERY", "_AUTHORIZATION", "_PAIR")
}

HOSTILE = {
    "pairs": "password=abcd ",
    "pairs without a blank": "password=",
    "references": "password=$",
    "quotes": 'password="',
    "escaped quotes": 'password=\\"',
    "tokens": f"ghp_{A36} ",
    "URLs": "://a:bb@",
    "URLs without an end": "://a:b",
    "JWTs": "-eyJaaaaaaaaaa",
    "keys": "-----BEGIN PRIVATE KEY-----",
    "headers": "authorization: x",
    "options": "--token -",
    "commands": "mysql -px ",
    "two parts": "SG.aaaaaaaaaaaaaaaaaaaa",
    "not ASCII": "pässword=tökén ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_long(name: str) -> None:
    """One megabyte of what an expression might go back and forth in; it ends, by the bound or by itself."""
    unit = HOSTILE[name]
    for size in (50_000, 1_000_000):
        text = unit * (size // len(unit))
        started = time.process_time()
        with contextlib.suppress(RedactionError):
            assert len(without_secrets(text, Work(256 * 1024))) <= 2 * len(text)
        assert time.process_time() - started < 2


def test_more_than_may_be_looked_at_is_an_error() -> None:
    with pytest.raises(RedactionError, match=r"limits\.suspectChars is 1000"):
        without_secrets("password=abcd " * 200, Work(1000))


def test_prose_about_secrets_is_no_suspect() -> None:
    """As descriptions in CustomResourceDefinitions have it by the hundred kilobytes."""
    prose = "Name of the Secret that holds the token or password to login with; a bearer of an API key. " * 10_000
    assert without_secrets(prose, Work(100)) == prose


def test_random_text_keeps_the_law() -> None:
    pieces = [
        *(
            "password",
            "token",
            "=",
            ": ",
            " ",
            '"',
            "\\",
            "'",
            "--",
            "-p",
            "mysql ",
            "curl -u ",
            "a:b",
            "://",
            "@",
            "\n",
        ),
        *(
            "$",
            "/",
            "[redacted]",
            "[",
            "]",
            "authorization",
            "bearer ",
            "hunter2",
            f"ghp_{A36}",
            "-----BEGIN PRIVATE KEY-----",
        ),
    ]
    chance = random.Random(7)
    for _ in range(3000):
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 9)))
        redacted(text)
        # What is looked for first fits wherever the expressions that find do.
        found = [name for name, pattern in FINDING.items() if any(map(pattern.search, text.splitlines()))]
        assert not found or suspect(text), (found, text)


def test_linear_expressions_say_what_is_wrong() -> None:
    assert linear("(a+)+$")("b" * 10 + "a" * 100_000 + "!") is False
    for expression, problem in {"(a": "unclosed", "(?=a)": "look-around", r"(a)\1": "backreferences"}.items():
        with pytest.raises(ValueError, match=problem):
            linear(expression)
    with pytest.raises(ValueError, match="size limit"):
        linear("a{1000}{1000}{100}")
