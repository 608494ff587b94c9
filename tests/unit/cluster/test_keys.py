"""Keys in Secrets, read by the real client from a server on loopback."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client import CoreV1Api

from fakes.cluster import serving_secrets
from portcullis.cluster.keys import SecretKeyRef, own_namespace, public_keys_of_cluster, read_public_keys
from portcullis.errors import ClusterError, ConfigError

pytestmark = pytest.mark.anyio

PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
PRIVATE = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJr\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
REF = SecretKeyRef("security", "cosign", "cosign.pub")


async def read(secrets: Mapping[str, Any], refs: Mapping[str, SecretKeyRef], **how: Any) -> Mapping[str, str]:
    async with serving_secrets(secrets, **how) as (client, _):
        return await read_public_keys(CoreV1Api(client), refs)


async def test_each_signer_has_its_key_and_each_secret_is_read_once() -> None:
    secrets = {"security/cosign": {"cosign.pub": PEM, "other.pub": PEM * 2, "cosign.key": PRIVATE}, "a/b": {"k": PEM}}
    refs = {"ci": REF, "release": SecretKeyRef("security", "cosign", "other.pub"), "b": SecretKeyRef("a", "b", "k")}
    async with serving_secrets(secrets) as (client, server):
        found = await read_public_keys(CoreV1Api(client), refs)
    assert found == {"ci": PEM, "release": PEM * 2, "b": PEM}
    assert server.asked == ["security/cosign", "a/b"]


async def test_no_signer_needs_no_cluster() -> None:
    assert await public_keys_of_cluster({}) == {}


async def test_outside_of_a_cluster() -> None:
    with pytest.raises(ClusterError, match="service account mounted"):
        await public_keys_of_cluster({"ci": REF})


def test_the_namespace_of_the_pod(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("portcullis-system\n")
    assert own_namespace(file) == "portcullis-system"
    with pytest.raises(ClusterError, match="without a namespace"):
        own_namespace(tmp_path / "none")


NAMED = "trust.signers.ci.key.secret: security/cosign"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, f"{NAMED}: there is no such Secret"),
        ({}, f"{NAMED} has no entry cosign.pub: it is empty"),
        ({"cosign.key": PRIVATE, "a": ""}, f"{NAMED} has no entry cosign.pub, only a, cosign.key"),
        ({"cosign.pub": PRIVATE}, f"{NAMED}, entry cosign.pub: it holds a private key; the gate needs the public one"),
        ({"cosign.pub": PEM + PRIVATE}, f"{NAMED}, entry cosign.pub: it holds a private key"),
        ({"cosign.pub": "MFkw"}, f"{NAMED}, entry cosign.pub: it holds no public key in PEM"),
        ({"cosign.pub": ""}, f"{NAMED}, entry cosign.pub: it holds no public key in PEM"),
        ({"cosign.pub": b"\x30\x59\xff"}, f"{NAMED}, entry cosign.pub: it is no PEM"),
        ({"cosign.pub": PEM + " " * 65_536}, f"{NAMED}, entry cosign.pub: it has more than 65536 bytes"),
    ],
)
async def test_what_the_operator_has_to_mend(data: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await read({} if data is None else {"security/cosign": data}, {"ci": REF})
    assert caught.value.message.startswith(sentence)


async def test_many_entries_are_not_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        await read({"security/cosign": {f"k{number:02}": "" for number in range(12)}}, {"ci": REF})
    assert caught.value.message.endswith("k08, k09, …")


async def test_a_missing_permission_is_told_with_the_rule_that_gives_it() -> None:
    with pytest.raises(ConfigError) as caught:
        await read({}, {"ci": REF}, status=403)
    assert caught.value.message == (
        f"{NAMED}: it may not be read; the gate's service account needs a Role in the namespace security with the rule "
        'apiGroups [""], resources [secrets], resourceNames [cosign], verbs [get]'
    )


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({"kind": "Status"}, 500, "the API server answered 500"),
        ({"kind": "Status"}, 401, "the API server answered 401"),
        ({"kind": "Pod", "data": {}}, 200, "answered no Secret"),
        ([], 200, "answered no Secret"),
        ({"kind": "Secret", "data": []}, 200, "answered no Secret"),
        ({"kind": "Secret", "data": "x"}, 200, "answered no Secret"),
        ("x" * (2 * 1024 * 1024), 200, "it has more than 2097152 bytes"),
        (b"{", 200, "cannot be read"),
    ],
)
async def test_what_is_the_clusters_fault(answer: Any, status: int, words: str) -> None:
    async with serving_secrets({}, status=status, answer=answer) as (client, _):
        with pytest.raises(ClusterError, match=words):
            await read_public_keys(CoreV1Api(client), {"ci": REF})


async def test_an_entry_that_is_no_base64() -> None:
    answer = {"kind": "Secret", "data": {"cosign.pub": "?"}}
    async with serving_secrets({}, answer=answer) as (client, _):
        with pytest.raises(ConfigError, match="it is no PEM"):
            await read_public_keys(CoreV1Api(client), {"ci": REF})


async def test_a_server_that_is_silent_is_given_up() -> None:
    async with serving_secrets({}, silent=True) as (client, _):
        with pytest.raises(ClusterError, match=r"no answer within 0\.05 s"):
            await read_public_keys(CoreV1Api(client), {"ci": REF}, seconds=0.05)


async def test_a_server_that_is_not_there() -> None:
    async with serving_secrets({}) as (client, server):
        await server.stop()
        with pytest.raises(ClusterError, match=NAMED):
            await read_public_keys(CoreV1Api(client), {"ci": REF})
