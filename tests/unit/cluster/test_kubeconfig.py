"""Which API server a command asks: kubeconfigs as people have them, and what is said of those that cannot be used."""

import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from portcullis.cluster import client
from portcullis.cluster.client import Configured, configured
from portcullis.errors import ClusterError

pytestmark = pytest.mark.anyio


def kubeconfig(
    folder: Path, name: str = "config", *, user: Any = None, context: Any = None, current: str = "one"
) -> Path:
    """A kubeconfig with the contexts one and two."""
    tree = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}.example:8080"}}],
        "users": [{"name": name, "user": user if user is not None else {"token": f"token-{name}"}}],
        "contexts": [
            {"name": "one", "context": {"cluster": name, "user": name, **(context or {})}},
            {"name": "two", "context": {"cluster": name, "user": name, "namespace": "second"}},
        ],
    }
    path = folder / name
    path.write_text(yaml.safe_dump(tree))
    return path


def login(folder: Path, text: str) -> Mapping[str, Any]:
    """A user whose credential a program gives."""
    program = folder / "login"
    program.write_text(f"#!{sys.executable}\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}}


async def token_of(found: Configured) -> str | None:
    return await found.configuration.get_api_key_with_prefix("BearerToken")


@pytest.mark.parametrize(
    ("context", "within", "namespace", "where"),
    [
        ("", {}, "default", "context one of "),
        ("", {"namespace": "shop"}, "shop", "context one of "),
        ("two", {}, "second", "context two of "),
    ],
)
async def test_a_context_is_chosen(
    tmp_path: Path, context: str, within: Mapping[str, str], namespace: str, where: str
) -> None:
    path = kubeconfig(tmp_path, context=within)
    found = await configured(kubeconfig=path, context=context, environ={})
    assert (found.configuration.host, await token_of(found)) == ("http://config.example:8080", "Bearer token-config")
    assert (found.namespace, found.where) == (namespace, f"{where}{path}")


async def test_the_flag_comes_before_the_variable_and_that_before_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    kubeconfig(home / ".kube", "config")
    first, second = kubeconfig(tmp_path, "first"), kubeconfig(tmp_path, "second")
    named = {"HOME": str(home), "KUBECONFIG": f"{tmp_path / 'missing'}:{second}"}
    hosts = [
        (await configured(kubeconfig=path, environ=environ)).configuration.host
        for path, environ in [(first, named), (None, named), (None, {"HOME": str(home), "KUBECONFIG": ""})]
    ]
    assert hosts == ["http://first.example:8080", "http://second.example:8080", "http://config.example:8080"]


async def test_several_files_are_one(tmp_path: Path) -> None:
    first, second = kubeconfig(tmp_path, "first"), kubeconfig(tmp_path, "second", current="two")
    found = await configured(environ={"KUBECONFIG": f"{first}:{second}"})
    assert (found.configuration.host, found.namespace) == ("http://first.example:8080", "second")


async def test_a_login_program_is_asked_again_when_its_token_ends(tmp_path: Path) -> None:
    program = """
import json, pathlib
count = pathlib.Path(__file__).with_suffix(".count")
asked = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(asked))
until = "2026-01-01T00:00:00Z" if asked < 3 else "2999-01-01T00:00:00Z"
status = {"token": f"token-{asked}", "expirationTimestamp": until}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""
    path = kubeconfig(tmp_path, user=login(tmp_path, program))
    found = await configured(kubeconfig=path, environ={})
    tokens = [await token_of(found) for _ in range(3)]
    assert tokens == ["Bearer token-2", "Bearer token-3", "Bearer token-3"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "while parsing a flow node"),
        ("words", "it is no kubeconfig that can be understood"),
        ("{}", "Invalid kube-config file"),
        ("clusters: 7", "it is no kubeconfig that can be understood"),
        ("current-context: none\ncontexts: [{name: one}]", "Expected object with name none in"),
        ("#" * (client.KUBECONFIG_BYTES + 1), f"it has more than {client.KUBECONFIG_BYTES} bytes"),
    ],
)
async def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ClusterError) as caught:
        await configured(kubeconfig=path, environ={})
    assert caught.value.message.startswith(f"the kubeconfig {path} cannot be used: ")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys\nsys.exit('log in first')", "exec: process returned 1. b'log in first'"),
        ("print('{}')", "exec: malformed response. missing key 'apiVersion'"),
    ],
)
async def test_a_login_program_that_gives_nothing(
    tmp_path: Path, program: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = kubeconfig(tmp_path, user=login(tmp_path, program))
    with pytest.raises(ClusterError) as caught:
        await configured(kubeconfig=path, environ={})
    assert caught.value.message == f"the kubeconfig {path} gives no credential: {words}"
    assert not caplog.records, "it is said once"


@pytest.mark.parametrize(
    ("environ", "context", "words"),
    [
        ({"KUBECONFIG": "/nowhere/config"}, "", "no file that KUBECONFIG names exists: /nowhere/config"),
        ({"HOME": "/nowhere"}, "one", "there is no kubeconfig that could have the context one"),
        (
            {"HOME": "/nowhere"},
            "",
            "there is no kubeconfig (--kubeconfig, KUBECONFIG, ~/.kube/config), and the command",
        ),
    ],
)
async def test_no_cluster(environ: Mapping[str, str], context: str, words: str) -> None:
    with pytest.raises(ClusterError) as caught:
        await configured(context=context, environ=environ)
    assert words in caught.value.message


async def test_certificates_that_are_none_are_found_at_once(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user={"client-certificate-data": "bm9uZQ==", "client-key-data": "bm9uZQ=="})
    path.write_text(path.read_text().replace("http:", "https:"))
    with pytest.raises(ClusterError, match="cannot be used"):
        await configured(kubeconfig=path, environ={})
