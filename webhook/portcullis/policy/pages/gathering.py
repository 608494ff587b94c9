"""Reads what the pages are made of: compiles the policies, and reads the files beside them."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.ruling import Mode, PolicyBundle, PolicyInfo
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.policy.compiler import Compiler
from portcullis.policy.pages.model import Files, Library, SourceFile, policy_page
from portcullis.policy.pages.readme import Readme, read_readme
from portcullis.policy.profiles import load_profile, profile_names
from portcullis.policy.reading import read_text, walk
from portcullis.policy.workspace import Workspace

README = "README.md"
TESTS = "_test.rego"

_PACKAGE = re.compile(r"^package[ \t]+portcullis\.policies\.(?P<name>\w+)[ \t]*(?:#.*)?$", re.MULTILINE)


async def gather(folders: Sequence[Path], *, binary: Path, memory_bytes: int, limits: Limits) -> Library:
    """The pages of the policies in the folders. The built-in policies are compiled too, for the sake of their library,
    and have pages only where their folder is named.

    Args:
        folders: of which the first one's README is the text around the list, unless it is the folder of one policy.

    Raises:
        ConfigError: a profile cannot be read.
        PolicyCompileError: a folder cannot be read, a policy does not compile, a file exceeds its limit.
        EngineUnavailable, EngineMalformed: OPA is not there, or not as documented.
    """
    builtin = builtin_policies().resolve()
    wanted = tuple(dict.fromkeys(folder.resolve() for folder in folders))
    every = wanted if builtin in wanted else (builtin, *wanted)
    found = await asyncio.to_thread(files_of, wanted, limits)
    bundle, on_request = await asyncio.to_thread(_bundle, every, limits)
    profiles = await asyncio.to_thread(_profiles, every)
    infos = await _compiled(bundle, binary=binary, memory_bytes=memory_bytes, limits=limits)
    others = await asyncio.to_thread(lambda: set() if builtin in wanted else set(_named(builtin, limits)))
    pages = [
        policy_page(info, found.get(info.name, Files()), profiles, on_request=info.name in on_request)
        for info in infos
        if info.name not in others
    ]
    around = all(files.folder != wanted[0] for files in found.values())
    readme = await asyncio.to_thread(_readme, wanted[0], limits) if around else Readme()
    return Library(readme, wanted[0], tuple(sorted(pages, key=lambda page: page.name)))


def _bundle(folders: Sequence[Path], limits: Limits) -> tuple[PolicyBundle, frozenset[str]]:
    """All policies, and the names of those that count on request only: naming them in the parameters asks for them."""
    names: dict[str, JSONObject] = {name: {} for folder in folders for name in _named(folder, limits)}
    every = load_bundle(folders, parameters=names, enabled=None, limits=limits)
    unasked = set(load_bundle(folders, parameters={}, enabled=None, limits=limits).sources)
    return every, frozenset(
        name for source in every.sources if source not in unasked for name in _policies(source.text)
    )


def _named(folder: Path, limits: Limits) -> Iterator[str]:
    for path in _rego(folder, limits):
        if not path.name.endswith(TESTS):
            yield from _policies(read_text(path, str(path), limits))


def _policies(text: str) -> Iterator[str]:
    """The name of the policy whose source it is, if it is one."""
    if package := _PACKAGE.search(text):
        yield package["name"].replace("_", "-")


def _rego(folder: Path, limits: Limits) -> Sequence[Path]:
    return [path for path in walk(folder, str(folder), limits) if path.suffix == ".rego"]


def files_of(folders: Sequence[Path], limits: Limits) -> Mapping[str, Files]:
    """Source, tests and README of each policy, by its name.

    Raises:
        PolicyCompileError: a folder cannot be read, a file exceeds its limit.
    """
    by_folder: dict[Path, list[Path]] = {}
    for folder in folders:
        for path in _rego(folder, limits):
            by_folder.setdefault(path.parent, []).append(path)
    found: dict[str, Files] = {}
    for folder, paths in by_folder.items():
        sources: dict[str, list[SourceFile]] = {}
        for path in paths:
            text = "" if path.name.endswith(TESTS) else read_text(path, str(path), limits)
            for name in _policies(text):
                sources.setdefault(name, []).append(SourceFile(path, text))
        for name, own in sources.items():
            alone = len(sources) == 1
            found[name] = Files(
                readme=_readme(folder, limits) if alone else Readme(),
                folder=folder if alone else None,
                sources=tuple(own),
                tests=tuple(path for path in paths if path.name.endswith(TESTS)) if alone else _tests(own, paths),
            )
    return found


def _tests(sources: Sequence[SourceFile], paths: Sequence[Path]) -> tuple[Path, ...]:
    """Where several policies lie in one folder: the tests that are named after a file of the policy."""
    names = {f"{source.path.stem}{TESTS}" for source in sources}
    return tuple(path for path in paths if path.name in names)


def _readme(folder: Path, limits: Limits) -> Readme:
    path = folder / README
    return read_readme(read_text(path, str(path), limits)) if path.is_file() else Readme()


def _profiles(folders: Sequence[Path]) -> Mapping[str, Mapping[str, Mode]]:
    """The mode of each policy in each profile of the folders."""
    return {name: load_profile(folder, name).modes for folder in folders for name in profile_names(folder)}


async def _compiled(bundle: PolicyBundle, *, binary: Path, memory_bytes: int, limits: Limits) -> Sequence[PolicyInfo]:
    workspace = await asyncio.to_thread(Workspace)
    try:
        compiler = Compiler(binary=binary, limits=limits, memory_bytes=memory_bytes)
        compiled, _ = await compiler.compile(bundle, workspace.path)
    finally:
        workspace.remove()
    return compiled.policies
