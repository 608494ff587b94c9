"""The Rego files of a test run: those under test, and the library beside them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from portcullis.limits import Limits
from portcullis.policy.reading import fault, read_text, walk
from portcullis.policy.testing.references import Graph, Package, package_of, references_of

TESTS = "_test.rego"
FIXTURES = "fixtures_test.rego"
"""How the files of the library end that tests of others may import."""


@dataclass(frozen=True, slots=True)
class RegoFile:
    """One source. ``path`` is how messages name it, ``own`` says that it is under test, and not only beside."""

    path: str
    text: str
    own: bool
    package: Package
    references: frozenset[Package]
    digest: str

    @property
    def is_test(self) -> bool:
        return self.path.endswith(TESTS)


def rego_file(path: str, text: str, *, own: bool) -> RegoFile:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return RegoFile(path, text, own, package_of(text), references_of(text), digest)


@dataclass(frozen=True)
class Sources:
    """All files of a run."""

    files: tuple[RegoFile, ...]

    @cached_property
    def by_package(self) -> Mapping[Package, tuple[RegoFile, ...]]:
        found: dict[Package, list[RegoFile]] = {}
        for file in self.files:
            found.setdefault(file.package, []).append(file)
        return {package: tuple(files) for package, files in found.items()}

    @cached_property
    def graph(self) -> Graph:
        references = {
            package: frozenset[Package]().union(*(file.references for file in files))
            for package, files in self.by_package.items()
        }
        return Graph(references)

    @cached_property
    def test_packages(self) -> tuple[Package, ...]:
        """Those with tests that are to be run."""
        return tuple(dict.fromkeys(file.package for file in self.files if file.own and file.is_test))

    def slice(self, packages: Iterable[Package]) -> "Sources":
        """The files of these packages and of all that they may read."""
        wanted = self.graph.closure(packages)
        return Sources(tuple(file for file in self.files if file.package in wanted))

    def needed(self) -> "Sources":
        """All files under test, and of those beside what they may read."""
        return self.slice(dict.fromkeys(file.package for file in self.files if file.own))

    def key(self) -> str:
        """Changes with any change of any of the files."""
        listing = "\n".join(f"{file.digest} {file.path}" for file in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()


def load_sources(folders: Sequence[Path], beside: Path | None, limits: Limits) -> Sources:
    """Reads the Rego below ``folders`` (which may be files, too); of ``beside``, policies, library and its fixtures.

    A package of ``beside`` that a folder brings as well is left out: it is the folder's that is under test.

    Raises:
        PolicyCompileError: what cannot be read, or exceeds a bound; names it.
    """
    files: dict[Path, RegoFile] = {}
    total = 0
    for path, shown, own in _paths(folders, beside, limits):
        if path in files:
            continue
        text = read_text(path, shown, limits)
        total += len(text)
        if len(files) >= limits.policy_files:
            raise fault(shown, f"more Rego files than the limit policyFiles allows ({limits.policy_files})")
        if total > limits.policy_set_bytes:
            raise fault(shown, f"the policies exceed the limit policySetBytes ({limits.policy_set_bytes})")
        files[path] = rego_file(shown, text, own=own)
    mine = {file.package for file in files.values() if file.own}
    return Sources(tuple(file for file in files.values() if file.own or file.package not in mine))


def _paths(folders: Sequence[Path], beside: Path | None, limits: Limits) -> Iterator[tuple[Path, str, bool]]:
    """Each file with the name that it is shown under, and whether it is under test. Those under test come first."""
    for folder in folders:
        for path in find_files(folder, (".rego",), limits):
            yield path.resolve(), str(path), True
    if beside is not None:
        for path in find_files(beside, (".rego",), limits):
            if not path.name.endswith(TESTS) or path.name.endswith(FIXTURES):
                yield path.resolve(), f"builtin/{path.relative_to(beside)}", False


def find_files(folder: Path, suffixes: tuple[str, ...], limits: Limits) -> Iterator[Path]:
    """The files below ``folder`` whose names end so, by name; hidden ones left out. A file stands for itself.

    Raises:
        PolicyCompileError: a folder that cannot be read, is nested too deep or holds too much.
    """
    paths = [folder] if folder.is_file() else walk(folder, str(folder), limits)
    yield from (path for path in paths if path.name.endswith(suffixes))
