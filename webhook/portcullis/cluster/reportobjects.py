"""Reports as objects of the API server: their kinds, what is read of a page that is there, and what is written.

Sources: those that reportresults.py names. OpenReports has ``source`` of the whole report beside that of each result.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portcullis.cluster.reportpages import Division
from portcullis.cluster.reportresults import SOURCE, Result, Traits, summary, traits_of
from portcullis.cluster.resources import Resource

LABEL: Final = ("app.kubernetes.io/managed-by", "portcullis")
NAME: Final = "portcullis"
_NAME: Final = re.compile(rf"{NAME}-([1-9][0-9]{{0,5}})")
_COUNTS: Final = 8
_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class ReportApi:
    """A kind of report.

    Args:
        sourced: whether the report itself says who wrote it.
    """

    resource: Resource
    kind: str
    sourced: bool = False

    @property
    def discovery(self) -> str:
        return f"/apis/{self.resource.group_version}"

    def __str__(self) -> str:
        return f"{self.kind} of {self.resource.group_version}"


APIS: Final = (
    ReportApi(Resource("wgpolicyk8s.io", "v1alpha2", "policyreports"), "PolicyReport"),
    ReportApi(Resource("openreports.io", "v1alpha1", "reports"), "Report", sourced=True),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be written of one kind in one namespace.

    Args:
        passed: policies that found nothing, over all workloads.
        second: of Unix time: of what is found now.
        looked_at: whether there are workloads at all.
        taken: numbers that others' objects have.
    """

    api: ReportApi
    namespace: str
    results: tuple[Result, ...] = field(repr=False)
    passed: int
    second: int
    looked_at: bool
    taken: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it was read, of which no more is kept than tells whether it says the same: it may have been made as
    large as the API server takes, by anybody.

    Args:
        results: with their times; () where there are more than are ever written.
    """

    name: str
    namespace: str
    uid: str
    version: str
    results: tuple[tuple[Traits, Mapping[str, int] | None], ...] = ()
    summary: Any = None
    source: Any = None

    @property
    def number(self) -> int:
        return int(self.name.rpartition("-")[2])

    def says(self, content: "Content") -> bool:
        """Whether all of that is there already."""
        there = tuple((traits.fingerprint, when) for traits, when in self.results)
        body = content.body
        return there == content.marks and self.summary == body["summary"] and self.source == body.get("source")


@dataclass(frozen=True, slots=True)
class Content:
    """What is ours of a page. ``marks`` are the fingerprints and times of its results."""

    body: Mapping[str, Any] = field(repr=False)
    marks: tuple[tuple[bytes, Mapping[str, int]], ...]


def pages_of(found: Any, most_results: int) -> tuple[Sequence[Page], str]:
    """Our own pages in an answer, and how to go on behind it.

    Raises:
        ValueError: it is no list.
    """
    items = found.get("items") if isinstance(found, Mapping) else None
    if not isinstance(items, list):
        raise ValueError("what the API server sent is no list")
    metadata = found.get("metadata")
    following = metadata.get("continue") if isinstance(metadata, Mapping) else None
    pages = [page for item in items if (page := _page(item, most_results)) is not None]
    return pages, following if isinstance(following, str) else ""


def contents(wanted: Wanted, division: Division, found: Mapping[int, Page]) -> dict[int, Content]:
    """The pages by their numbers; a result that is there already keeps its time."""
    pages = dict(division.pages)
    if not pages and wanted.looked_at:
        # Nothing to find fault with: the summary alone says that it was looked at.
        pages = {min(found, default=free(wanted.taken)): ()}
    since = {traits.fingerprint: when for page in found.values() for traits, when in page.results if when is not None}
    now = {"seconds": wanted.second, "nanos": 0}
    made: dict[int, Content] = {}
    for number, results in pages.items():
        times = [since.get(one.traits.fingerprint, now) for one in results]
        body: dict[str, Any] = {
            "summary": summary(results, wanted.passed if number == min(pages) else 0),
            "results": [{**one.body, "timestamp": when} for one, when in zip(results, times, strict=True)],
        }
        marks = tuple((one.traits.fingerprint, when) for one, when in zip(results, times, strict=True))
        made[number] = Content({"source": SOURCE, **body} if wanted.api.sourced else body, marks)
    return made


def name_of(number: int) -> str:
    return f"{NAME}-{number}"


def free(used: Collection[int]) -> int:
    """The first number that is none of these."""
    number = 1
    while number in used:
        number += 1
    return number


def _page(item: Any, most_results: int) -> Page | None:
    """None for what is not ours."""
    metadata = item.get("metadata") if isinstance(item, Mapping) else None
    if not isinstance(metadata, Mapping):
        return None
    labels = metadata.get("labels")
    name, namespace = metadata.get("name"), metadata.get("namespace")
    ours = isinstance(labels, Mapping) and labels.get(LABEL[0]) == LABEL[1]
    if not ours or not isinstance(name, str) or not isinstance(namespace, str) or not _NAME.fullmatch(name):
        return None
    results, counts, source = item.get("results"), item.get("summary"), item.get("source")
    kept = results if isinstance(results, list) and len(results) <= most_results else []
    return Page(
        name=name,
        namespace=namespace,
        uid=str(metadata.get("uid", "")),
        version=str(metadata.get("resourceVersion", "")),
        results=tuple((traits_of(body), _time(body.get("timestamp"))) for body in kept if isinstance(body, Mapping)),
        summary=counts if isinstance(counts, Mapping) and len(counts) <= _COUNTS else None,
        source=source[:_CHARS] if isinstance(source, str) else source,
    )


def _time(when: Any) -> Mapping[str, int] | None:
    """A time as we write it; None for any other."""
    if not isinstance(when, Mapping) or when.keys() != {"seconds", "nanos"}:
        return None
    return when if all(isinstance(value, int) for value in when.values()) else None
