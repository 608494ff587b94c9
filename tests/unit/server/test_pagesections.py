"""``audit.pages`` of portcullis.yaml: nothing opens the log beyond loopback by leaving something out."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from portcullis.errors import ClusterError, ConfigError
from portcullis.limits import Limits
from portcullis.server.clock import SystemClock
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.accessopening import access_to_pages
from portcullis.server.settings import Settings, load_settings

TOKENS: dict[str, Any] = {"tokens": {}}
PROXY: dict[str, Any] = {"proxy": {"secretFile": "secret"}}
OPEN = {"address": "0.0.0.0", "allowedHosts": ["audit.example.com"]}


def load(folder: Path, pages: Any, **others: Any) -> Settings:
    file = folder / "portcullis.yaml"
    file.write_text(yaml.safe_dump({"audit": {"pages": pages}, **others}))
    return load_settings(file, {})


@pytest.mark.parametrize(
    "pages",
    [
        {},
        {"address": "::1"},
        {"address": "127.0.0.2"},
        {"address": "localhost"},
        {**OPEN, "enabled": False},
        {**OPEN, **TOKENS, "tls": {"webhook": True}},
        {**OPEN, **TOKENS, "tls": {"certFile": "a", "keyFile": "b"}},
        {**OPEN, **PROXY, "insecure": True},
        {**OPEN, **PROXY, **TOKENS, "insecure": True},
        {**TOKENS, "allowedHosts": ["a", "a.b:1", "[::1]:8082", "[fe80::1]"]},
    ],
)
def test_what_is_closed_is_taken(pages: dict[str, Any], tmp_path: Path) -> None:
    assert load(tmp_path, pages).audit.pages.port == 8082


NO_READERS = "nothing says who may read: proxy (an authenticating proxy) or tokens (a login with a Kubernetes token)"
SLIPS: list[tuple[dict[str, Any], str]] = [
    (OPEN, NO_READERS),
    ({**OPEN, "address": "10.0.0.1"}, NO_READERS),
    ({**OPEN, "address": "::"}, NO_READERS),
    ({**OPEN, "address": ""}, NO_READERS),
    ({**OPEN, "address": "audit.example.com"}, NO_READERS),
    ({**OPEN, "address": "localhost.example.com"}, NO_READERS),
    ({**OPEN, "insecure": True}, NO_READERS),
    ({**OPEN, "tls": {"webhook": True}}, NO_READERS),
    ({**OPEN, **TOKENS}, "tls is needed (certFile and keyFile, or webhook: true for the webhook's certificate)"),
    ({**OPEN, **PROXY}, "tls is needed"),
    ({**TOKENS, "address": "0.0.0.0", "insecure": True}, "allowedHosts is needed beyond loopback"),
    ({"tls": {}}, "audit.pages.tls: either webhook: true, or certFile and keyFile"),
    ({"tls": {"webhook": True, "certFile": "a", "keyFile": "b"}}, "either webhook: true, or certFile and keyFile"),
    ({"tls": {"certFile": "a"}}, "certFile and keyFile go together"),
    ({"allowedHosts": ["*"]}, "audit.pages.allowedHosts.0: a host in lower case is expected"),
    ({"allowedHosts": ["*.example.com"]}, "a host in lower case is expected"),
    ({"allowedHosts": ["https://a"]}, "a host in lower case is expected"),
    ({"allowedHosts": ["A.example.com"]}, "a host in lower case is expected"),
    ({"allowedHosts": ["a b"]}, "a host in lower case is expected"),
    ({"allowedHosts": [""]}, "a host in lower case is expected"),
    ({"proxy": {}}, "audit.pages.proxy.secretFile: is required"),
    ({"proxy": {"secretFile": "s", "userHeader": "Cookie"}}, "that HTTP does not use itself"),
    ({"proxy": {"secretFile": "s", "userHeader": "X User"}}, "letters, digits and dashes"),
    ({"proxy": {"secretFile": "s", "userHeader": "X-A", "groupsHeader": "x-a"}}, "must differ"),
    ({"proxy": {"secretFile": "s", "readers": "everybody"}}, "audit.pages.proxy.readers"),
    ({"tokens": {"sessionHours": 0}}, "audit.pages.tokens.sessionHours"),
    ({"tokens": {"sessionHours": 25}}, "audit.pages.tokens.sessionHours"),
    ({"tokens": {"audience": "x"}}, "there is no such key"),
    ({"port": 65_536}, "audit.pages.port"),
    ({"proxys": {}}, "did you mean proxy?"),
]


@pytest.mark.parametrize(("pages", "words"), SLIPS)
def test_what_would_open_the_log_is_an_error(pages: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, pages)
    assert words in caught.value.message
    assert "audit.pages" in caught.value.message


@pytest.mark.anyio
@pytest.mark.parametrize("cluster", [{}, {"webhook": {"name": "portcullis"}}])
@pytest.mark.parametrize("pages", [TOKENS, {"proxy": {"secretFile": "s"}}])
async def test_readers_are_reviewed_in_a_cluster_only(
    pages: dict[str, Any], cluster: dict[str, Any], tmp_path: Path
) -> None:
    settings = load(tmp_path, pages, cluster=cluster)
    with pytest.raises(ConfigError, match=r"needs cluster\.webhook.*cluster\.watch\.namespaces"):
        async with access_to_pages(settings, namespaces=None, clock=SystemClock(), limits=Limits()):
            pass


@pytest.mark.anyio
async def test_outside_of_a_pod_nobody_can_be_asked(tmp_path: Path) -> None:
    settings = load(tmp_path, TOKENS, cluster={"webhook": {"name": "portcullis"}})
    with pytest.raises(ClusterError, match="service account mounted"):
        async with access_to_pages(settings, namespaces=tuple, clock=SystemClock(), limits=Limits()):
            pass


@pytest.mark.anyio
async def test_where_nobody_is_reviewed_there_need_be_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret-of-the-proxy")
    for pages in ({}, {"proxy": {"secretFile": "secret", "readers": "all"}}):
        settings = load(tmp_path, pages)
        async with access_to_pages(settings, namespaces=None, clock=SystemClock(), limits=Limits()) as access:
            assert (access.rights, access.login) == (None, None)


def test_the_defaults_are_loopback() -> None:
    section = PagesSection()
    assert (section.enabled, section.on_loopback, section.reviewed) == (True, True, False)
