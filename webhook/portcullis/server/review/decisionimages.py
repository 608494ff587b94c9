"""The images and containers of one decision, from its judged input: as written, digest, platforms, evidence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from portcullis.model.decision import Decision, JudgedImage
from portcullis.server.review.imageevidence import EvidenceFacts, evidence_facts
from portcullis.server.review.imagefacts import ImageFacts, Seen, image_facts
from portcullis.server.review.loose import Tree, flag, rows, text, tree, trees, whole

SHOWN_IN_FULL = 12
"""Images with all that is known; the others are listed, and each has a page."""
SHOWN = 300
SHOWN_CONTAINERS = 300


@dataclass(frozen=True, slots=True)
class ContainerView:
    """``root`` is None where nobody knows."""

    name: str
    kind: str
    image: str
    uid: int | None
    user: str
    source: str
    root: bool | None


@dataclass(frozen=True, slots=True)
class ImageView:
    """``facts`` and ``evidence`` are None where the input does not hold them, or too many images do."""

    written: str
    digest: str
    stale_since: datetime | None
    containers: tuple[str, ...]
    facts: ImageFacts | None
    evidence: EvidenceFacts | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What was judged. ``more_images`` and ``more_containers`` are not listed."""

    images: tuple[ImageView, ...]
    containers: tuple[ContainerView, ...]
    more_images: int
    more_containers: int


def judged(decision: Decision, document: Tree) -> Judged:
    """Args:
    document: the judged input, decoded; empty where there is none. May be of any version.
    """
    containers = tuple(_containers(document))
    images = tree(document.get("images"))
    shown = decision.images[:SHOWN]
    return Judged(
        images=tuple(
            _image(decision, image, images if number < SHOWN_IN_FULL else {}, containers)
            for number, image in enumerate(shown)
        ),
        containers=containers,
        more_images=len(decision.images) - len(shown),
        more_containers=max(len(rows(document.get("containers"))) - SHOWN_CONTAINERS, 0),
    )


def _image(
    decision: Decision, image: JudgedImage, images: Mapping[str, object], containers: Sequence[ContainerView]
) -> ImageView:
    found = tree(images.get(image.written))
    seen = [Seen(decision.id, decision.decided_at, found)] if found else []
    written = text(image.written, 1024)
    return ImageView(
        written=image.written,
        digest=image.digest,
        stale_since=image.stale_since,
        containers=tuple(one.name for one in containers if one.image == written),
        facts=image_facts(seen) if seen else None,
        evidence=evidence_facts(seen) if seen else None,
    )


def _containers(document: Tree) -> Iterator[ContainerView]:
    for one in trees(document.get("containers"), SHOWN_CONTAINERS):
        user = tree(one.get("user"))
        yield ContainerView(
            name=text(one.get("name")),
            kind=text(one.get("kind")),
            image=text(one.get("image"), 1024),
            uid=whole(user.get("uid")),
            user=text(user.get("name")),
            source=text(user.get("source")),
            root=flag(user.get("root")),
        )
