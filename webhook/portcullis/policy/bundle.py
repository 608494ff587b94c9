"""Policy sets from folders.

A policy is a package ``portcullis.policies.<name>``; what several policies share lies in packages
``portcullis.lib…``. Nothing else is taken. The revision of a set is the sha256 of everything that its rulings
depend on beside the document: sources, parameters, builtins, and the way that policies are asked.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.ruling import PolicyBundle, PolicySource
from portcullis.policy.capabilities import ALLOWED_BUILTINS, ALLOWED_FEATURES
from portcullis.policy.wrapper import WRAPPER_VERSION
from portcullis.text import clean

POLICIES = ("portcullis", "policies")
LIBRARY = ("portcullis", "lib")

BUILTIN = "builtin"
"""The name that paths of built-in policies begin with."""

FOLDER_DEPTH = 10
"""Folders within folders. Guards against links in circles; mounted ConfigMaps are full of links."""

_ON_REQUEST = re.compile(r"#[ \t]+onRequest:[ \t]+true")
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
    """Reads every ``*.rego`` in the folders and below, tests (``*_test.rego``) and hidden names left out.

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
    found: list[_Module] = []
    total = 0
    for label, folder in _labelled(folders):
        for path in _rego_files(folder, label, limits):
            name = PurePosixPath(label, *path.relative_to(folder).parts).as_posix()
            text = _read(path, name, limits)
            total += len(text)
            if len(found) >= limits.policy_files:
                raise _fault(name, f"more Rego files than the limit policyFiles allows ({limits.policy_files})")
            if total > limits.policy_set_bytes:
                raise _fault(name, f"the policies exceed the limit policySetBytes ({limits.policy_set_bytes})")
            found.append(_module(name, text))
    _check_places(found)
    wanted = _wanted(found, enabled, parameters, limits, profile)
    sources = tuple(
        PolicySource(module.path, module.text) for module in found if not module.policy or module.policy in wanted
    )
    kept = {name: parameters[name] for name in sorted(parameters) if name in wanted}
    return PolicyBundle(sources=sources, parameters=kept, revision=revision_of(sources, kept))


def revision_of(sources: Sequence[PolicySource], parameters: Mapping[str, JSONObject]) -> str:
    """``sha256:`` and 64 hex digits over a canonical listing of all that the set's rulings depend on.

    Raises:
        PolicyCompileError: the parameters are no JSON.
    """
    listing = {
        "builtins": sorted(ALLOWED_BUILTINS),
        "features": sorted(ALLOWED_FEATURES),
        "parameters": parameters,
        "sources": sorted([source.path, hashlib.sha256(source.text.encode()).hexdigest()] for source in sources),
        "wrapper": WRAPPER_VERSION,
    }
    try:
        canonical = json.dumps(listing, sort_keys=True, separators=(",", ":"), allow_nan=False, default=plain_json)
    except (TypeError, ValueError, RecursionError) as error:
        raise _fault("parameters", "the parameters are not JSON") from error
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Module:
    path: str
    text: str
    package: tuple[str, ...]
    row: int
    on_request: bool = False

    @property
    def builtin(self) -> bool:
        return self.path.startswith(f"{BUILTIN}/")

    @property
    def policy(self) -> str:
        return policy_name(self.package)


def _fault(path: str, message: str, row: int = 0) -> PolicyCompileError:
    return PolicyCompileError((CompileProblem(clean(path, 300), row, 0, message),))


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


def _rego_files(folder: Path, label: str, limits: Limits, depth: int = 0) -> Iterator[Path]:
    """Sorted by name. Links are followed: that is how Kubernetes mounts a ConfigMap."""
    if depth > FOLDER_DEPTH:
        raise _fault(label, f"folders are nested more than {FOLDER_DEPTH} deep")
    entries: list[str] = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if len(entries) >= limits.policy_files:
                    raise _fault(label, f"a folder with more entries than policyFiles allows ({limits.policy_files})")
                entries.append(entry.name)
    except OSError as error:
        raise _fault(label, f"the folder cannot be read: {error.strerror}") from error
    for name in sorted(entries):
        if name.startswith("."):
            continue
        path = folder / name
        if path.is_dir():
            yield from _rego_files(path, label, limits, depth + 1)
        elif name.endswith(".rego") and not name.endswith("_test.rego"):
            yield path


def _read(path: Path, name: str, limits: Limits) -> str:
    if not path.is_file():
        raise _fault(name, "not a regular file")
    try:
        with path.open("rb") as stream:
            content = stream.read(limits.policy_bytes + 1)
    except OSError as error:
        raise _fault(name, f"cannot be read: {error.strerror}") from error
    if len(content) > limits.policy_bytes:
        raise _fault(name, f"exceeds the limit policyBytes ({limits.policy_bytes})")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise _fault(name, "not UTF-8", row) from error


def _module(path: str, text: str) -> _Module:
    metadata = on_request = False
    for row, line in enumerate(text.split("\n"), start=1):
        statement = line.strip()
        if not statement or statement.startswith("#"):
            metadata = metadata or statement == "# METADATA"
            on_request = on_request or (metadata and _ON_REQUEST.fullmatch(statement) is not None)
            continue
        declared = _PACKAGE.match(statement)
        if declared is None:
            raise _fault(path, "must begin with `package portcullis.policies.<name>` on a line of its own", row)
        package = tuple(declared[1].split("."))
        if not policy_name(package) and package[:2] != LIBRARY:
            raise _fault(
                path,
                f"package {clean(declared[1], 200)} is neither portcullis.policies.<name> nor below portcullis.lib",
                row,
            )
        return _Module(path, text, package, row, on_request)
    raise _fault(path, "holds no package")


def _check_places(modules: Sequence[_Module]) -> None:
    """A package in two directories would be one policy with the rules of both."""
    places: dict[tuple[str, ...], str] = {}
    for module in modules:
        place = str(PurePosixPath(module.path).parent)
        known = places.setdefault(module.package, place)
        if known != place:
            text = ".".join(module.package)
            raise _fault(module.path, f"package {text} lies in {clean(known, 300)} already", module.row)


def _wanted(
    modules: Sequence[_Module],
    enabled: Sequence[str] | None,
    parameters: Mapping[str, JSONObject],
    limits: Limits,
    profile: Collection[str] | None,
) -> frozenset[str]:
    there = {module.policy for module in modules if module.policy}
    named = (("policies.enabled", enabled or ()), ("policies.parameters", parameters), ("the profile", profile or ()))
    for what, names in named:
        for name in names:
            if name not in there:
                raise _fault(what, f"there is no policy named {clean(str(name), 100)!r}")
    on_request = {module.policy for module in modules if module.on_request} - set(parameters)
    if profile is not None:
        own = {module.policy for module in modules if module.policy and not module.builtin}
        wanted = frozenset(own - on_request) | frozenset(profile) | frozenset(enabled or ())
    else:
        wanted = frozenset(enabled) if enabled else frozenset(there - on_request)
    if len(wanted) > limits.policies:
        raise _fault("policies", f"{len(wanted)} policies; the limit policies is {limits.policies}")
    return wanted
