"""A compiled policy set made ready for an OPA that others use as well.

Gates of two versions share it during a rolling upgrade, so each set lives under a root of its own: what was ``data.x``
is ``data.portcullis_<16 hex digits of the revision>.x`` there, ``data.portcullis`` and the objects of the cluster
(``data.inventory``) alike. The moved set is proven before anything of it leaves this process:

1. Each source is moved in its text (relocate.py).
2. ``opa check`` with the allowed builtins accepts the moved set. OPA's Policy API takes no capabilities, so this is
   what keeps ``http.send`` out of a remote OPA; the binary is needed here for it.
3. An OPA of ours compiles both sets, and the compiled form of the moved one is that of the other but for the move.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from portcullis.errors import CompileProblem, EngineMalformed, PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.process import OpaServer, run_opa
from portcullis.policy.relocate import ImmovableError, Move, relocate, tree_below
from portcullis.policy.sourcenames import SourceNames, read_names
from portcullis.text import clean

ROOT = "portcullis"
INVENTORY = "inventory"

PARSED_AT_ONCE = 2
"""Processes of ``opa parse``; one takes some 20 ms of a processor."""

_REVISION = re.compile(r"sha256:([0-9a-f]{16})[0-9a-f]{48}")


@dataclass(frozen=True, slots=True)
class Publication:
    """What is put into the other OPA: ``modules`` in an order in which OPA takes them one by one (a module may call
    only functions that are there), ``data`` by its path below the root's ``portcullis``."""

    revision: str
    root: str
    modules: tuple[str, ...]
    data: Mapping[str, Any]


def root_of(revision: str) -> str:
    """The root of that set, made of hex digits: it becomes part of paths.

    Raises:
        EngineMalformed: no revision of ours.
    """
    found = _REVISION.fullmatch(revision)
    if found is None:
        raise EngineMalformed("the policy set has no revision by which it can be kept apart from others")
    return f"{ROOT}_{found[1]}"


async def prepare(folder: Path, workspace: Path, revision: str, *, binary: Path, limits: Limits) -> Publication:
    """The publication of the bundle in ``folder``, which the compiler made.

    Args:
        workspace: holds the capabilities file of the compiler, and has room for the moved set.

    Raises:
        PolicyCompileError: a source that cannot be moved, or that OPA does not accept after it.
        EngineUnavailable, EngineMalformed: OPA is not there or not as documented.
    """
    root = root_of(revision)
    names = await asyncio.to_thread(read_names, workspace)
    folder = await _as_version_1(folder, workspace / "plain", binary, limits, names)
    texts = await asyncio.to_thread(_read, folder)
    trees = await _parsed(folder, list(texts), binary, limits)
    target = workspace / "moved"
    sources = await asyncio.to_thread(_write, target, texts, trees, root, folder, names)
    await _check(target, workspace / "capabilities.json", binary, limits, names)
    before = await _compiled(folder, workspace / "before.sock", binary, limits)
    after = await _compiled(target, workspace / "after.sock", binary, limits)
    await asyncio.to_thread(_compare, before, after, root, names)
    content = json.loads((folder / "data.json").read_text("utf-8"))
    order = await asyncio.to_thread(_in_order, after)
    return Publication(revision, root, tuple(sources[name] for name in order), content[ROOT])


async def _as_version_1(folder: Path, target: Path, binary: Path, limits: Limits, names: SourceNames) -> Path:
    """A copy of the bundle in which sources of Rego v0 are written as ``opa fmt`` writes them for v1: the Policy API
    reads one version for all, and v1 is what an OPA reads by itself."""
    manifest = json.loads(await asyncio.to_thread((folder / ".manifest").read_text, "utf-8"))
    versions = manifest.pop("file_rego_versions", {})
    older = [name.lstrip("/") for name, version in versions.items() if version == 0]
    if not older:
        return folder
    await asyncio.to_thread(shutil.copytree, folder, target)
    await asyncio.to_thread((target / ".manifest").write_text, json.dumps(manifest), "utf-8")
    for name in older:
        done = await run_opa(
            binary,
            ("fmt", "--v0-v1", str(folder / name)),
            seconds=limits.compile_seconds,
            output_bytes=limits.policy_tree_bytes,
        )
        if done.code != 0:
            said = clean((done.stderr or done.stdout).decode("utf-8", "replace"), 300)
            message = f"Rego v0 that cannot be written as v1, which another OPA reads: {names.spelt_out(said, folder)}"
            raise PolicyCompileError((CompileProblem(names.path(name), 0, 0, message),))
        await asyncio.to_thread((target / name).write_bytes, done.stdout)
    return target


def _read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.rego"))}


async def _parsed(folder: Path, names: Sequence[str], binary: Path, limits: Limits) -> dict[str, Any]:
    room = asyncio.Semaphore(PARSED_AT_ONCE)

    async def parse(name: str) -> tuple[str, Any]:
        async with room:
            done = await run_opa(
                binary,
                ("parse", "--format", "json", "--json-include", "locations", str(folder / name)),
                seconds=limits.compile_seconds,
                output_bytes=limits.policy_tree_bytes,
            )
        if done.code != 0:
            raise EngineMalformed(f"`opa parse` ended with status {done.code}")
        return name, await asyncio.to_thread(_tree, done.stdout)

    return dict(await asyncio.gather(*(parse(name) for name in names)))


def _tree(output: bytes) -> Any:
    try:
        return msgspec.json.decode(output)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise EngineMalformed("`opa parse` wrote something else than a tree") from error


def _write(
    target: Path, texts: Mapping[str, str], trees: Mapping[str, Any], root: str, folder: Path, names: SourceNames
) -> dict[str, str]:
    """Writes the moved set; its sources by file name."""
    target.mkdir(mode=0o700)
    sources: dict[str, str] = {}
    for name, text in texts.items():
        try:
            sources[name] = relocate(text, trees[name], Move(root, root), kept=()).text
        except (ImmovableError, RecursionError) as error:
            row, column = (error.row, error.column) if isinstance(error, ImmovableError) else (0, 0)
            message = f"cannot be published to another OPA: {clean(str(error), 300)}"
            raise PolicyCompileError((names.problem(name, row, column, message),)) from error
        (target / name).write_text(sources[name], "utf-8")
    manifest = json.loads((folder / ".manifest").read_text("utf-8"))
    (target / ".manifest").write_text(json.dumps({**manifest, "roots": [root]}), "utf-8")
    return sources


async def _check(target: Path, capabilities: Path, binary: Path, limits: Limits, names: SourceNames) -> None:
    done = await run_opa(
        binary,
        ("check", "--capabilities", str(capabilities), "--bundle", str(target)),
        seconds=limits.compile_seconds,
        output_bytes=limits.policy_tree_bytes,
    )
    if done.code != 0:
        said = clean(names.spelt_out((done.stderr or done.stdout).decode("utf-8", "replace"), target), 500)
        raise EngineMalformed(f"the policies cannot be published to another OPA: {said}")


async def _compiled(folder: Path, socket: Path, binary: Path, limits: Limits) -> dict[str, Any]:
    """The compiled form by file name, from a server that is stopped again."""
    server = OpaServer(binary=binary, bundle=folder, socket=socket, memory_bytes=0)
    await server.start(limits.compile_seconds)
    try:
        async with asyncio.timeout(limits.compile_seconds):
            listed = await server.client.modules(limits.policy_tree_bytes)
    except TimeoutError as error:
        raise EngineMalformed("OPA did not hand out the compiled policies in time") from error
    finally:
        await server.stop()
    return {str(item["id"]).rpartition("/")[2]: item["ast"] for item in listed}


def _compare(before: Mapping[str, Any], after: Mapping[str, Any], root: str, names: SourceNames) -> None:
    """Raises EngineMalformed where the move changed anything else."""
    if before.keys() != after.keys():
        raise EngineMalformed("OPA did not load all of the policies that are to be published")
    for name, tree in before.items():
        try:
            same = _sorted(tree_below(tree, root)) == _sorted(tree_below(after[name], ""))
        except RecursionError as error:
            raise EngineMalformed(f"{names.path(name)} cannot be compared with its moved form: {error}") from error
        if not same:
            raise EngineMalformed(f"{names.path(name)} would mean something else in another OPA")


def _sorted(node: Any) -> Any:
    """Sets and objects in one order: OPA sorts them by what they hold, and a moved reference sorts elsewhere."""
    if isinstance(node, list):
        return [_sorted(one) for one in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _sorted(value) for key, value in node.items()}
    if node.get("type") in ("set", "object"):
        plain["value"] = sorted(plain["value"], key=lambda one: json.dumps(one, sort_keys=True))
    return plain


def _in_order(trees: Mapping[str, Any]) -> list[str]:
    """File names, those first that others refer to. Where packages refer to each other in a circle, somewhere in it."""
    packages: dict[tuple[str, ...], list[str]] = {}
    for name, tree in sorted(trees.items()):
        packages.setdefault(_constant(tree["package"]["path"]), []).append(name)
    order: dict[str, None] = {}
    begun: set[tuple[str, ...]] = set()

    def put(package: tuple[str, ...]) -> None:
        if package in begun:
            return
        begun.add(package)
        for name in packages[package]:
            for path in _paths(trees[name].get("rules") or ()):
                for end in range(1, len(path)):
                    if path[:end] in packages:
                        put(path[:end])
        order.update(dict.fromkeys(packages[package]))

    for package in packages:
        put(package)
    return list(order)


def _paths(node: Any) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    stack = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            if here.get("type") == "ref" and here["value"][0].get("value") == "data":
                found.add(_constant(here["value"]))
            stack.extend(here.values())
        elif isinstance(here, list | tuple):
            stack.extend(here)
    return found


def _constant(reference: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    path: list[str] = []
    for part in reference[1:]:
        if part["type"] != "string":
            break
        path.append(str(part["value"]))
    return tuple(path)
