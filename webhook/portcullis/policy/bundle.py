"""Policy sets from folders.

A policy is a package ``portcullis.policies.<name>``; what several policies share lies in packages
``portcullis.lib…``. Other packages outside of ``portcullis`` come from elsewhere (foreign.py), as do the
ConstraintTemplates and constraints of Gatekeeper in YAML or JSON (gatekeeper/load.py).

The revision of a set is the sha256 of everything that its rulings depend on beside the document: sources, parameters,
builtins, and the way that policies are asked.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from portcullis.errors import CompileProblem
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.ruling import Constraint, Origin, PolicyBundle, PolicySource
from portcullis.policy.capabilities import ALLOWED_BUILTINS, ALLOWED_FEATURES
from portcullis.policy.gatekeeper.files import CONSTRAINTS, SUFFIXES, TEMPLATES
from portcullis.policy.gatekeeper.load import SAMPLES, gather
from portcullis.policy.reading import decoded, fault, read_content, read_text, walk
from portcullis.policy.shared import bridging_digest
from portcullis.policy.wrapper import WRAPPER_VERSION
from portcullis.text import clean

POLICIES = ("portcullis", "policies")
LIBRARY = ("portcullis", "lib")
ADMISSION = ("kubernetes", "admission")
"""The package of OPA's admission tutorial."""

BUILTIN = "builtin"
"""The name that paths of built-in policies begin with."""

ON_REQUEST = re.compile(r"#[ \t]+onRequest:[ \t]+true")
"""A line of METADATA: which policies there are is told before OPA has parsed any."""
_PACKAGE = re.compile(r"package[ \t]+([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)[ \t]*(?:#.*)?$")


def policy_name(package: Sequence[str]) -> str:
    """``image-user`` for the package portcullis.policies.image_user; "" for a package that is no policy."""
    return package[2].replace("_", "-") if len(package) == 3 and tuple(package[:2]) == POLICIES else ""


def builtin_policies() -> Path:
    """The folder of the policies that come with Portcullis: ``policies/`` in a checkout, package data in a wheel."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_policies"
    return installed if installed.is_dir() else package.parents[1] / "policies"


def load_bundle(
    folders: Sequence[Path],
    *,
    parameters: Mapping[str, JSONObject],
    enabled: Sequence[str] | None,
    limits: Limits,
    profile: Collection[str] | None = None,
) -> PolicyBundle:
    """Reads every ``*.rego`` in the folders and below, tests (``*_test.rego``) and hidden names left out, and the
    ConstraintTemplates and constraints of Gatekeeper in ``*.yaml``, ``*.yml`` and ``*.json``. Files that hold neither
    (suites, manifests, kustomizations) are left alone, and so are those below a folder ``samples``.

    Args:
        folders: searched in this order; a package may lie in one directory only, so that a folder cannot
            change another's policy by accident.
        parameters: by policy name; what Rego sees as ``data.portcullis.parameters``.
        enabled: names of the policies to take (``image-user``); None or none at all takes all of them but those
            that say ``onRequest: true`` in their METADATA and that the parameters do not name.
        profile: where there is one, the built-in policies that count; those of other folders count beside them, and
            ``enabled`` adds to both.
        limits: ``policy_bytes``, ``policy_files``, ``policy_set_bytes`` and ``policies`` bound what is read.

    Raises:
        PolicyCompileError: names the file and what is wrong with it.
    """
    files = _Files(limits)
    for label, folder in _labelled(folders):
        for path in walk(folder, label, limits):
            inside = path.relative_to(folder)
            if _may_hold_policies(inside):
                files.take(path, PurePosixPath(label, *inside.parts).as_posix())
    found = files.modules
    _check_places(found)
    gathered = gather(files.objects, limits)
    constraints = {constraint.name: constraint for constraint in gathered.constraints}
    _check_names(found, constraints)
    wanted = _wanted(found, constraints, enabled, parameters, limits, profile)
    foreign = {module.policy for module in found if module.origin is not Origin.NATIVE}
    taken = [
        PolicySource(module.path, module.text, module.origin)
        for module in found
        if module.policy in wanted
        or (module.policy not in foreign and not module.policy)
        # What is not a policy of its own may be what one of them uses.
        or (module.policy in foreign and foreign & wanted)
    ]
    kept = tuple(constraint for constraint in gathered.constraints if constraint.name in wanted)
    units = {constraint.unit for constraint in kept}
    sources = (*taken, *(source for source in gathered.sources if not enabled or source.unit in units))
    given = {name: {**gathered.parameters.get(name, {}), **parameters.get(name, {})} for name in sorted(wanted)}
    given = {name: value for name, value in given.items() if name in parameters or name in constraints}
    left_out = frozenset(foreign - wanted)
    return PolicyBundle(
        sources=sources,
        parameters=given,
        revision=revision_of(sources, given, kept, left_out),
        constraints=kept,
        left_out=left_out,
        remarks=(*files.remarks, *gathered.remarks),
    )


def revision_of(
    sources: Sequence[PolicySource],
    parameters: Mapping[str, JSONObject],
    constraints: Sequence[Constraint] = (),
    left_out: Collection[str] = (),
) -> str:
    """``sha256:`` and 64 hex digits over a canonical listing of all that the set's rulings depend on.

    Raises:
        PolicyCompileError: the parameters are no JSON.
    """
    listing: dict[str, object] = {
        "builtins": sorted(ALLOWED_BUILTINS),
        "features": sorted(ALLOWED_FEATURES),
        "parameters": parameters,
        "sources": sorted([source.path, hashlib.sha256(source.text.encode()).hexdigest()] for source in sources),
        "wrapper": WRAPPER_VERSION,
    }
    foreign = [source for source in sources if source.origin is not Origin.NATIVE]
    if foreign or constraints:
        listing["foreign"] = {
            "bridges": bridging_digest(),
            "constraints": [dataclasses.asdict(constraint) for constraint in constraints],
            "left out": sorted(left_out),
            "sources": [[source.path, source.origin, source.unit, source.library, source.rego] for source in foreign],
        }
    try:
        canonical = json.dumps(listing, sort_keys=True, separators=(",", ":"), allow_nan=False, default=plain_json)
    except (TypeError, ValueError, RecursionError) as error:
        raise fault("parameters", "the parameters are not JSON") from error
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Module:
    path: str
    text: str
    package: tuple[str, ...]
    row: int
    on_request: bool = False

    @property
    def origin(self) -> Origin:
        if self.package[0] == POLICIES[0]:
            return Origin.NATIVE
        return Origin.ADMISSION if self.package == ADMISSION else Origin.CONFTEST

    @property
    def builtin(self) -> bool:
        return self.path.startswith(f"{BUILTIN}/")

    @property
    def policy(self) -> str:
        """Its name; "" for a library of Portcullis. Whether a package from elsewhere is a policy, its rules tell."""
        return policy_name(self.package) if self.origin is Origin.NATIVE else "-".join(self.package)


def plain_json(value: object) -> object:
    """For json.dumps: JSON objects may be any Mapping here."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _labelled(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Each folder with the name that messages and the revision know it by: the same wherever it lies."""
    taken: set[str] = set()
    builtin = builtin_policies()
    for folder in folders:
        absolute = folder.resolve()
        base = BUILTIN if absolute == builtin else absolute.name or "policies"
        label, number = base, 2
        while label in taken:
            label, number = f"{base}-{number}", number + 1
        taken.add(label)
        yield label, absolute


class _Files:
    """What the folders hold. ``objects`` are the files (name, text) that may hold objects of Gatekeeper."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total = 0
        self._count = 0
        self.modules: list[_Module] = []
        self.objects: list[tuple[str, str]] = []
        self.remarks: list[CompileProblem] = []

    def take(self, path: Path, name: str) -> None:
        """Reads one file."""
        if path.suffix != ".rego":
            text = _read_objects(path, name, self._limits)
            if text is not None:
                self._counted(name, text)
                self.objects.append((name, text))
            return
        text = read_text(path, name, self._limits)
        self._counted(name, text)
        module = _module(name, text)
        if module.package[0] == "system":
            message = "package system is OPA's own, and left out: the gate itself answers reviews"
            self.remarks.append(CompileProblem(clean(name, 300), module.row, 0, message))
        else:
            self.modules.append(module)

    def _counted(self, name: str, text: str) -> None:
        self._total += len(text)
        self._count += 1
        if self._count > self._limits.policy_files:
            raise fault(name, f"more policy files than the limit policyFiles allows ({self._limits.policy_files})")
        if self._total > self._limits.policy_set_bytes:
            raise fault(name, f"the policies exceed the limit policySetBytes ({self._limits.policy_set_bytes})")


def _may_hold_policies(path: Path) -> bool:
    """Rego that is no test, and YAML or JSON that is no sample."""
    if path.suffix == ".rego":
        return not path.name.endswith("_test.rego")
    return path.suffix in SUFFIXES and SAMPLES not in path.parts[:-1]


def _read_objects(path: Path, name: str, limits: Limits) -> str | None:
    """The text of a file that names Gatekeeper's groups; None for any other, which is left alone whatever it is."""
    if not path.is_file():
        return None
    content = read_content(path, name, limits)
    if not any(group.encode() in content for group in (TEMPLATES, CONSTRAINTS)):
        return None
    return decoded(content, name, limits)


def _module(path: str, text: str) -> _Module:
    metadata = on_request = False
    for row, line in enumerate(text.split("\n"), start=1):
        statement = line.strip()
        if not statement or statement.startswith("#"):
            metadata = metadata or statement == "# METADATA"
            on_request = on_request or (metadata and ON_REQUEST.fullmatch(statement) is not None)
            continue
        declared = _PACKAGE.match(statement)
        if declared is None:
            raise fault(path, "must begin with `package portcullis.policies.<name>` on a line of its own", row)
        package = tuple(declared[1].split("."))
        if package[0] == POLICIES[0] and not policy_name(package) and package[:2] != LIBRARY:
            raise fault(
                path,
                f"package {clean(declared[1], 200)} is neither portcullis.policies.<name> nor below portcullis.lib",
                row,
            )
        return _Module(path, text, package, row, on_request)
    raise fault(path, "holds no package")


def _check_places(modules: Sequence[_Module]) -> None:
    """A package in two directories would be one policy with the rules of both."""
    places: dict[tuple[str, ...], str] = {}
    for module in modules:
        place = str(PurePosixPath(module.path).parent)
        known = places.setdefault(module.package, place)
        if known != place:
            text = ".".join(module.package)
            raise fault(module.path, f"package {text} lies in {clean(known, 300)} already", module.row)


def _check_names(modules: Sequence[_Module], constraints: Collection[str]) -> None:
    known: dict[str, _Module] = {}
    for module in modules:
        if module.policy and known.setdefault(module.policy, module).package != module.package:
            where = clean(known[module.policy].path, 300)
            raise fault(module.path, f"there is a policy named {module.policy} already, in {where}", module.row)
        if module.policy in constraints:
            raise fault(module.path, f"there is a constraint named {module.policy} already", module.row)


def _wanted(
    modules: Sequence[_Module],
    constraints: Collection[str],
    enabled: Sequence[str] | None,
    parameters: Mapping[str, JSONObject],
    limits: Limits,
    profile: Collection[str] | None,
) -> frozenset[str]:
    there = {module.policy for module in modules if module.policy} | set(constraints)
    named = (("policies.enabled", enabled or ()), ("policies.parameters", parameters), ("the profile", profile or ()))
    for what, names in named:
        for name in names:
            if name not in there:
                raise fault(what, f"there is no policy named {clean(str(name), 100)!r}")
    on_request = {module.policy for module in modules if module.on_request} - set(parameters)
    if profile is not None:
        own = {module.policy for module in modules if module.policy and not module.builtin} | set(constraints)
        wanted = frozenset(own - on_request) | frozenset(profile) | frozenset(enabled or ())
    else:
        wanted = frozenset(enabled) if enabled else frozenset(there - on_request)
    if len(wanted) > limits.policies:
        raise fault("policies", f"{len(wanted)} policies; the limit policies is {limits.policies}")
    return wanted
