"""The facts of one decision, as they are handed to the policy document."""

from dataclasses import dataclass
from datetime import datetime

from portcullis.model.contents import Contents, ContentsStatus
from portcullis.model.decision import Problem
from portcullis.model.evidence import Evidence
from portcullis.model.image import BuildStep, ContainerUser, ImageReference, ImageUser, ResolvedImage
from portcullis.model.json import JSONObject
from portcullis.model.workload import Container


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of one image as written. A fact that could not be had is None and has a problem; a fact
    that no policy needs is None without one. ``users``, ``steps`` (the history, line by line) and ``contents`` are
    those of ``resolved.platforms``, in order; ``contents`` is empty unless ``contents_status`` is complete."""

    written: str
    reference: ImageReference | None
    resolved: ResolvedImage | None = None
    users: tuple[ImageUser, ...] = ()
    steps: tuple[tuple[BuildStep, ...], ...] = ()
    contents: tuple[Contents, ...] = ()
    contents_status: ContentsStatus = ContentsStatus.SKIPPED
    evidence: Evidence | None = None
    components: bool = False
    """Whether the components of SBOMs go into the policy input."""
    problems: tuple[Problem, ...] = ()
    recorded: JSONObject | None = None
    """Where the facts come from a recording: what goes into the policy input as it is, in the place of all else."""

    @property
    def stale_since(self) -> datetime | None:
        """Since when a registry has not confirmed what is used of it; None where all is fresh."""
        parts = (self.resolved, self.evidence)
        return min((part.stale_since for part in parts if part is not None and part.stale_since), default=None)


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """A container with the user that its first process gets."""

    container: Container
    user: ContainerUser
