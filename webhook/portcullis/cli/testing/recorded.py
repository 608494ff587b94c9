"""Recorded facts in the place of a registry.

What ``portcullis inspect -o json`` prints, and the judged input in ``portcullis audit show ID -o json``, hold facts in
the form in which policies see them. They go into the policy input as they were recorded: nothing is asked anew and
nothing is worked out again but what hangs on the pod, which is the user of each container, and on the time, which is
how old things are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from portcullis.cli.testing.fixtures import FixtureError
from portcullis.collecting import problem_of
from portcullis.errors import InvalidReference
from portcullis.model.decision import Problem, Stage
from portcullis.model.facts import ImageFacts
from portcullis.model.image import Access, Digest, ImageReference, ImageUser, ResolvedImage, UserSource
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import Need
from portcullis.policy.schema import document_schema
from portcullis.text import clean
from portcullis.times import parse_rfc3339

Parse = Callable[[str], ImageReference]

_AGES = frozenset({"ageHours", "dbAgeHours"})
_MISSING: Mapping[Need, tuple[Stage, str]] = {
    Need.CONTENTS: (Stage.INSPECTION, "contents"),
    Need.PACKAGES: (Stage.PACKAGES, "packages"),
    Need.COMPONENTS: (Stage.EVIDENCE, "components of SBOMs"),
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """The facts of one image, as recorded at ``at``. ``pending`` are the problems that were being worked on."""

    tree: Mapping[str, Any]
    at: datetime
    where: str
    pending: frozenset[tuple[str, str]] = frozenset()


def images_of(tree: object, where: str, pending: Collection[tuple[str, str, str]] = ()) -> dict[str, Recorded]:
    """The recorded images of a policy input, by their texts.

    Args:
        tree: JSON with ``time`` and ``images``.
        where: names the recording in messages.
        pending: image, stage and reason of problems that were being worked on.

    Raises:
        FixtureError: it is no such recording, or one of another version.
    """
    if not isinstance(tree, Mapping) or not isinstance(tree.get("images"), Mapping):
        raise FixtureError(f"{where}: no facts: the output of portcullis inspect -o json is expected")
    at = recorded_at(tree, where)
    found = {}
    for written, image in tree["images"].items():
        _check(image, f"{where}: images[{clean(str(written), 200)!r}]")
        known = frozenset((stage, reason) for name, stage, reason in pending if name == written)
        found[str(written)] = Recorded(image, at, where, known)
    return found


def recorded_at(tree: Mapping[str, Any], where: str) -> datetime:
    """``time.now`` of a policy input. Raises FixtureError."""
    time = tree.get("time")
    now = time.get("now") if isinstance(time, Mapping) else None
    try:
        at = parse_rfc3339(now) if isinstance(now, str) else None
    except ValueError:
        at = None
    if at is None:
        raise FixtureError(f"{where}: time.now is missing: when the facts were recorded")
    return at


def _check(image: object, where: str) -> None:
    """The keys that this version writes, no more and no less: a fact that is missing must not read as a good one."""
    schema = document_schema()["$defs"]
    _check_keys(image, schema["image"], where)
    assert isinstance(image, Mapping)
    if not isinstance(image["platforms"], list) or not isinstance(image["problems"], list):
        raise FixtureError(f"{where}: platforms and problems must be lists")
    for at, platform in enumerate(image["platforms"]):
        _check_keys(platform, schema["platform"], f"{where}.platforms[{at}]")
        for key in ("user", "contents"):
            if not isinstance(platform[key], Mapping):
                raise FixtureError(f"{where}.platforms[{at}].{key}: no object")


def _check_keys(value: object, schema: Mapping[str, Any], where: str) -> None:
    if not isinstance(value, Mapping):
        raise FixtureError(f"{where}: no object")
    known = set(schema["properties"])
    missing, unknown = sorted(known - set(value)), sorted(set(value) - known)
    if missing or unknown:
        words = f"{missing[0]!r} is missing" if missing else f"{clean(str(unknown[0]), 80)!r} is not known"
        raise FixtureError(f"{where}: {words}: recorded by another version of Portcullis? record the facts anew")


class RecordedImages:
    """In the place of an ImageCollector: the facts of one fixture.

    Args:
        images: by their texts; others raise, since nobody recorded them.
        now: the time of the decision.
    """

    def __init__(self, images: Mapping[str, Recorded], *, now: datetime, parse: Parse) -> None:
        self._images = images
        self._now = now
        self._parse = parse

    def name(self, images: Collection[str]) -> tuple[ImageFacts, ...]:
        """What the texts alone say."""
        return tuple(self._named(written) for written in dict.fromkeys(images))

    async def collect(
        self,
        images: Collection[str],
        needs: Collection[Need],
        access: Access,  # noqa: ARG002 - a recording has no owner
        deadline: float,  # noqa: ARG002
        request: AdmissionRequest | None = None,  # noqa: ARG002
    ) -> tuple[ImageFacts, ...]:
        """The recorded facts. One that is needed and was not recorded is a problem of its image."""
        return tuple(self._facts(written, frozenset(needs)) for written in dict.fromkeys(images))

    def _named(self, written: str) -> ImageFacts:
        try:
            return ImageFacts(written=written, reference=self._parse(written))
        except InvalidReference as error:
            return ImageFacts(written=written, reference=None, problems=(problem_of(error, Stage.REFERENCE, written),))

    def _facts(self, written: str, needs: frozenset[Need]) -> ImageFacts:
        named = self._named(written)
        reference = named.reference
        if reference is None:
            return named
        recorded = self._images[written]
        tree = {
            **_aged(recorded.tree, self._now - recorded.at),
            "reference": str(reference),
            "registry": reference.repository.registry,
            "repository": reference.repository.path,
            "tag": reference.tag,
        }
        problems = tuple(_problem(one, written, recorded) for one in tree["problems"])
        digest = tree["digest"]
        resolved = None
        if isinstance(digest, str):
            stale = tree["staleSince"]
            resolved = ResolvedImage(
                reference=reference,
                digest=Digest(digest),
                media_type="",
                is_index=tree["isIndex"] is True,
                platforms=(),
                stale_since=_moment(stale),
            )
        problems += tuple(_not_recorded(written, tree, problems, needs))
        return ImageFacts(
            written=written,
            reference=reference,
            resolved=resolved,
            users=tuple(_user(platform["user"]) for platform in tree["platforms"]),
            problems=problems,
            recorded=tree,
        )


def _moment(text: object) -> datetime | None:
    try:
        return parse_rfc3339(text) if isinstance(text, str) else None
    except ValueError:
        return None


def missing_images(written: Sequence[str], images: Mapping[str, Recorded]) -> list[str]:
    """Those that no recording tells of."""
    return [one for one in dict.fromkeys(written) if one not in images]


def _aged(tree: Any, later: timedelta) -> Any:
    """The tree with what says how old something is, that much later."""
    if not later:
        return tree
    if isinstance(tree, Mapping):
        hours = later.total_seconds() / 3600
        return {
            key: round(value + hours, 6)
            if key in _AGES and isinstance(value, int | float) and not isinstance(value, bool)
            else _aged(value, later)
            for key, value in tree.items()
        }
    return [_aged(value, later) for value in tree] if isinstance(tree, list) else tree


def _problem(tree: object, written: str, recorded: Recorded) -> Problem:
    if not isinstance(tree, Mapping) or tree.get("stage") not in set(Stage):
        raise FixtureError(f"{recorded.where}: problems of {clean(written, 200)}: no such problem")
    stage, reason = Stage(tree["stage"]), str(tree.get("reason", ""))
    return Problem(
        stage=stage,
        reason=reason,
        retryable=tree.get("retryable") is True,
        msg=str(tree.get("msg", "")),
        image=written,
        pending=(stage, reason) in recorded.pending,
    )


def _user(tree: Mapping[str, Any]) -> ImageUser:
    root = tree.get("root")
    source = tree.get("source")
    return ImageUser(
        raw=str(tree.get("raw", "")),
        uid=tree["uid"] if type(tree.get("uid")) is int else None,
        gid=tree["gid"] if type(tree.get("gid")) is int else None,
        name=str(tree.get("name", "")),
        source=UserSource(source) if source in set(UserSource) else UserSource.UNRESOLVED,
        root=root if isinstance(root, bool) else None,
    )


def _not_recorded(
    written: str, tree: Mapping[str, Any], problems: Sequence[Problem], needs: frozenset[Need]
) -> list[Problem]:
    """A recorded decision holds the facts that its policies needed; other policies may need more."""
    if problems and tree["digest"] is None:
        return []
    if tree["digest"] is None:
        return [_missing(written, Stage.REGISTRY, "digest")]
    told = {problem.stage for problem in problems}
    return [
        _missing(written, stage, what)
        for need, (stage, what) in _MISSING.items()
        if need in needs and stage not in told and not _holds(tree, need)
    ]


def _holds(tree: Mapping[str, Any], need: Need) -> bool:
    if need is Need.COMPONENTS:
        return all(sbom.get("components") is not None for sbom in tree["sboms"])
    inside = [platform["contents"] for platform in tree["platforms"]]
    if need is Need.CONTENTS:
        return all(contents.get("status") == "complete" for contents in inside)
    return all(contents.get("packages") is not None for contents in inside)


def _missing(written: str, stage: Stage, what: str) -> Problem:
    message = f"its {what} were not recorded; record them with portcullis inspect {clean(written, 200)} -o json"
    return Problem(stage, "facts-not-recorded", retryable=False, msg=message, image=written)
