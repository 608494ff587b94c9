"""METADATA of policies: the package annotations that OPA has parsed (title, description, custom …)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.model.evidence import Severity
from portcullis.model.ruling import Mode, Need, PolicySource
from portcullis.policy.bundle import ON_REQUEST
from portcullis.policy.syntax import Module, problem_at
from portcullis.text import clean

DEFAULT_SEVERITY = Severity.MEDIUM
SEVERITIES = tuple(severity for severity in Severity if severity is not Severity.UNKNOWN)

_TITLE_CHARS = 200
_DESCRIPTION_CHARS = 4000
_DOCS_CHARS = 500
_CATEGORY_CHARS = 100


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a policy says of itself. ``needs`` widens what is derived from its rules; ``exceptions_forbidden`` says that
    no exception of the operator counts for it."""

    title: str
    description: str
    severity: str
    mode: Mode
    docs: str
    needs: frozenset[Need]
    category: str = ""
    exceptions_forbidden: bool = False
    reads_secrets: bool = False


def read_metadata(name: str, modules: Sequence[Module]) -> Metadata:
    """The METADATA of the package of the policy, from whichever of its modules has it.

    Raises:
        PolicyCompileError: a value is none that is known, or two modules say it twice.
    """
    found = [
        (module.source, annotation)
        for module in modules
        for annotation in module.annotations
        if annotation.get("scope") == "package"
    ]
    if len(found) > 1:
        raise PolicyCompileError(
            (problem_at(found[1][0], "METADATA", f"policy {name} has METADATA for its package twice"),)
        )
    source, annotation = found[0] if found else (modules[0].source, {})
    return _Reader(name, source).read(annotation)


class _Reader:
    def __init__(self, name: str, source: PolicySource) -> None:
        self._name = name
        self._source = source
        self._problems: list[CompileProblem] = []

    def read(self, annotation: Mapping[str, Any]) -> Metadata:
        custom = annotation.get("custom", {})
        if not isinstance(custom, Mapping):
            self._wrong("custom", "must be an object")
            custom = {}
        metadata = Metadata(
            title=self._text(annotation, "title", _TITLE_CHARS) or self._name,
            description=self._text(annotation, "description", _DESCRIPTION_CHARS),
            severity=self._one_of(custom, "severity", SEVERITIES, DEFAULT_SEVERITY),
            mode=Mode(self._one_of(custom, "mode", tuple(Mode), Mode.DENY)),
            docs=self._docs(annotation, custom),
            needs=self._needs(custom),
            category=self._text(custom, "category", _CATEGORY_CHARS),
            exceptions_forbidden=self._forbidden(custom),
            reads_secrets=self._flag(custom, "readsSecrets"),
        )
        self._look_at_request(custom)
        if self._problems:
            raise PolicyCompileError(tuple(self._problems))
        return metadata

    def _wrong(self, key: str, message: str) -> None:
        self._problems.append(problem_at(self._source, key, f"METADATA of policy {self._name}: {key} {message}"))

    def _text(self, annotation: Mapping[str, Any], key: str, limit: int) -> str:
        value = annotation.get(key, "")
        if not isinstance(value, str):
            self._wrong(key, "must be text")
            return ""
        if len(value) > limit:
            self._wrong(key, f"is longer than {limit} characters")
        return value.strip()

    def _one_of(self, custom: Mapping[str, Any], key: str, choices: Sequence[str], default: str) -> str:
        value = custom.get(key, default)
        if value not in choices:
            self._wrong(key, f"is {clean(str(value), 50)!r}; it must be one of {', '.join(choices)}")
            return default
        return str(value)

    def _forbidden(self, custom: Mapping[str, Any]) -> bool:
        if "exceptions" in custom and custom["exceptions"] != "forbidden":
            self._wrong("exceptions", "must be forbidden, or not be there")
        return "exceptions" in custom

    def _flag(self, custom: Mapping[str, Any], key: str) -> bool:
        value = custom.get(key, False)
        if not isinstance(value, bool):
            self._wrong(key, "must be true or false")
        return value is True

    def _look_at_request(self, custom: Mapping[str, Any]) -> None:
        """What bundle.py reads by lines must be what OPA reads."""
        lines = (line.strip() for line in self._source.text.split("\n"))
        if self._flag(custom, "onRequest") and not any(ON_REQUEST.fullmatch(line) for line in lines):
            self._wrong("onRequest", "must stand on a line of its own: `#   onRequest: true`")

    def _docs(self, annotation: Mapping[str, Any], custom: Mapping[str, Any]) -> str:
        if "docs" in custom:
            docs = self._text(custom, "docs", _DOCS_CHARS)
        else:
            related = annotation.get("related_resources") or [{}]
            docs = str(related[0].get("ref", "")) if isinstance(related[0], Mapping) else ""
        if docs and not docs.startswith(("https://", "http://")):
            self._wrong("docs", "must be an http or https address")
            return ""
        return docs

    def _needs(self, custom: Mapping[str, Any]) -> frozenset[Need]:
        value = custom.get("needs", [])
        known = {str(need) for need in Need}
        if not isinstance(value, list) or not all(isinstance(need, str) and need in known for need in value):
            self._wrong("needs", f"must be a list of: {', '.join(sorted(known))}")
            return frozenset()
        return frozenset(Need(need) for need in value)
