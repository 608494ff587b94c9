"""The modules of a policy library: which files a policy's tests need, and which tests there are."""

import itertools
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARY = "lib"
TESTS = "_test.rego"


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A parsed file; ``package`` and ``imports`` as ``portcullis.lib.text``."""

    path: Path
    text: str
    tree: Mapping[str, Any]
    package: str
    imports: frozenset[str]

    @property
    def is_test(self) -> bool:
        return self.path.name.endswith(TESTS)

    def tests(self) -> Iterator[str]:
        """Where the values of its tests stand in ``data``."""
        names = {str(rule["head"]["ref"][0]["value"]) for rule in self.tree.get("rules") or ()}
        for name in sorted(names):
            if name.startswith("test_"):
                yield f"{self.package.replace('.', '/')}/{name}"


class Library:
    """The parsed modules of some policies and of ``lib``, by the name of their folder."""

    def __init__(self, folder: Path, modules: Mapping[str, Sequence[Module]]) -> None:
        self.folder = folder
        self._modules = modules

    def sources(self, policy: str) -> list[Module]:
        return [module for module in self._modules[policy] if not module.is_test]

    def tests(self, policy: str) -> list[str]:
        return [test for module in self._modules[policy] if module.is_test for test in module.tests()]

    def needed(self, policy: str) -> list[Module]:
        """The policy, its tests, and whatever they import, directly or not."""
        needed = dict.fromkeys(self._modules[policy])
        waiting = list(needed)
        while waiting:
            module = waiting.pop()
            for other in itertools.chain.from_iterable(self._modules.values()):
                if other not in needed and _reaches(module, other):
                    needed[other] = None
                    waiting.append(other)
        return list(needed)


def _reaches(module: Module, other: Module) -> bool:
    return any(name == other.package or name.startswith(f"{other.package}.") for name in module.imports)


def policies_below(folder: Path) -> list[str]:
    """The names of its folders that hold Rego, but for the one that policies share."""
    return sorted({path.parent.name for path in folder.glob("*/*.rego")} - {LIBRARY})


def load_library(folder: Path, policies: Iterable[str], executor: Executor) -> Library:
    """These policies, ``lib``, and further policies that any of them imports.

    Raises:
        ValueError: a file is not parsed.
    """
    modules: dict[str, Sequence[Module]] = {}
    waiting = [LIBRARY, *policies]
    while waiting:
        paths = [path for name in waiting for path in sorted((folder / name).glob("*.rego"))]
        parsed = list(executor.map(parse, paths))
        for name in waiting:
            modules[name] = [module for module in parsed if module.path.parent.name == name]
        imported = {_policy(name) for module in parsed for name in module.imports}
        waiting = sorted(name for name in imported - modules.keys() if name)
    return Library(folder, modules)


def _policy(imported: str) -> str:
    """``image-user`` of ``portcullis.policies.image_user``; empty if it is no policy."""
    parts = imported.split(".")
    return parts[2].replace("_", "-") if parts[:2] == ["portcullis", "policies"] and len(parts) > 2 else ""


def parse(path: Path) -> Module:
    """Raises ValueError with OPA's words where it is not Rego."""
    done = subprocess.run(
        ["opa", "parse", "--format", "json", "--json-include", "locations", str(path)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(f"{path}: {(done.stderr or done.stdout).decode(errors='replace').strip()}")
    tree = json.loads(done.stdout)
    return Module(
        path=path,
        text=path.read_text("utf-8"),
        tree=tree,
        package=_dotted(tree["package"]["path"]),
        imports=frozenset(_dotted(entry["path"]["value"]) for entry in tree.get("imports") or ()),
    )


def _dotted(path: list[Mapping[str, Any]]) -> str:
    return ".".join(str(part["value"]) for part in path[1:])
