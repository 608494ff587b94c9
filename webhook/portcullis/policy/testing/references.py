"""Which packages a Rego file may read, told from its text alone.

Only what must be loaded, and run again, is chosen by this, so it errs to the side of too much: a reference that cannot
be followed counts as one to everything. ``opa parse`` would know exactly and takes 30 ms for each file.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

Package = tuple[str, ...]

_PACKAGE = re.compile(r"^[ \t]*package[ \t]+([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*|\[\"[^\"\n]*\"\])*)", re.MULTILINE)
_PART = re.compile(r"\.([A-Za-z_]\w*)|\[\"([^\"\n]*)\"\]")
_TOKEN = re.compile(
    r"#[^\n]*"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|`[^`]*`"
    r"|(?<![\w.])data(?![\w])(?P<path>(?:\.[A-Za-z_]\w*)*)(?P<next>\s*[:=]?)"
)
_ANY_DATA = re.compile(r"(?<![\w.])data(?![\w])(?P<path>(?:\.[A-Za-z_]\w*)*)(?P<next>)")

EVERYTHING: Package = ()
"""As a reference: to all data there is."""


def package_of(text: str) -> Package:
    """The package of a source; () where it says none."""
    found = _PACKAGE.search(text)
    if found is None:
        return ()
    return (found[1], *(plain or quoted for plain, quoted in _PART.findall(found[2])))


def references_of(text: str) -> frozenset[Package]:
    """The constant beginnings of the references to ``data`` in a source, without ``data`` itself."""
    # In template strings ($"{…}") there may be references: then strings and comments are searched as well.
    pattern = _ANY_DATA if '$"' in text or "$`" in text else _TOKEN
    return frozenset(
        tuple(found["path"].split(".")[1:]) for found in pattern.finditer(text) if found["path"] is not None
    )


class Graph:
    """Packages, and which of them each may read.

    Args:
        references: by package, those of all its files.
    """

    def __init__(self, references: Mapping[Package, Iterable[Package]]) -> None:
        self._references = {package: frozenset(found) for package, found in references.items()}

    @cached_property
    def direct(self) -> Mapping[Package, frozenset[Package]]:
        """What each package may read of the others."""
        return {package: self._targets(package) for package in self._references}

    def closure(self, packages: Iterable[Package]) -> frozenset[Package]:
        """The packages, and all that they may read, whatever is between."""
        found: set[Package] = set()
        waiting = [package for package in packages if package in self._references]
        while waiting:
            package = waiting.pop()
            if package not in found:
                found.add(package)
                waiting.extend(self.direct[package] - found)
        return frozenset(found)

    def _targets(self, package: Package) -> frozenset[Package]:
        return frozenset(
            other
            for other in self._references
            for reference in self._references[package]
            if other != package and _touch(reference, other)
        )


def _touch(reference: Package, package: Package) -> bool:
    """Whether a reference leads into the package, or to something that holds it."""
    length = min(len(reference), len(package))
    return reference[:length] == package[:length]
