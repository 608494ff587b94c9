"""What the pages say, before it is Markdown or HTML."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.model.ruling import Mode, Need, PolicyInfo
from portcullis.policy.inputs import closed
from portcullis.policy.pages.readme import Readme
from portcullis.text import clean

NEEDS: Mapping[str, str] = {
    "image": "the image's digest",
    "config": "image configuration",
    "user": "the image's user",
    "contents": "contents of layers",
    "packages": "list of packages",
    "attestations": "attestations",
    "components": "components of SBOMs",
    "namespace": "labels of the namespace",
    "inventory": "objects of the cluster",
}
"""What is waited for, by the need; ``request`` is always there."""

NOTHING = "nothing"

_IMAGE = frozenset({Need.IMAGE, Need.CONFIG, Need.USER, Need.CONTENTS, Need.PACKAGES})
_EVIDENCE = frozenset({Need.ATTESTATIONS, Need.COMPONENTS})
_CATEGORY_CHARS = 60
_MODES = """policies:
  modes: {{{name}: {mode}}}
  overrides:
    - namespaces: ["legacy-*"]
      modes: {{{name}: audit}}
"""
_EXCEPTION = """exceptions:
  - id: EX-1
    policies: [{name}]
    match: {{namespaces: [legacy], images: ["registry.example/old/**"]}}
    reason: is replaced in spring
    owner: team@example.com
    expires: 2027-03-31T00:00:00Z
"""
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,250}")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a policy; ``path`` where it lies."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class PolicyPage:
    """One policy.

    ``needs`` are in words; ``profiles`` the mode in each profile that holds the policy; ``folder`` where its files
    lie, None where they are not files of their own.
    """

    info: PolicyInfo
    title: str
    needs: tuple[str, ...]
    category: str
    on_request: bool
    profiles: tuple[tuple[str, Mode], ...]
    readme: Readme
    folder: Path | None
    sources: tuple[SourceFile, ...]
    tests: tuple[Path, ...]

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def waits_for(self) -> str:
        return ", ".join(self.needs) or NOTHING

    @property
    def introduction(self) -> str:
        return self.readme.intro or self.info.description

    @property
    def snippets(self) -> "tuple[tuple[str, str], ...]":
        """What to write into the configuration: a sentence, and YAML."""
        return tuple(_snippets(self))


@dataclass(frozen=True, slots=True)
class Library:
    """The pages of a set, by category and name, and the words around them (the README of the folder above).

    ``folder`` is where that README lies.
    """

    readme: Readme
    folder: Path
    pages: tuple[PolicyPage, ...]

    @property
    def categories(self) -> tuple[tuple[str, tuple[PolicyPage, ...]], ...]:
        names = sorted({page.category for page in self.pages})
        return tuple((name, tuple(page for page in self.pages if page.category == name)) for name in names)

    @property
    def profiled(self) -> bool:
        """Whether any profile holds one of them."""
        return any(page.profiles for page in self.pages)


@dataclass(frozen=True, slots=True)
class Files:
    """What lies beside a compiled policy."""

    readme: Readme = field(default_factory=Readme)
    folder: Path | None = None
    sources: tuple[SourceFile, ...] = ()
    tests: tuple[Path, ...] = ()


def policy_page(
    info: PolicyInfo, files: Files, profiles: Mapping[str, Mapping[str, Mode]], *, on_request: bool = False
) -> PolicyPage:
    """The page of a compiled policy.

    Args:
        profiles: mode by policy, by profile.
        on_request: whether it counts only where it is asked for.

    Raises:
        PolicyCompileError: its name is none that a file can have.
    """
    if not _FILE_NAME.fullmatch(info.name):
        raise PolicyCompileError((CompileProblem(clean(info.name, 200), 0, 0, "no name for a file of its own"),))
    return PolicyPage(
        info=info,
        title=clean(info.title, 200),
        needs=_words(info.needs),
        category=clean(info.category, _CATEGORY_CHARS) or _category(info.needs),
        on_request=on_request,
        profiles=tuple((name, modes[info.name]) for name, modes in sorted(profiles.items()) if info.name in modes),
        readme=files.readme,
        folder=files.folder,
        sources=files.sources,
        tests=files.tests,
    )


def _words(needs: frozenset[Need]) -> tuple[str, ...]:
    """Those that no other one implies, in the order of Need."""
    implied = {need for need in needs for other in needs if need in closed({other}) and other not in closed({need})}
    return tuple(NEEDS.get(need, str(need)) for need in Need if need in needs - implied - {Need.REQUEST})


def _category(needs: frozenset[Need]) -> str:
    """Of a policy that does not say: by the facts that it reads."""
    if needs & _EVIDENCE:
        return "evidence"
    return "image" if needs & _IMAGE else "workload"


def _snippets(page: PolicyPage) -> Iterator[tuple[str, str]]:
    other = Mode.WARN if page.info.mode is Mode.DENY else Mode.DENY
    name = page.name
    yield "Its mode, everywhere and in some namespaces:", _MODES.format(name=name, mode=other)
    parameters = f"policies:\n  parameters:\n    {name}:"
    if lines := [f"      {one.name}: {one.default}\n" for one in page.readme.parameters if one.default]:
        yield "Its parameters, with their defaults:", f"{parameters}\n{''.join(lines)}"
    if page.on_request:
        yield "It counts only where it is asked for. Parameters do that, also empty ones:", f"{parameters} {{}}\n"
    if not page.info.exceptions_forbidden:
        yield "An exception, which ends by itself:", _EXCEPTION.format(name=name)
