"""The facts of one decision, as they are handed to the policy document."""

from dataclasses import dataclass

from portcullis.model.decision import Problem
from portcullis.model.evidence import Evidence
from portcullis.model.image import ContainerUser, ImageReference, ImageUser, ResolvedImage
from portcullis.model.workload import Container


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of one image as written. A fact that could not be had is None and has a problem; a fact
    that no policy needs is None without one. ``users`` are those of ``resolved.platforms``, in order."""

    written: str
    reference: ImageReference | None
    resolved: ResolvedImage | None = None
    users: tuple[ImageUser, ...] = ()
    evidence: Evidence | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """A container with the user that its first process gets."""

    container: Container
    user: ContainerUser
