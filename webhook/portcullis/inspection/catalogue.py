"""What is looked for in the files of an image: rules, read from catalogue.toml and from the operator's files.

docs/catalogue.md describes the file format.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Annotated, Final, Literal

import msgspec

from portcullis.errors import ConfigError
from portcullis.inspection.patterns import Pattern, any_of, name_pattern, parse_pattern
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.contents import FindingClass
from portcullis.secretforms import SHARED
from portcullis.text import clean

BUILT_IN: Final = files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
"""Read with the module: the process that looks into layers cannot open files any more when it uses it."""

_MEANING: Final = "1"
"""Part of the revision; raised whenever what is found changes with the same rules."""
_KNOWN_NAMES: Final = 50_000
"""Names of files whose rules are remembered."""

_Octal = Annotated[str, msgspec.Meta(pattern=r"^[0-7]{4}$")]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One rule, as it is written. See docs/catalogue.md for each field."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    classes: Annotated[tuple[FindingClass, ...], msgspec.Meta(min_length=1)]
    what: str = ""
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    bits: _Octal = "0000"
    without: _Octal = "0000"
    kind: Literal["file", "folder"] = "file"
    capabilities: bool = False
    executable: bool = False
    application: bool = False
    content: str = ""
    variables: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    except_: tuple[str, ...] = msgspec.field(default=(), name="except")
    min_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    fold: bool = False
    note: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[Rule, ...] = ()
    disable: tuple[str, ...] = ()


class CompiledRule:
    """A rule, made ready. ``hidden`` says that it also looks at what later layers hide."""

    __slots__ = (
        *("bits", "content", "except_variables", "hidden", "ignored", "only", "rule", "text", "variables", "without"),
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.bits = int(rule.bits, 8)
        self.without = int(rule.without, 8)
        self.content = re.compile(rule.content.encode(), re.DOTALL | re.MULTILINE) if rule.content else None
        self.text = re.compile(rule.content) if rule.content and rule.variables else None
        """The expression over a line of the history."""
        self.only = any_of(rule.only)
        history = bool(rule.variables)
        self.ignored = None if history else any_of(rule.except_)
        self.variables = _variables(rule.variables)
        self.except_variables = _variables(rule.except_) if history else None
        self.hidden = FindingClass.SECRETS in rule.classes

    def covers(self, path: bytes) -> bool:
        """Whether ``only`` and ``except`` leave this clean name in."""
        if self.ignored is not None and self.ignored.fullmatch(path):
            return False
        return self.only is None or self.only.fullmatch(path) is not None


Candidate = tuple[CompiledRule, Pattern]


class Index:
    """Rules by the names that they may be about: most names cost one look-up."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._names: dict[bytes, list[Candidate]] = {}
        self._extensions: dict[bytes, list[Candidate]] = {}
        self._others: list[tuple[re.Pattern[bytes], Candidate]] = []
        for candidate in candidates:
            pattern = candidate[1]
            if pattern.name is not None:
                self._names.setdefault(pattern.name, []).append(candidate)
            elif pattern.extension is not None:
                self._extensions.setdefault(pattern.extension, []).append(candidate)
            else:
                self._others.append((re.compile(pattern.name_regex.encode(), re.DOTALL), candidate))
        self._other = name_pattern(candidate[1] for _, candidate in self._others)
        self._known: dict[bytes, tuple[Candidate, ...]] = {}

    @property
    def names(self) -> frozenset[bytes]:
        """Names that some rule fits, beside those of these ``extensions`` and of ``other``."""
        return frozenset(self._names)

    @property
    def extensions(self) -> frozenset[bytes]:
        return frozenset(self._extensions)

    @property
    def other(self) -> re.Pattern[bytes] | None:
        """None where names and extensions tell all."""
        return self._other

    def candidates(self, name: bytes) -> tuple[Candidate, ...]:
        """The rules whose patterns fit this last part of a path; the rest of the path is not looked at."""
        known = self._known.get(name)
        if known is not None:
            return known
        found = list(self._names.get(name, ()))
        dot = name.rfind(b".")
        if dot >= 0:
            found += self._extensions.get(name[dot:], ())
        if self._other is not None and self._other.fullmatch(name):
            found += [candidate for regex, candidate in self._others if regex.fullmatch(name)]
        if len(self._known) >= _KNOWN_NAMES:
            self._known.clear()
        self._known[name] = tuple(found)
        return self._known[name]

    def matches(self, name: bytes, path: bytes) -> list[CompiledRule]:
        """The rules whose patterns fit this clean name, each once; ``only`` and ``except`` are not looked at."""
        found: list[CompiledRule] = []
        for rule, pattern in self.candidates(name):
            if rule not in found and (pattern.path_regex is None or pattern.path_regex.fullmatch(path)):
                found.append(rule)
        return found


class Catalogue:
    """Rules ready for use.

    Args:
        rules: with ids that differ.

    Raises:
        ValueError: a rule cannot be used; the text begins with its id.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        written = msgspec.json.encode(sorted(self.rules, key=lambda rule: rule.id))
        self.revision = hashlib.sha256(_MEANING.encode() + b"\0" + written).hexdigest()[:16]
        compiled = [_compiled(rule) for rule in self.rules]
        by_files = [(rule, parse_pattern(text)) for rule in compiled for text in rule.rule.files]
        self.files = Index(by_files)
        self.folders = Index((rule, parse_pattern(text)) for rule in compiled for text in rule.rule.folders)
        self.contents = Index(candidate for candidate in by_files if candidate[0].content is not None)
        """The rules for whose sake the content of files is looked at."""
        self.modes = tuple(rule for rule in compiled if rule.bits)
        self.capabilities = tuple(rule for rule in compiled if rule.rule.capabilities)
        self.history = tuple(rule for rule in compiled if rule.variables is not None)


def load_catalogue(texts: Sequence[tuple[str, str]], *, limits: Limits = DEFAULT_LIMITS) -> Catalogue:
    """The built-in rules, and those of the operator over them: a rule of the same id replaces one, and ``disable``
    drops one.

    Args:
        texts: name and TOML text of each file, later ones over earlier ones.

    Raises:
        ConfigError: a file cannot be used; names it and the place in it.
    """
    rules: dict[str, Rule] = {}
    for name, text in (("catalogue.toml", BUILT_IN), *texts):
        content = _read(name, text)
        ids = [rule.id for rule in content.rules]
        for rule in content.rules:
            if ids.count(rule.id) > 1:
                raise ConfigError(f"{name}: the rule {rule.id} is there twice")
            try:
                _compiled(rule)
            except ValueError as error:
                raise ConfigError(f"{name}: {error}") from None
            rules[rule.id] = rule
        for unwanted in content.disable:
            if unwanted not in rules:
                raise ConfigError(f"{name}: disable: there is no rule {clean(repr(unwanted), 100)}")
            del rules[unwanted]
        if len(rules) > limits.catalogue_rules:
            raise ConfigError(
                f"{name}: more rules than the limit catalogueRules allows, which is {limits.catalogue_rules}"
            )
    return Catalogue(tuple(rules.values()))


def _read(name: str, text: str) -> _File:
    try:
        content = msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: is not TOML: {clean(str(error), 300)}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {clean(str(error), 300)}") from None
    return msgspec.structs.replace(content, rules=tuple(_written_out(rule) for rule in content.rules))


def _written_out(rule: Rule) -> Rule:
    """The rule with the shared expressions in the place of their names, so that its revision follows them."""
    content = rule.content
    for name, expression in SHARED.items():
        content = content.replace(name, f"(?:{expression})")
    return msgspec.structs.replace(rule, content=content)


def _compiled(rule: Rule) -> CompiledRule:
    """Raises ValueError for what no rule can mean, so that a slip of the pen does not switch one off."""
    problem = _problem(rule)
    if problem:
        raise ValueError(f"rule {rule.id}: {problem}")
    for key in ("files", "folders", "only", "except_"):
        for text in getattr(rule, key):
            try:
                parse_pattern(text)
            except ValueError as error:
                raise ValueError(f"rule {rule.id}: {key.rstrip('_')}: {clean(repr(text), 100)} {error}") from None
    try:
        return CompiledRule(rule)
    except re.error as error:
        raise ValueError(f"rule {rule.id}: content: is no regular expression: {error}") from None


def _problem(rule: Rule) -> str:
    ways = [
        bool(rule.files or rule.folders),
        rule.bits != "0000",
        rule.capabilities,
        bool(rule.variables),
    ]
    if sum(ways) != 1:
        return "needs one of files and folders, bits, capabilities, or variables"
    if rule.folders and (rule.executable or rule.content):
        return "executable and content are for files, not for folders"
    if not rule.files and (rule.executable or (rule.content and not rule.variables)):
        return "executable and content need files"
    if rule.without != "0000" and rule.bits == "0000":
        return "without needs bits"
    if rule.variables and FindingClass.SECRETS not in rule.classes:
        return "variables are for the class secrets"
    return ""


def _variables(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Names of variables, case aside; ``*`` stands for any characters."""
    if not patterns:
        return None
    return re.compile("|".join(re.escape(text).replace(r"\*", ".*") for text in patterns), re.IGNORECASE)
