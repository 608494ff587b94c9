"""Policies that were written for something else than Portcullis, made ready to be compiled.

Each file is read by OPA's parser, in the version of Rego that it is written in, and moved to a place of its own below
``data.portcullis`` (relocate.py):

* a ConstraintTemplate of Gatekeeper to ``gatekeeper[kind]``, its libraries to ``gatekeeper_lib[kind]``; each constraint
  of it is a policy;
* all others to ``foreign``; each package with ``deny``, ``warn`` or ``violation`` (or ``deny_x`` …) is a policy, the
  other packages are what these use.

What such a policy is given and what is made of its results stands in one more module for each, its bridge (bridges.py).
A policy from elsewhere reads the request, and perhaps the labels of its namespace (a constraint with a
namespaceSelector, a template that names the review's namespace) or the inventory (``data.inventory``); never facts
about images, of which it does not know.
"""

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.model.ruling import Constraint, Mode, Need, Origin, PolicyBundle, PolicySource, Rego
from portcullis.policy.bundle import ADMISSION, policy_name
from portcullis.policy.relocate import ImmovableError, Move, Moved, nodes_of, relocate
from portcullis.policy.syntax import Path
from portcullis.text import clean

AT_ONCE = 2
"""Files that are parsed at the same time: one OPA each, which takes a tenth of a second."""

KNOWN_FILES = 2000
"""Files of which the result is kept."""

FOREIGN: Path = ("portcullis", "foreign")
VIOLATION = "violation"
_VERDICT = re.compile(r"(deny|warn|violation)(_[A-Za-z0-9_]+)?")
_NAMESPACE_FIELDS = frozenset({"_unstable", "namespaceObject"})
_EXTERNAL_DATA = "external_data"
_EXCEPTION = "exception"
"""The rule by which conftest is told of exceptions: who writes the policy does not decide on them here."""

Tree = Mapping[str, Any]
Parse = Callable[[int, PolicySource, Rego], Awaitable[Tree | tuple[CompileProblem, ...]]]
"""The tree of the source with that number, or what is wrong with it in this version of Rego."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One file. ``package`` is where it was moved to."""

    source: PolicySource
    moved: Moved
    rego: Rego
    package: Path
    verdicts: tuple[str, ...]
    reads_inventory: bool
    reads_namespace: bool
    uses_others: bool
    has_exceptions: bool


@dataclass(frozen=True, slots=True)
class ForeignPolicy:
    """``package`` is where its rules are, ``verdicts`` are their names."""

    name: str
    origin: Origin
    package: Path
    verdicts: tuple[str, ...]
    files: tuple[Prepared, ...]
    needs: frozenset[Need]
    reads_namespace: bool = False
    constraint: Constraint | None = None
    unsupported: str = ""

    @property
    def rego(self) -> Rego:
        return Rego.V0 if any(file.rego is Rego.V0 for file in self.files) else Rego.V1

    @property
    def rules(self) -> tuple[Mode, ...]:
        if self.origin is Origin.GATEKEEPER:
            return (Mode.DENY,)
        found = {mode_of(verdict) for verdict in self.verdicts}
        return tuple(mode for mode in Mode if mode in found)


@dataclass(frozen=True, slots=True)
class Foreign:
    """All of a set. ``files`` by the number of the source; those of templates that are not supported are missing."""

    files: Mapping[int, Prepared]
    policies: tuple[ForeignPolicy, ...]
    remarks: tuple[CompileProblem, ...]


def mode_of(verdict: str) -> Mode:
    """Which rule of ours a rule of this name becomes: ``warn`` and ``warn_x`` warn, all others deny."""
    return Mode.WARN if verdict.partition("_")[0] == Mode.WARN else Mode.DENY


class Known:
    """What was made of files before: parsing takes a process for each, and a new set differs from the last in few."""

    def __init__(self) -> None:
        self._made: OrderedDict[PolicySource, Prepared | None] = OrderedDict()

    async def of(self, number: int, source: PolicySource, parse: Parse) -> Prepared | None:
        """See :func:`_made`."""
        if source not in self._made:
            self._made[source] = await _made(number, source, parse)
        self._made.move_to_end(source)
        if len(self._made) > KNOWN_FILES:
            self._made.popitem(last=False)
        return self._made[source]


async def prepare(bundle: PolicyBundle, parse: Parse, known: Known) -> Foreign:
    """Reads and moves the files of the set that come from elsewhere.

    Raises:
        PolicyCompileError: with file, row and column; a file that cannot be moved, too, and two policies of one name.
        EngineError: as ``parse``.
    """
    numbers = [number for number, source in enumerate(bundle.sources) if source.origin is not Origin.NATIVE]
    gate = asyncio.Semaphore(AT_ONCE)

    async def make(number: int) -> Prepared | None:
        async with gate:
            return await known.of(number, bundle.sources[number], parse)

    outcomes = await asyncio.gather(*(make(number) for number in numbers), return_exceptions=True)
    files: dict[int, Prepared] = {}
    reasons: dict[str, str] = {}
    problems: list[CompileProblem] = []
    for number, outcome in zip(numbers, outcomes, strict=True):
        unit = bundle.sources[number].unit
        if isinstance(outcome, PolicyCompileError):
            problems.extend(outcome.problems)
        elif isinstance(outcome, BaseException):
            raise outcome
        elif outcome is None:
            reasons[unit] = f"the ConstraintTemplate {unit} calls external_data, which is not supported"
        else:
            files[number] = outcome
    files = {number: file for number, file in files.items() if file.source.unit not in reasons}
    policies = [*_constraints(bundle, files, reasons), *_packages(bundle, files)]
    problems.extend(_same_names(bundle, policies))
    if problems:
        raise PolicyCompileError(tuple(problems))
    remarks = [
        _at(source, 0, 0, reasons[source.unit])
        for source in bundle.sources
        if source.unit in reasons and not source.library
    ]
    for policy in policies:
        for file in policy.files if policy.origin is not Origin.GATEKEEPER else ():
            if file.has_exceptions:
                message = f"{policy.name}: the rule exception is not used; exceptions stand in the configuration"
                remarks.append(_at(file.source, 0, 0, message))
    return Foreign(files, tuple(policies), tuple(remarks))


async def _made(number: int, source: PolicySource, parse: Parse) -> Prepared | None:
    """The file made ready; None for one of a template that calls external_data. Raises PolicyCompileError."""
    tree, rego = await _read(number, source, parse)
    if source.origin is Origin.GATEKEEPER and _calls(tree, _EXTERNAL_DATA):
        return None
    try:
        return _prepared(source, tree, rego)
    except ImmovableError as error:
        raise PolicyCompileError((_at(source, error.row, error.column, error.problem),)) from None


async def _read(number: int, source: PolicySource, parse: Parse) -> tuple[Tree, Rego]:
    """The tree, and the version in which it can be read: Rego 1 where that can be, since it says more of what is
    meant; for templates, Rego 0 first, since Gatekeeper takes them for that where they do not say otherwise."""
    versions = {None: (Rego.V1, Rego.V0), Rego.V0: (Rego.V0, Rego.V1), Rego.V1: (Rego.V1,)}[source.rego]
    wrong: list[tuple[CompileProblem, ...]] = []
    for version in versions:
        outcome = await parse(number, source, version)
        if not isinstance(outcome, tuple):
            return outcome, version
        wrong.append(outcome)
    # The version that it is written in is the one in which the parser comes further.
    raise PolicyCompileError(max(wrong, key=lambda problems: (problems[0].row, problems[0].column)))


def _prepared(source: PolicySource, tree: Tree, rego: Rego) -> Prepared:
    for rule in tree.get("rules") or ():
        head, place = rule["head"], rule["location"]
        name = str(head["ref"][0]["value"])
        if _VERDICT.fullmatch(name) and ("key" not in head or "value" in head or len(head["ref"]) > 1):
            message = f"{name} must be a set, such as `{name}[msg]` or `{name} contains msg`"
            raise ImmovableError(message, int(place["row"]), int(place["col"]))
    move = move_of(source)
    moved = relocate(source.text, tree, move)
    own = tuple(str(part["value"]) for part in tree["package"]["path"][1:])
    place = _path_of(move.package)
    names = {str(rule["head"]["ref"][0]["value"]) for rule in tree.get("rules") or ()}
    paths = list(_data_paths(tree))
    texts = {node.get("value") for node in nodes_of(tree) if node.get("type") == "string"}
    return Prepared(
        source=source,
        moved=moved,
        rego=rego,
        package=(*place, *own),
        verdicts=tuple(sorted(name for name in names if _VERDICT.fullmatch(name))),
        reads_inventory="inventory" in paths,
        reads_namespace=not _NAMESPACE_FIELDS.isdisjoint(texts),
        uses_others=any(first != "inventory" for first in paths),
        has_exceptions=_EXCEPTION in names,
    )


def move_of(source: PolicySource) -> Move:
    """Where the file goes."""
    if source.origin is not Origin.GATEKEEPER:
        return Move(".".join(FOREIGN), ".".join(FOREIGN))
    kind = json.dumps(source.unit)
    libraries = f"portcullis.gatekeeper_lib[{kind}]"
    return Move(libraries if source.library else f"portcullis.gatekeeper[{kind}]", libraries)


def _path_of(place: str) -> Path:
    """``("portcullis", "gatekeeper", "K8sLabels")`` of ``portcullis.gatekeeper["K8sLabels"]``."""
    return tuple(re.findall(r"[A-Za-z0-9_-]+", place))


def _constraints(
    bundle: PolicyBundle, files: Mapping[int, Prepared], reasons: Mapping[str, str]
) -> Iterator[ForeignPolicy]:
    units: dict[str, list[Prepared]] = {}
    for file in files.values():
        if file.source.origin is Origin.GATEKEEPER:
            units.setdefault(file.source.unit, []).append(file)
    for constraint in bundle.constraints:
        own = units.get(constraint.unit, [])
        main = next((file for file in own if not file.source.library), None)
        unsupported = constraint.unsupported or reasons.get(constraint.unit, "")
        reads_namespace = any(file.reads_namespace for file in own)
        needs = {Need.REQUEST}
        if reads_namespace or "namespaceSelector" in constraint.match:
            needs.add(Need.NAMESPACE)
        if not unsupported and any(file.reads_inventory for file in own):
            needs.add(Need.INVENTORY)
        yield ForeignPolicy(
            name=constraint.name,
            origin=Origin.GATEKEEPER,
            package=main.package if main is not None else (),
            verdicts=(VIOLATION,),
            files=tuple(own),
            needs=frozenset(needs),
            reads_namespace=reads_namespace,
            constraint=constraint,
            unsupported=unsupported,
        )


def _packages(bundle: PolicyBundle, files: Mapping[int, Prepared]) -> Iterator[ForeignPolicy]:
    packages: dict[Path, list[Prepared]] = {}
    others = [file for file in files.values() if file.source.origin is not Origin.GATEKEEPER]
    for file in others:
        packages.setdefault(file.package, []).append(file)
    for package, own in packages.items():
        verdicts = sorted({verdict for file in own for verdict in file.verdicts})
        name = "-".join(package[len(FOREIGN) :])
        if not verdicts or name in bundle.left_out:
            continue
        read = others if any(file.uses_others for file in own) else own
        needs = {Need.REQUEST, *(Need.INVENTORY for file in read if file.reads_inventory)}
        is_admission = package == (*FOREIGN, *ADMISSION)
        yield ForeignPolicy(
            name=name,
            origin=Origin.ADMISSION if is_admission else Origin.CONFTEST,
            package=package,
            verdicts=tuple(verdicts),
            files=tuple(own),
            needs=frozenset(needs),
        )


def _same_names(bundle: PolicyBundle, policies: Sequence[ForeignPolicy]) -> Iterator[CompileProblem]:
    taken = {
        policy_name(package)
        for source in bundle.sources
        if source.origin is Origin.NATIVE and (package := _native_package(source.text))
    }
    for policy in policies:
        if policy.name in taken:
            source = policy.files[0].source if policy.files else None
            where = source or PolicySource(policy.constraint.path if policy.constraint else policy.name, "")
            yield _at(where, 1, 1, f"there is another policy named {clean(policy.name, 100)}")
        taken.add(policy.name)


def _native_package(text: str) -> tuple[str, ...]:
    found = re.search(r"^package[ \t]+(portcullis\.policies\.[A-Za-z0-9_]+)", text, re.MULTILINE)
    return tuple(found[1].split(".")) if found else ()


def _calls(tree: Tree, name: str) -> bool:
    return any(
        node.get("type") == "ref" and node["value"][0] | {"location": None} == {"location": None, **_variable(name)}
        for node in nodes_of(tree)
        if isinstance(node.get("value"), list)
    )


def _variable(name: str) -> dict[str, str]:
    return {"type": "var", "value": name}


def _data_paths(tree: Tree) -> Iterator[str]:
    """What stands behind ``data`` in each reference; "" where that is no constant."""
    for node in nodes_of(tree):
        value = node.get("value")
        if node.get("type") == "ref" and isinstance(value, list) and len(value) > 1 and value[0].get("value") == "data":
            yield str(value[1]["value"]) if value[1].get("type") == "string" else ""


def _at(source: PolicySource, row: int, column: int, message: str) -> CompileProblem:
    return CompileProblem(clean(source.path, 300), source.row + row, source.column + column if column else 0, message)


def unmoved(problem: CompileProblem, file: Prepared) -> CompileProblem:
    """A problem of the moved file as one of the file that its author knows; ``problem`` counts from the moved text."""
    column = file.moved.column(problem.row, problem.column)
    return _at(file.source, problem.row, column, file.moved.as_written(problem.message))
