"""What a policy is made of: its source and that of its libraries out of the log, its tests and README from the files
that come with Portcullis. Read once for each set of policies."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from portcullis.errors import PolicyCompileError, PortcullisError
from portcullis.limits import Limits
from portcullis.model.ruling import Constraint, Mode, PolicyBundle, PolicyInfo, PolicySource
from portcullis.policy.bundle import BUILTIN, builtin_policies, policy_name
from portcullis.policy.pages.gathering import files_of
from portcullis.policy.pages.model import Files, PolicyPage, policy_page
from portcullis.policy.pages.readme import Readme
from portcullis.policy.plain import plain
from portcullis.policy.profiles import load_profile, profile_names
from portcullis.policy.reading import read_text
from portcullis.ports import Bundles
from portcullis.server.compose import read_bundle
from portcullis.standing import Standing

_PACKAGE: Final = re.compile(r"^package[ \t]+(?P<name>[A-Za-z_][\w.]*)", re.MULTILINE)
_REFERENCE: Final = re.compile(r"\bdata\.(?P<name>[A-Za-z_][\w.]*)")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class File:
    """One Rego file, named as messages name it."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class PolicyParts:
    """One policy.

    ``page`` is what the generated pages say of it. ``constraint`` is the constraint that it is, as JSON, "" for Rego.
    ``libraries`` are what its source refers to, directly or not.
    """

    page: PolicyPage
    sources: tuple[File, ...]
    libraries: tuple[File, ...]
    tests: tuple[File, ...]
    constraint: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """The policies of one set by name. ``problem`` says why their sources are not there, "" where they are."""

    revision: str
    parts: Mapping[str, PolicyParts]
    problem: str


class Shelves:
    """Gives the shelf of what stands, made when it is first asked for and kept while that set stands."""

    def __init__(self, bundles: Bundles, limits: Limits, builtin: Callable[[], Path] = builtin_policies) -> None:
        self._bundles = bundles
        self._limits = limits
        self._builtin = builtin
        self._shelf: Shelf | None = None
        self._making = asyncio.Lock()

    async def of(self, standing: Standing) -> Shelf:
        """Raises:
        RecordsError: the log does not answer.
        """
        revision = standing.compiled.revision
        async with self._making:
            if self._shelf is None or self._shelf.revision != revision or self._shelf.problem:
                content = await self._bundles.get(revision)
                policies = standing.compiled.policies
                self._shelf = await asyncio.to_thread(
                    _shelf, revision, policies, content, self._builtin(), self._limits
                )
            return self._shelf


def _shelf(
    revision: str, policies: Sequence[PolicyInfo], content: bytes | None, builtin: Path, limits: Limits
) -> Shelf:
    bundle, problem = _bundle(revision, content)
    files = _files(builtin, limits)
    profiles = _profiles(builtin)
    sources = _Sources(bundle)
    parts = {info.name: _parts(info, sources, files, profiles, limits) for info in policies}
    return Shelf(revision, {name: made for name, made in parts.items() if made is not None}, problem)


def _bundle(revision: str, content: bytes | None) -> tuple[PolicyBundle, str]:
    nothing = PolicyBundle((), {}, revision)
    if content is None:
        return nothing, "The log has not got this set of policies yet; it is stored as soon as the log answers."
    try:
        return read_bundle(revision, content), ""
    except PortcullisError as error:
        return nothing, error.message


def _files(builtin: Path, limits: Limits) -> Mapping[str, Files]:
    """Of the policies that come with Portcullis; without them the pages have less to show."""
    try:
        return files_of([builtin], limits)
    except PolicyCompileError as error:
        log.warning("the files of the built-in policies cannot be read", problem=error.message)
        return {}


def _profiles(builtin: Path) -> Mapping[str, Mapping[str, Mode]]:
    try:
        return {name: load_profile(builtin, name).modes for name in profile_names(builtin)}
    except (PortcullisError, OSError) as error:
        log.warning("the profiles of the built-in policies cannot be read", problem=str(error))
        return {}


def _parts(
    info: PolicyInfo,
    sources: "_Sources",
    files: Mapping[str, Files],
    profiles: Mapping[str, Mapping[str, Mode]],
    limits: Limits,
) -> PolicyParts | None:
    own = sources.of(info.name)
    # A policy of one's own may have the name of a built-in one that is left out, whose README is not its.
    beside = files.get(info.name, Files()) if any(one.path.startswith(f"{BUILTIN}/") for one in own) else Files()
    try:
        page = policy_page(info, beside, profiles if beside.folder is not None else {})
    except PolicyCompileError:  # its name is none that a file can have; it has one row in the list all the same
        page = PolicyPage(info, info.title, (), info.category, False, (), Readme(), None, (), ())
    return PolicyParts(
        page=page,
        sources=tuple(File(one.path, one.text) for one in own),
        libraries=tuple(File(one.path, one.text) for one in sources.libraries_of(own)),
        tests=tuple(_tests(beside, limits)),
        constraint=sources.constraint_of(info.name),
    )


def _tests(files: Files, limits: Limits) -> Iterator[File]:
    for path in files.tests:
        shown = f"{BUILTIN}/{path.parent.name}/{path.name}"
        try:
            yield File(shown, read_text(path, shown, limits))
        except PolicyCompileError as error:
            log.warning("a test of a policy cannot be read", path=shown, problem=error.message)


class _Sources:
    """The files of a bundle by package, and its constraints by policy."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self._by_package: dict[str, list[PolicySource]] = {}
        self._by_unit: dict[str, list[PolicySource]] = {}
        self._constraints: dict[str, Constraint] = {one.name: one for one in bundle.constraints}
        self._parameters = bundle.parameters
        for source in bundle.sources:
            if source.unit:
                self._by_unit.setdefault(source.unit, []).append(source)
            elif found := _PACKAGE.search(source.text):
                self._by_package.setdefault(found["name"], []).append(source)
        self._packages = {
            policy_name(package.split(".")) or package.replace(".", "-"): package for package in self._by_package
        }

    def of(self, policy: str) -> Sequence[PolicySource]:
        if constraint := self._constraints.get(policy):
            return self._by_unit.get(constraint.unit, ())
        return self._by_package.get(self._packages.get(policy, ""), ())

    def constraint_of(self, policy: str) -> str:
        constraint = self._constraints.get(policy)
        if constraint is None:
            return ""
        shown = {
            "kind": constraint.kind,
            "enforcementAction": constraint.mode,
            "match": constraint.match,
            "parameters": self._parameters.get(policy, {}),
        }
        return json.dumps(shown, indent=2, default=plain)

    def libraries_of(self, sources: Sequence[PolicySource]) -> Sequence[PolicySource]:
        """What is reached by references to ``data``, but no other policy."""
        found: dict[str, Sequence[PolicySource]] = {}
        waiting = [*sources]
        while waiting:
            for reference in _REFERENCE.finditer(waiting.pop().text):
                package = self._package_in(reference["name"])
                if package and package not in found and not policy_name(package.split(".")):
                    found[package] = [one for one in self._by_package[package] if one not in sources]
                    waiting += found[package]
        return [one for package in sorted(found) for one in found[package]]

    def _package_in(self, reference: str) -> str:
        """The package that a reference leads into, "" for none."""
        name = reference.rstrip(".")
        while name:
            if name in self._by_package:
                return name
            name = name.rpartition(".")[0]
        return ""
