"""OPA bundles: read within bounds, and their signatures proven by OPA itself.

1. The archive is read here, in memory: gzip and tar within bounds, nothing but plain files and folders under clean
   names. Nothing is ever unpacked to where its names say.
2. What was read is packed anew and given to ``opa build`` with the operator's key. OPA's definition of a signature
   covers the parsed form of JSON and YAML files, with rules of its own, so nobody but OPA can be relied on to compare
   it; and since OPA sees our archive of what we have read, there is no second reader to be deceived.
3. Of a bundle only Rego is taken. One that brings data of its own is refused: its policies would miss it.

Source: https://www.openpolicyagent.org/docs/management-bundles/ (file format, signing).
"""

import asyncio
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.process import run_opa
from portcullis.text import clean

SIGNATURES: Final = ".signatures.json"
BUNDLE_RATIO: Final = 100
"""Text packs to a tenth; what packs better than to a hundredth is a bomb."""
RATIO_FROM_BYTES: Final = 1024 * 1024
"""Below, the ratio is nobody's trouble."""
_NAME_CHARS: Final = 300
_PIECE: Final = 64 * 1024
_OUTPUT_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verification:
    """How the signature of a bundle is proven; the words are OPA's.

    Args:
        key: PEM of the public key; for HS256 and its kin the shared secret.
        key_id: that the signature must name; "" for OPA's default.
        scope: that it must have been made for; "" for none.
    """

    key: str
    algorithm: str = "RS256"
    key_id: str = ""
    scope: str = ""


def read_archive(content: bytes, name: str, limits: Limits) -> Mapping[str, bytes]:
    """The files of a bundle by their path.

    Args:
        content: of the ``.tar.gz``.
        name: of the bundle, for messages.
        limits: ``policy_source_bytes`` bounds all files together, ``policy_source_files`` their number.

    Raises:
        PolicyCompileError: it is no such archive, crosses a limit, or holds what is neither file nor folder.
    """
    try:
        archive = tarfile.open(fileobj=io.BytesIO(_inflated(content, name, limits)), mode="r:")  # noqa: SIM115
        return _files(archive, name, limits)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise _fault(name, f"no tar archive packed with gzip: {clean(str(error), 200)}") from error


def rego_of(files: Mapping[str, bytes], name: str) -> Mapping[str, bytes]:
    """The Rego of a bundle, tests included.

    Raises:
        PolicyCompileError: it brings data, or something compiled.
    """
    kept: dict[str, bytes] = {}
    for path, content in files.items():
        last = PurePosixPath(path).name
        if last.endswith(".rego"):
            kept[path] = content
        elif last in ("data.json", "data.yaml", "data.yml") and content.strip() not in (b"", b"{}", b"null"):
            message = "a bundle's data is not loaded, and its policies would miss it; use policies.parameters"
            raise _fault(f"{name}/{path}", message)
        elif last.endswith(".wasm") or last == "plan.json":
            raise _fault(f"{name}/{path}", "only Rego is loaded, nothing compiled")
    if not kept:
        raise _fault(name, "the bundle holds no Rego")
    return kept


async def verify(
    files: Mapping[str, bytes], verification: Verification, name: str, *, binary: Path, limits: Limits
) -> None:
    """Returns if OPA finds the files signed as they are, all of them and no others.

    Raises:
        PolicyCompileError: they are not.
        EngineError: OPA is not there, or takes too long.
    """
    if SIGNATURES not in files:
        raise _fault(name, "the bundle is not signed: it has no .signatures.json")
    with tempfile.TemporaryDirectory(prefix="portcullis-bundle-") as folder:
        archive, key = Path(folder, "bundle.tar.gz"), Path(folder, "key")
        await asyncio.to_thread(_lay_out, files, verification.key, archive, key)
        arguments = [
            *("build", "--bundle", str(archive), "--output", os.devnull),
            *("--verification-key", str(key), "--signing-alg", verification.algorithm),
            *(("--verification-key-id", verification.key_id) if verification.key_id else ()),
            *(("--scope", verification.scope) if verification.scope else ()),
        ]
        done = await run_opa(binary, arguments, seconds=limits.compile_seconds, output_bytes=_OUTPUT_BYTES)
    if done.code != 0:
        said = clean((done.stderr or done.stdout).decode("utf-8", "replace").replace(str(archive), name), 300)
        raise _fault(name, f"the signature does not hold: {said}")


def _lay_out(files: Mapping[str, bytes], pem: str, archive: Path, key: Path) -> None:
    archive.write_bytes(packed(files))
    key.touch(mode=0o600)
    key.write_text(pem, encoding="utf-8")


def packed(files: Mapping[str, bytes]) -> bytes:
    """A ``.tar.gz`` of the files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=1) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def _inflated(content: bytes, name: str, limits: Limits) -> bytes:
    """Of one gzip member, as OPA's own tools write; what comes behind it is no part of a bundle."""
    # Headers of tar come on top of the files: 512 bytes each, twice where a name is long.
    limit = limits.policy_source_bytes + 2048 * limits.policy_source_files + 10_240
    inflater = zlib.decompressobj(wbits=31)
    made = bytearray()
    rest = content
    while rest and not inflater.eof:
        made += inflater.decompress(rest, _PIECE)
        rest = inflater.unconsumed_tail
        if len(made) > limit:
            raise _fault(name, f"unpacked it exceeds the limit policySourceBytes ({limits.policy_source_bytes})")
        if len(made) > RATIO_FROM_BYTES and len(made) > BUNDLE_RATIO * len(content):
            raise _fault(name, f"it unpacks to more than {BUNDLE_RATIO} times its size")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("it ends too early" if not inflater.eof else "something comes after its end")
    return bytes(made)


def _files(archive: tarfile.TarFile, name: str, limits: Limits) -> Mapping[str, bytes]:
    files: dict[str, bytes] = {}
    total = entries = 0
    for member in archive:
        entries += 1
        if entries > limits.policy_source_files:
            raise _fault(name, f"more entries than the limit policySourceFiles allows ({limits.policy_source_files})")
        if member.isdir():
            continue
        path = _clean_path(member.name)
        shown = f"{name}/{clean(member.name, _NAME_CHARS)}"
        if not path:
            raise _fault(shown, "its name leads out of the bundle, or is no name")
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise _fault(shown, "it is no plain file")
        if path in files:
            raise _fault(shown, "it is there twice")
        total += member.size
        if total > limits.policy_source_bytes:
            raise _fault(shown, f"the files exceed the limit policySourceBytes ({limits.policy_source_bytes})")
        stream = archive.extractfile(member)
        content = stream.read() if stream is not None else b""
        if len(content) != member.size:
            raise ValueError("a file is cut off")
        files[path] = content
    return files


def _clean_path(text: str) -> str:
    """``a/b`` for ``./a/b`` and ``/a/b``, as OPA reads it; "" where it is no path within the bundle."""
    words = [word for word in text.split("/") if word not in ("", ".")]
    if not words or ".." in words or len(text) > _NAME_CHARS or any(not _plain(word) for word in words):
        return ""
    return "/".join(words)


def _plain(word: str) -> bool:
    return word.isprintable() and "\\" not in word and len(word.encode()) <= 255


def _fault(file: str, message: str) -> PolicyCompileError:
    return PolicyCompileError((CompileProblem(clean(file, _NAME_CHARS), 0, 0, message),))
