"""The section ``audit`` of portcullis.yaml: where decisions are recorded, how they are kept, who may read them."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from portcullis.server.pagesections import PagesSection
from portcullis.server.recordingsections import Redaction, SinkSection
from portcullis.server.sectionbase import ConfigPath, Section

_SQLITE = "sqlite:///"


def _anchored_url(url: str, info: ValidationInfo) -> str:
    path = url.removeprefix(_SQLITE)
    if url.startswith(_SQLITE) and path and not path.startswith(("/", ":")):
        return f"{_SQLITE}{Path((info.context or {}).get('base', Path())).absolute() / path}"
    return url


class Audit(Section):
    """Where decisions are recorded."""

    database: Annotated[str, AfterValidator(_anchored_url)] = ""
    """``sqlite:////absolute/path/audit.db``; with three slashes the path is relative to this file."""
    journal: ConfigPath | None = None
    """The file that takes records while the database is down; by default beside the database, ``.journal`` added."""
    replica: str = ""
    """The name of this replica in its chain of records; by default the host's."""
    pages: PagesSection = PagesSection()
    redaction: Redaction = Redaction()
    sinks: Annotated[tuple[SinkSection, ...], Field(max_length=10)] = ()
    """Where decisions go beside the database: none is waited for."""
    unverified_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 60
    """With ``server.pathSegment``: how many reviews a minute are recorded that came to another path; the others are
    counted only."""
