"""Docker config files, as docker's client, Kubernetes and people write them."""

import base64
import json

import pytest

from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Credential, IdentityToken, RegistryCredential, RegistryToken, Repository
from portcullis.registry.dockerconfig import DockerConfig, helper_server, parse_docker_config
from portcullis.registry.prefixes import Prefix, longest
from portcullis.registry.watched import Unusable


def auth(username: str = "ci", password: str = "s3cret") -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def parsed(document: object, limits: Limits = DEFAULT_LIMITS) -> DockerConfig:
    return parse_docker_config(json.dumps(document).encode(), limits)


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": auth()}, Credential("ci", "s3cret")),
        ({"auth": auth(), "email": "ci@example"}, Credential("ci", "s3cret")),
        ({"auth": auth("ci", "a:b")}, Credential("ci", "a:b")),
        ({"auth": auth("ci", "pä")}, Credential("ci", "pä")),
        ({"auth": auth("ci", "")}, Credential("ci", "")),
        ({"auth": auth("ci", "12\x00")}, Credential("ci", "12")),
        ({"auth": auth("ci", "1234").rstrip("=")}, Credential("ci", "1234")),
        ({"auth": f"{auth()[:4]}\n{auth()[4:]}\n"}, Credential("ci", "s3cret")),
        ({"username": "ci", "password": "s3cret"}, Credential("ci", "s3cret")),
        ({"username": "old", "password": "old", "auth": auth()}, Credential("ci", "s3cret")),
        ({"auth": auth(), "identitytoken": "refresh"}, IdentityToken("refresh")),
        ({"auth": auth(), "identitytoken": "refresh", "registrytoken": "access"}, RegistryToken("access")),
        ({}, None),
        ({"auth": ""}, None),
        ({"auth": None, "username": None}, None),
    ],
)
def test_entries(entry: object, login: RegistryCredential | None) -> None:
    config = parsed({"auths": {"registry.example": entry}})
    assert config.logins == (((Prefix.of("registry.example"), login),) if login else ())


@pytest.mark.parametrize(
    ("key", "repository"),
    [
        ("registry.example", "registry.example/web"),
        ("registry.example/acme", "registry.example/acme/web"),
        ("https://registry.example", "registry.example/web"),
        ("https://registry.example/", "registry.example/web"),
        ("http://registry.example/acme/", "registry.example/acme/web"),
        ("https://registry.example/v2/", "registry.example/web"),
        ("https://registry.example/v1/acme", "registry.example/acme/web"),
        ("registry.example:5000", "registry.example:5000/web"),
        ("https://index.docker.io/v1/", "docker.io/library/nginx"),
        ("index.docker.io", "docker.io/library/nginx"),
        ("registry-1.docker.io", "docker.io/library/nginx"),
        ("docker.io/acme", "docker.io/acme/web"),
        ("*.example", "registry.example/web"),
    ],
)
def test_keys_that_cover(key: str, repository: str) -> None:
    host, _, path = repository.partition("/")
    config = parsed({"auths": {key: {"auth": auth()}}})
    assert longest(config.logins, Repository(host, path)) == Credential("ci", "s3cret")


@pytest.mark.parametrize(
    ("key", "repository"),
    [
        ("registry.example/acme", "registry.example/acmeevil"),
        ("registry.example", "registry.example.attacker/web"),
        ("registry.example", "registry.example:5000/web"),
        ("ftp://registry.example", "registry.example/web"),
        ("https://ci@registry.example", "registry.example/web"),
        ("https://index.docker.io/v1/", "index.docker.io.attacker/library/nginx"),
        ("azurecr.io", "x.azurecr.io/web"),
        ("*.azurecr.io", "x.azurecr.io.attacker/web"),
        ("", "registry.example/web"),
        ("/", "registry.example/web"),
    ],
)
def test_keys_that_do_not(key: str, repository: str) -> None:
    host, _, path = repository.partition("/")
    config = parsed({"auths": {key: {"auth": auth()}}})
    assert longest(config.logins, Repository(host, path)) is None


def test_helpers_are_named_not_run() -> None:
    config = parsed(
        {
            "auths": {"registry.example": {}},
            "credHelpers": {"https://index.docker.io/v1/": "hub", "R.example": "r"},
            "credsStore": "desktop",
            "HttpHeaders": {"User-Agent": "x"},
        }
    )
    assert config.helpers == {Prefix.of("docker.io"): "hub", Prefix.of("r.example"): "r"}
    assert config.store == "desktop"
    assert config.names_helpers
    assert config.logins == ()
    assert not parsed({}).names_helpers


def test_what_helpers_call_a_registry() -> None:
    assert helper_server("docker.io") == "https://index.docker.io/v1/"
    assert helper_server("registry.example:5000") == "registry.example:5000"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"null", "it is no object"),
        (b"[]", "it is no object"),
        (b'{"auths": null, "credHelpers": null, "credsStore": null}', None),
        (b'{"auths": []}', "auths is no object"),
        (b'{"auths": ["a"]}', "auths is no object"),
        (b'{"auths": {"r": "x"}}', 'at "r" is no object'),
        (b'{"auths": {"r": {"auth": 7}}}', 'auth in at "r" is no text'),
        (b'{"auths": {"r": {"password": ["hunter2"]}}}', "password in"),
        (b'{"auths": {"r": {"auth": "hunter2*"}}}', "no base64"),
        (b'{"auths": {"r": {"auth": "aHVudGVyMg=="}}}', "without a colon"),
        (b'{"auths": {"r": {"auth": "/////w=="}}}', "no base64"),
        (b'{"auths": {"r": {"username": "a:b", "password": "hunter2"}}}', "colon"),
        (b'{"auths": {"r": {"registrytoken": "hunter2\\r\\nX-Evil: 1"}}}', "characters no token has"),
        (b'{"auths": {}, "auths": {}}', "twice"),
        (b'{"credHelpers": {"r": 1}}', "no text"),
        (b'{"credsStore": {}}', "no text"),
        (b'{"x":' + b"[" * 30 + b"]" * 30 + b"}", "too deep"),
        (b"\xff", "UTF-8"),
    ],
)
def test_what_is_no_docker_config(content: bytes, words: str | None) -> None:
    """The problem says where, and holds nothing of a password."""
    if words is None:
        assert parse_docker_config(content, DEFAULT_LIMITS) == DockerConfig()
        return
    with pytest.raises(Unusable, match=words) as caught:
        parse_docker_config(content, DEFAULT_LIMITS)
    assert "hunter2" not in caught.value.problem
    assert "aHVudGVyMg" not in caught.value.problem


def test_bounds() -> None:
    entries = {f"r{number}.example": {"auth": auth()} for number in range(3)}
    limits = Limits(docker_config_entries=3)
    assert len(parsed({"auths": entries}, limits).logins) == 3
    with pytest.raises(Unusable, match="limit dockerConfigEntries of 3"):
        parsed({"auths": entries, "credHelpers": {"x.example": "x"}}, limits)
    with pytest.raises(Unusable, match="limit dockerConfigBytes of 10"):
        parsed({"auths": {}, "x": 1}, Limits(docker_config_bytes=10))


def test_a_config_shows_no_secret() -> None:
    assert "s3cret" not in repr(parsed({"auths": {"r.example": {"auth": auth()}}}))
