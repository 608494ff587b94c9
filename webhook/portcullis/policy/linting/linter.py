"""Lints folders of policies: everything that can be said of them without running them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.ruling import Mode
from portcullis.policy.bundle import builtin_policies, policy_name
from portcullis.policy.linting.compiling import Checks
from portcullis.policy.linting.facts import Tests
from portcullis.policy.linting.finding import Finding, finding
from portcullis.policy.linting.flow import Enough, Flow, Rules, Spot
from portcullis.policy.linting.flow import Path as DataPath
from portcullis.policy.linting.ignores import REGAL, sift
from portcullis.policy.linting.negation import hoisted
from portcullis.policy.linting.parameters import foreign_parameters
from portcullis.policy.linting.places import Place, nearest
from portcullis.policy.linting.regal import regal_findings
from portcullis.policy.linting.sources import Parsed, find_files, needed, parse_files
from portcullis.policy.linting.upkeep import missing_fix, missing_metadata, missing_tests


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, in the order of the files. ``notes``: what was not looked at, and why."""

    findings: tuple[Finding, ...]
    texts: Mapping[str, str]
    policies: int
    files: int
    notes: tuple[str, ...] = ()


async def lint(
    folders: Sequence[Path], *, binary: Path, regal: Path | None, limits: Limits, memory_bytes: int
) -> Report:
    """Lints every Rego file in the folders. The library of Portcullis is known to them.

    Args:
        binary: OPA.
        regal: Regal; None leaves its findings out.
        memory_bytes: GOMEMLIMIT of OPA.

    Raises:
        ConfigError: a folder that cannot be read, or holds no Rego.
        EngineUnavailable, EngineMalformed: OPA or Regal is not there, or not as documented.
    """
    own = await asyncio.to_thread(find_files, folders, limits)
    if not own:
        raise ConfigError(f"there are no policies in {', '.join(map(str, folders))}")
    known = {file.place for file in own}
    shared = await asyncio.to_thread(find_files, [builtin_policies() / "lib"], limits, own=False)
    files = [*own, *needed(own, [file for file in shared if file.place not in known])]
    objects = [file for file in own if file.is_objects]
    everything, broken = await parse_files(binary, [file for file in files if not file.is_objects], limits)
    everything = _without_doubles(everything)
    # What was written for something else reads another input; of it is told whether the gate can load it.
    parsed = [one for one in everything if one.native]
    found = [*broken]
    checks = Checks(binary=binary, limits=limits, memory_bytes=memory_bytes)
    whole = not broken
    if whole:
        compiled = await checks.compile([one for one in everything if not one.file.is_test], objects)
        found.extend(compiled)
        whole = all(one.rule == "not-supported" for one in compiled)
    if whole:
        found.extend(await checks.tests(parsed))
    walk = await asyncio.to_thread(_Walk, parsed)
    found.extend(walk.findings())
    if whole:
        told = {(one.file, one.row) for one in found if one.rule == "unknown-input"}
        typed = await checks.types([one for one in parsed if not one.file.is_test])
        found.extend(one for one in typed if one.rule != "unknown-input" or (one.file, one.row) not in told)
    found.extend(await asyncio.to_thread(_read, parsed, walk))
    styled = [one.file for one in parsed if one.file.own]
    if regal is not None and styled and not broken:
        found.extend(await regal_findings(regal, folders, styled, limits))
    names = {file.path for file in own}
    mine = [one for one in found if one.file in names or not any(one.file == file.path for file in files)]
    unchecked = frozenset({REGAL} if regal is None or broken else ()) | (frozenset() if whole else _AFTER_COMPILING)
    kept = sift([one for one in everything if one.file.own], mine, unchecked)
    return Report(
        findings=tuple(sorted(set(kept), key=lambda one: one.order)),
        texts={file.path: file.text for file in own},
        policies=len(
            {one.package for one in parsed if one.file.own and not one.file.is_test and policy_name(one.package)}
        ),
        files=len(own),
        notes=tuple(walk.notes),
    )


_AFTER_COMPILING = frozenset({"type-error", "unknown-input", "compile-error", "policy-set", "builtin-not-allowed"})


def _without_doubles(parsed: Sequence[Parsed]) -> list[Parsed]:
    """Without those of the shared library whose package is among the linted ones: an author may bring another state of
    it."""
    own = {one.package for one in parsed if one.file.own}
    return [one for one in parsed if one.file.own or one.package not in own]


class _Walk:
    """What can be said of what flows from the input through the policies."""

    def __init__(self, parsed: Sequence[Parsed]) -> None:
        rules = Rules([one for one in parsed if not one.file.is_test])
        self.keys: dict[Spot, tuple[Place, str] | None] = {}
        self.inputs: set[Spot] = set()
        self.notes: list[str] = []
        self._bad: list[Finding] = []
        reached: set[DataPath] = set()
        packages = {one.package for one in parsed if policy_name(one.package) and not one.file.is_test}
        for package in sorted(packages):
            verdicts = [(*package, str(mode)) for mode in Mode]
            flow = self._follow(rules, verdicts, 1, f"policy {policy_name(package)} is")
            reached |= flow.reached
            self._bad.extend(_bad_tests(flow.tests))
        self._follow(rules, sorted(set(rules.paths()) - reached), 0, "the rules that no policy uses are")

    def findings(self) -> list[Finding]:
        return [*self._bad, *_unknown(self.keys)]

    def _follow(self, rules: Rules, paths: Sequence[DataPath], sense: int, what: str) -> Flow:
        flow = Flow(rules, self.keys)
        try:
            for path in paths:
                flow.rule(path, (), sense, False)
        except (Enough, RecursionError):
            self.notes.append(f"{what} too large to be followed to the end")
        self.inputs |= flow.inputs
        return flow


def _bad_tests(tests: Tests) -> Iterator[Finding]:
    for place, fact in tests.faults():
        yield finding(
            "three-states",
            place[:3],
            f"this holds for the bad value of {fact.name} only: where the fact is not known, the policy lets it pass",
            f"name the good value in a helper rule (`{fact.good}`) and negate that helper",
        )


def _unknown(keys: Mapping[Spot, tuple[Place, str] | None]) -> Iterator[Finding]:
    for spot, missing in keys.items():
        if missing is None:
            continue
        place, name = missing
        near = nearest(place, name)
        hint = f"did you mean {near}?" if near else f"there is: {', '.join(place.names)}" if place.names else ""
        yield finding("unknown-input", spot[:3], f"the policy input has no {place.path}.{name}", hint)


def _read(parsed: Sequence[Parsed], walk: _Walk) -> list[Finding]:
    """What can be said of each file by itself, and of policies with their tests."""
    code = [one for one in parsed if one.file.own and not one.file.is_test]
    tests = [one for one in parsed if one.file.own and one.file.is_test]
    policies: dict[str, list[Parsed]] = {}
    for one in code:
        if name := policy_name(one.package):
            policies.setdefault(name, []).append(one)
    return [
        *(found for one in code for found in (*hoisted(one, walk.inputs), *foreign_parameters(one), *missing_fix(one))),
        *missing_metadata(policies),
        *missing_tests(policies, tests),
    ]
