"""Who may call the handlers of a test."""

from portcullis.server.callers import Callers
from portcullis.server.segments import PathSegments


def by_path(segment: str = "") -> Callers:
    """The API server is known by this word before ``/validate``; by nothing, where there is none."""
    return Callers(segments=PathSegments(segment), certificates=None)
