"""From files to the constraints of a policy set.

A template that is not supported (only CEL; or calls of external_data, which foreign.py finds) does not stop others
from being judged, and is not skipped either: each of its constraints becomes a policy that is always undecided under
its enforcement action, for a reason that names the template, and the set carries a remark. Everything else that is
wrong refuses the whole set.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.ruling import Constraint, PolicySource
from portcullis.policy.gatekeeper.constraints import WEBHOOK, read_constraint
from portcullis.policy.gatekeeper.files import CONSTRAINTS, TEMPLATES, ForeignError, Item, read_items
from portcullis.policy.gatekeeper.templates import Template, read_template
from portcullis.text import clean

SAMPLES = "samples"
"""Folders of this name hold examples of how a template may be used, as in Gatekeeper's own library: nothing below them
is taken."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """``parameters`` by the name of the policy, defaults of the schema filled in."""

    constraints: tuple[Constraint, ...]
    sources: tuple[PolicySource, ...]
    parameters: Mapping[str, JSONObject]
    remarks: tuple[CompileProblem, ...]


def gather(files: Iterable[tuple[str, str]], limits: Limits, *, point: str = WEBHOOK) -> Gathered:
    """The templates and constraints in the files (name, text), as they hold at the enforcement point.

    Raises:
        PolicyCompileError: with every file that is wrong, and its line.
    """
    return _Gatherer(limits, point).gather(files)


class _Gatherer:
    def __init__(self, limits: Limits, point: str) -> None:
        self._limits = limits
        self._point = point
        self._templates: dict[str, Template] = {}
        self._constraints: dict[str, Constraint] = {}
        self._parameters: dict[str, JSONObject] = {}
        self._problems: list[CompileProblem] = []
        self._remarks: list[CompileProblem] = []

    def gather(self, files: Iterable[tuple[str, str]]) -> Gathered:
        waiting: list[Item] = []
        for path, text in files:
            try:
                for item in read_items(path, text, (TEMPLATES, CONSTRAINTS), self._limits):
                    if item.group == CONSTRAINTS:
                        waiting.append(item)
                    else:
                        self._template(item)
            except ForeignError as error:
                self._problems.append(error.problem)
        for item in waiting:
            try:
                self._constraint(item)
            except ForeignError as error:
                self._problems.append(error.problem)
        if self._problems:
            raise PolicyCompileError(tuple(self._problems))
        sources = tuple(source for template in self._templates.values() for source in template.sources)
        return Gathered(tuple(self._constraints.values()), sources, self._parameters, tuple(self._remarks))

    def _template(self, item: Item) -> None:
        try:
            template = read_template(item)
        except ForeignError as error:
            self._problems.append(error.problem)
            return
        known = self._templates.setdefault(template.kind, template)
        if known is not template:
            where = f"{clean(known.item.path, 300)}:{known.item.line()}"
            raise item.wrong(f"there is a ConstraintTemplate {template.kind} already, in {where}", "metadata", "name")
        if template.unsupported:
            self._remarks.append(item.wrong(template.unsupported).problem)

    def _constraint(self, item: Item) -> None:
        kind = clean(str(item.value.get("kind")), 100)
        template = self._templates.get(kind)
        if template is None:
            raise item.wrong(f"there is no ConstraintTemplate for constraints of the kind {kind}", "kind")
        read = read_constraint(item, template, point=self._point)
        name = read.constraint.name
        if name in self._constraints:
            known = self._constraints[name]
            raise item.wrong(f"{name} is in {clean(known.path, 300)}:{known.row} already", "metadata", "name")
        if not read.applies:
            message = f"the constraint {name} is not judged here: none of its actions is for {self._point}"
            self._remarks.append(item.wrong(message).problem)
            return
        self._constraints[name] = read.constraint
        self._parameters[name] = read.parameters
