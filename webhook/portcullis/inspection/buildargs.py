"""Secrets that a build left in the history of an image, where whoever pulls it can read them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from portcullis.errors import TooLarge
from portcullis.inspection.catalogue import Catalogue, CompiledRule
from portcullis.limits import Limits
from portcullis.model.contents import Finding
from portcullis.model.image import BuildStep, Digest
from portcullis.secretforms import HARMLESS
from portcullis.text import clean

SHOWN_CHARS: Final = 500
"""Of a line of the history in a finding: what is for people to read."""

_REPEATED: Final = 50
"""Values of one line that are blotted out wherever else they stand in it."""

_ASSIGNMENT: Final = re.compile(
    r"""(?<![A-Za-z0-9_$])([A-Za-z_][A-Za-z0-9_]{0,99}+)=("[^"]{0,4000}"|'[^']{0,4000}'|[^\s"';&|)]{1,4000})"""
)


@dataclass(frozen=True, slots=True)
class _Secret:
    """Where it stands in a line, from and to."""

    rule: CompiledRule
    what: str
    span: tuple[int, int]


class History:
    """The lines of the history, secrets in them blotted out.

    Args:
        steps: of the image.
        layers: digests, base first; at least one where there is a step that made one.

    Raises:
        TooLarge: more than ``contents_findings`` secrets in it.
    """

    def __init__(
        self, steps: Sequence[BuildStep], layers: Sequence[Digest], *, catalogue: Catalogue, limits: Limits
    ) -> None:
        self._layers = layers
        self._rules = catalogue.history
        self.lines = [""] * len(layers)
        """Shown lines by layer."""
        self.findings: list[tuple[CompiledRule, Finding]] = []
        seen: set[tuple[str, str]] = set()
        made = 0
        for step in steps:
            secrets = list(_secrets(step.created_by, self._rules))
            shown = _shown(step.created_by, [secret.span for secret in secrets])
            # What makes no layer is told with the next one, so that it is never taken for the base's own.
            index = step.layer_index if step.layer_index is not None else min(made, len(layers) - 1)
            if step.layer_index is not None:
                self.lines[step.layer_index] = shown
                made = step.layer_index + 1
            for secret in secrets:
                key = (secret.what, step.created_by[slice(*secret.span)])
                if key not in seen:
                    seen.add(key)
                    self.findings.append((secret.rule, self._finding(secret, shown, index)))
                if len(self.findings) > limits.contents_findings:
                    raise TooLarge(
                        "the history of the image has more secrets than the limit contentsFindings allows, which is"
                        f" {limits.contents_findings}"
                    )

    def _finding(self, secret: _Secret, shown: str, index: int) -> Finding:
        layer = self._layers[index] if self._layers else Digest("")
        rule = secret.rule.rule.id
        return Finding(
            path="", what=secret.what, rule=rule, layer=layer, layer_index=max(index, 0), created_by=shown, count=1
        )


def blotted(steps: Sequence[BuildStep], catalogue: Catalogue) -> tuple[BuildStep, ...]:
    """The steps, with ``***`` for every secret that the catalogue knows by its name or its form."""
    return tuple(
        replace(
            step,
            created_by=_blotted(step.created_by, catalogue.history),
            arguments=_blotted(step.arguments, catalogue.history),
        )
        for step in steps
    )


def _blotted(line: str, rules: Sequence[CompiledRule]) -> str:
    spans = [secret.span for secret in _secrets(line, rules)]
    return _without(line, spans) if spans else line


def _secrets(line: str, rules: Sequence[CompiledRule]) -> Iterator[_Secret]:
    for rule in rules:
        if rule.text is not None:
            for match in rule.text.finditer(line):
                yield _Secret(rule, rule.rule.what or rule.rule.id, match.span())
            continue
        for match in _ASSIGNMENT.finditer(line):
            name, value = match[1], match[2].strip("\"'")
            if not value or HARMLESS.fullmatch(value):
                continue
            if rule.variables is None or not rule.variables.fullmatch(name):
                continue
            if rule.except_variables is None or not rule.except_variables.fullmatch(name):
                start = match.start(2) + (match[2][0] in "\"'")
                yield _Secret(rule, rule.rule.what or clean(name, 100), (start, start + len(value)))


def _shown(line: str, spans: Sequence[tuple[int, int]]) -> str:
    return clean(_without(line, spans), SHOWN_CHARS)


def _without(line: str, spans: Sequence[tuple[int, int]]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if end > at:
            pieces += (line[at : max(start, at)], "***")
            at = end
    shown = "".join(pieces) + line[at:]
    values = sorted({line[start:end] for start, end in spans}, key=len, reverse=True)
    for value in values[:_REPEATED]:
        shown = shown.replace(value, "***")
    return shown
