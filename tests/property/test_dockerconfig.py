"""Any bytes are a docker config or an error that says so; what was written is read."""

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Credential, Repository
from portcullis.registry.dockerconfig import parse_docker_config
from portcullis.registry.prefixes import longest
from portcullis.registry.watched import Unusable

_TEXTS = st.text(max_size=20)
_SCALARS = st.none() | st.booleans() | st.integers() | _TEXTS
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=10
)
_KEYS = st.sampled_from(["auth", "username", "password", "identitytoken", "registrytoken", "email"])
_ENTRIES = st.dictionaries(_KEYS, _SCALARS, max_size=4) | _JSON
_CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "auths": st.dictionaries(_TEXTS, _ENTRIES, max_size=4) | _JSON,
        "credHelpers": st.dictionaries(_TEXTS, _SCALARS, max_size=3) | _JSON,
        "credsStore": _SCALARS,
    },
)


@given(st.binary(max_size=200) | _JSON.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        parse_docker_config(content, DEFAULT_LIMITS)
    except Unusable:
        return


@given(_CONFIGS)
def test_any_shape_is_read_or_refused(config: dict[str, object]) -> None:
    try:
        found = parse_docker_config(json.dumps(config).encode(), DEFAULT_LIMITS)
    except Unusable:
        return
    for _, login in found.logins:
        assert not isinstance(login, Credential) or ":" not in login.username


_SEGMENTS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4)
_HOSTS = st.sampled_from(["r.example", "r.example:5000", "s.example", "docker.io"])
_PLACES = st.tuples(_HOSTS, _SEGMENTS)


@given(st.lists(_PLACES, min_size=1, max_size=8, unique_by=lambda place: (place[0], tuple(place[1]))), _PLACES)
def test_the_longest_whole_prefix_is_found(keys: list[tuple[str, list[str]]], asked: tuple[str, list[str]]) -> None:
    """Against the plain definition: of all keys whose host is that one and whose segments begin the path."""
    auths = {
        "/".join([host, *path]): {"auth": base64.b64encode(f"{host}:{'/'.join(path)}".encode()).decode()}
        if ":" not in host
        else {"username": "port", "password": "/".join(path)}
        for host, path in keys
    }
    logins = parse_docker_config(json.dumps({"auths": auths}).encode(), DEFAULT_LIMITS).logins
    host, path = asked
    fitting = [key for at, key in keys if at == host and path[: len(key)] == key]
    found = longest(logins, Repository(host, "/".join(path)))
    if not fitting:
        assert found is None
    else:
        assert isinstance(found, Credential)
        deepest: list[str] = max(fitting, key=len)
        assert found.password == "/".join(deepest)
