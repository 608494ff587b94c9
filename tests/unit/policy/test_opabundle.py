"""OPA bundles: archives of every bad kind, signatures made by the real ``opa sign``, and a server that fails."""

import gzip
import io
import ssl
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from portcullis.errors import PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.policy.bundlesource import BundleOrigin, BundleSource
from portcullis.policy.opabundle import Verification, packed, read_archive, rego_of, verify

pytestmark = pytest.mark.anyio

REGO = b'package portcullis.policies.team\nimport rego.v1\ndeny contains "x" if   not input.team\n'
FILES = {"team/policy.rego": REGO, ".manifest": b'{"roots":["portcullis/policies/team"],"revision":"r1"}'}


def archive(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, **fields: Any) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            for field, value in fields.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_what_opa_writes_is_read() -> None:
    assert read_archive(packed(FILES), "b", DEFAULT_LIMITS) == FILES
    assert read_archive(archive(("./a.rego", b"1"), ("/b/c.rego", b"2")), "b", DEFAULT_LIMITS) == {
        "a.rego": b"1",
        "b/c.rego": b"2",
    }


WRONG: dict[str, tuple[bytes, str]] = {
    "no gzip": (b"hello", "no tar archive"),
    "nothing": (b"", "no tar archive"),
    "gzip of no tar": (gzip.compress(b"x" * 2000), "no tar archive"),
    "cut off": (packed(FILES)[:-40], "no tar archive"),
    "cut off inside": (gzip.compress(gzip.decompress(packed(FILES))[:700]), "no tar archive"),
    "more behind": (packed(FILES) + b"tail", "after its end"),
    "two members": (packed(FILES) + packed(FILES), "after its end"),
    "leads out": (archive(("../a.rego", b"")), "leads out"),
    "leads out inside": (archive(("a/../../b.rego", b"")), "leads out"),
    "control": (archive(("a\nb.rego", b"")), "no name"),
    "backslash": (archive(("a\\b.rego", b"")), "no name"),
    "twice": (archive(("a.rego", b"1"), ("./a.rego", b"2")), "there twice"),
    "link": (archive(("a.rego", b""), kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "no plain file"),
    "hard link": (archive(("a.rego", b""), kind=tarfile.LNKTYPE, linkname="b.rego"), "no plain file"),
    "device": (archive(("a.rego", b""), kind=tarfile.CHRTYPE), "no plain file"),
    "bomb": (gzip.compress(b"\0" * 30_000_000), "100 times"),
}


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_a_bad_archive_is_refused_by_name(content: bytes, said: str) -> None:
    with pytest.raises(PolicyCompileError, match=said) as caught:
        read_archive(content, "central", DEFAULT_LIMITS)
    assert caught.value.message.startswith("central")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(policy_source_files=2), "policySourceFiles"),
        (Limits(policy_source_bytes=250), "policySourceBytes"),
        (Limits(policy_source_bytes=100, policy_source_files=3), "policySourceBytes"),
    ],
)
def test_over_a_limit(limits: Limits, said: str) -> None:
    with pytest.raises(PolicyCompileError, match=said):
        read_archive(archive(*((f"{name}.rego", b"x" * 100) for name in "abc")), "b", limits)


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("data.json", b'{"a": 1}', "data is not loaded"),
        ("x/data.yaml", b"a: 1", "data is not loaded"),
        ("policy.wasm", b"\0asm", "nothing compiled"),
        ("plan.json", b"{}", "nothing compiled"),
    ],
)
def test_what_would_be_missed_is_refused(path: str, content: bytes, said: str) -> None:
    with pytest.raises(PolicyCompileError, match=said):
        rego_of({**FILES, path: content}, "b")
    assert rego_of({**FILES, "data.json": b"{}"}, "b") == {"team/policy.rego": REGO}
    with pytest.raises(PolicyCompileError, match="no Rego"):
        rego_of({path: b"{}" if path.startswith("data") else b"" for path in ("data.json", "x.txt")}, "b")


def pem(key: Any) -> tuple[str, str]:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


RSA = pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
EC = pem(ec.generate_private_key(ec.SECP256R1()))
OTHER = pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def signed(
    opa: Path, folder: Path, key: str, algorithm: str = "RS256", files: dict[str, bytes] = FILES, **claims: str
) -> dict[str, bytes]:
    """The files with the signature that ``opa sign`` makes."""
    for path, content in files.items():
        (folder / "b" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "b" / path).write_bytes(content)
    (folder / "key").write_text(key)
    (folder / "claims").write_text(
        '{"iss":"test"' + "".join(f',"{name}":"{text}"' for name, text in claims.items()) + "}"
    )
    command = [opa, "sign", "--signing-key", "../key", "--signing-alg", algorithm, "--claims-file", "../claims"]
    subprocess.run([*command, "--bundle", "."], cwd=folder / "b", check=True)
    return {**files, ".signatures.json": (folder / "b" / ".signatures.json").read_bytes()}


@pytest.mark.parametrize(
    ("key", "algorithm", "public"), [(RSA[0], "RS256", RSA[1]), (EC[0], "ES256", EC[1]), ("secret", "HS256", "secret")]
)
async def test_a_signature_of_each_kind(
    opa_binary: Path, tmp_path: Path, key: str, algorithm: str, public: str
) -> None:
    files = signed(opa_binary, tmp_path, key, algorithm)
    await verify(files, Verification(public, algorithm), "b", binary=opa_binary, limits=DEFAULT_LIMITS)


TAMPERED: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "changed": lambda files: {**files, "team/policy.rego": REGO + b"# x\n"},
    "added": lambda files: {**files, "more.rego": b"package a\n"},
    "removed": lambda files: {path: content for path, content in files.items() if path != "team/policy.rego"},
    "renamed": lambda files: {path.replace("team/", "other/"): content for path, content in files.items()},
    "manifest": lambda files: {**files, ".manifest": b'{"roots":[""]}'},
    "unsigned": lambda files: {path: content for path, content in files.items() if path != ".signatures.json"},
    "no signature": lambda files: {**files, ".signatures.json": b'{"signatures":[]}'},
    "no json": lambda files: {**files, ".signatures.json": b"x"},
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
async def test_any_change_is_found(opa_binary: Path, tmp_path: Path, tamper: Any) -> None:
    files = tamper(signed(opa_binary, tmp_path, RSA[0]))
    with pytest.raises(
        PolicyCompileError, match=r"central: the (signature does not hold|bundle is not signed)"
    ) as caught:
        await verify(files, Verification(RSA[1]), "central", binary=opa_binary, limits=DEFAULT_LIMITS)
    assert "/tmp" not in caught.value.message


@pytest.mark.parametrize(
    "verification",
    [
        Verification(OTHER[1]),
        Verification(EC[1], "ES256"),
        Verification(RSA[1], "HS256"),
        Verification(RSA[1], scope="write"),
        Verification("no key"),
    ],
)
async def test_another_key_algorithm_or_scope(opa_binary: Path, tmp_path: Path, verification: Verification) -> None:
    files = signed(opa_binary, tmp_path, RSA[0], scope="read")
    await verify(files, Verification(RSA[1], scope="read"), "b", binary=opa_binary, limits=DEFAULT_LIMITS)
    with pytest.raises(PolicyCompileError):
        await verify(files, verification, "b", binary=opa_binary, limits=DEFAULT_LIMITS)


@asynccontextmanager
async def served(answer: Callable[[web.Request], Any], tls: Any = None) -> AsyncIterator[str]:
    async def get(request: web.Request) -> web.StreamResponse:
        found = answer(request)
        return found if isinstance(found, web.StreamResponse) else web.Response(body=found)

    app = web.Application()
    app.router.add_get("/bundle.tar.gz", get)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    try:
        yield f"http{'s' if tls else ''}://localhost:{port}/bundle.tar.gz"
    finally:
        await runner.cleanup()


async def test_the_last_good_one_stays_whatever_comes(opa_binary: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    good = packed(signed(opa_binary, tmp_path, RSA[0]))
    answers: list[Any] = [web.Response(body=good, headers={"ETag": '"1"'}), web.Response(status=304)]
    answers += [
        web.Response(status=503),
        packed(FILES),
        b"x" * 70_000,
        web.Response(status=302, headers={"Location": "/elsewhere"}),
    ]
    answers += [web.Response(body=good)]
    asked: list[dict[str, str]] = []

    def answer(request: web.Request) -> Any:
        asked.append(dict(request.headers))
        return answers.pop(0)

    async with served(answer) as url:
        origin = BundleOrigin("central", url, token_file=tmp_path / "token", verification=Verification(RSA[1]))
        limits = replace(DEFAULT_LIMITS, policy_source_bytes=60_000)
        source = BundleSource(origin, binary=opa_binary, limits=limits)
        assert "secret" not in repr(source.origin)
        assert await source.refresh()
        assert source.files == {"team/policy.rego": REGO}
        for said in ("", "503", "not signed", "policySourceBytes", "redirects", ""):
            assert not await source.refresh()
            assert said in source.problem
            assert bool(said) == bool(source.problem)
            assert source.files == {"team/policy.rego": REGO}
        assert source.failures == 4
    assert asked[0]["Authorization"] == "Bearer secret"
    assert "If-None-Match" not in asked[0]
    assert asked[1]["If-None-Match"] == '"1"'
    assert not await source.refresh()
    assert "cannot be fetched" in source.problem


async def test_a_server_with_an_authority_of_its_own(opa_binary: Path, tmp_path: Path) -> None:
    authority = trustme.CA()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with served(lambda _: packed(FILES), tls) as url:
        stranger = BundleSource(BundleOrigin("b", url), binary=opa_binary, limits=DEFAULT_LIMITS)
        assert not await stranger.refresh()
        assert "certificate" in stranger.problem
        origin = BundleOrigin("b", url, ca_file=tmp_path / "ca.pem")
        assert await BundleSource(origin, binary=opa_binary, limits=DEFAULT_LIMITS).refresh()
