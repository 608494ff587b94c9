"""What is looked for among what runs: from the address of the page to a FindingFilter, and back.

As of decisions (decisionsearch.py): a filter that is misspelt, given twice or out of its grammar is a fault that is
shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from portcullis.model.running import Condition, FindingFilter
from portcullis.server.review.decisionsearch import Field, fault_of
from portcullis.server.review.rendering import address
from portcullis.server.review.runningwords import WORDS
from portcullis.text import quoted

PATH: Final = "/running"

_ONLY: Final[Mapping[str, tuple[str, str]]] = {
    "moved": ("Tags that have moved", "moved"),
    "break-glass": ("What break-glass let in", "break_glass"),
}

FIELDS: Final[Mapping[str, Field]] = {
    one.name: one
    for one in (
        Field("condition", "Stands as", choices={str(one): words.word.capitalize() for one, words in WORDS.items()}),
        Field("namespace", "Namespace", "namespace", placeholder="shop"),
        Field("policy", "Policy", "policy", placeholder="image-user"),
        Field("image", "Image begins with, or digest", "image", chars=1024, placeholder="registry.example/acme/web"),
        Field("kind", "Kind", "kind", placeholder="Deployment"),
        Field("name", "Name", "name", placeholder="checkout"),
        Field("only", "Only", choices={name: words for name, (words, _) in _ONLY.items()}),
    )
}
_CURSOR: Final = "after"


@dataclass(frozen=True, slots=True)
class RunningSearch:
    """One address of the list.

    Args:
        values: the filters that are set, as they were written.
        faults: by filter, why it cannot be used. With any, ``query`` is not to be asked.
        after: where the page begins; "" for the first.
        empty: the address holds filters without a value, as forms send them.
    """

    values: Mapping[str, str]
    faults: Mapping[str, str]
    query: FindingFilter
    after: str = ""
    empty: bool = False

    @property
    def address(self) -> str:
        """Of the first page."""
        return address(PATH, **self.values)

    def without(self, name: str) -> str:
        """The address without one filter."""
        return address(PATH, **{key: value for key, value in self.values.items() if key != name})

    def with_value(self, name: str, value: str) -> str:
        return address(PATH, **{**self.values, name: value})

    def following(self, after: str) -> str:
        """The address of the page behind this one."""
        return address(PATH, **self.values, after=after)

    @property
    def chips(self) -> tuple[tuple[str, str, str], ...]:
        """The filters that are set: label, value as it is called, and the address without it."""
        return tuple(
            (FIELDS[name].label, FIELDS[name].choices.get(value, value), self.without(name))
            for name, value in self.values.items()
        )


def read_running_search(asked: Iterable[tuple[str, str]]) -> RunningSearch:
    """The search that an address asks for."""
    values: dict[str, str] = {}
    faults: dict[str, str] = {}
    after, empty = "", False
    for name, value in asked:
        if name not in FIELDS and name != _CURSOR:
            faults["address"] = f"there is no filter {quoted(name)}"
        elif name in values or (name == _CURSOR and after):
            faults["address"] = f"{name} is given twice"
        elif not value.strip():
            empty = True
        elif name == _CURSOR:
            after = value
        else:
            values[name] = value.strip()
    ordered = {name: values[name] for name in FIELDS if name in values}
    faults |= {name: fault for name, value in ordered.items() if (fault := fault_of(FIELDS[name], value))}
    return RunningSearch(ordered, faults, _filter(ordered, faults), after, empty)


def _filter(values: Mapping[str, str], faults: Mapping[str, str]) -> FindingFilter:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in faults:
            continue
        if name == "condition":
            found["condition"] = Condition(value)
        elif name == "only":
            found[_ONLY[value][1]] = True
        else:
            found[FIELDS[name].attribute] = value
    return FindingFilter(**found)
