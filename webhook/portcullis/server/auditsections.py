"""The section ``audit`` of portcullis.yaml: where decisions are recorded, how they are kept, who may read them."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from portcullis.audit.databaseurl import read_address, with_password_file
from portcullis.errors import ConfigError
from portcullis.server.keepsections import CheckpointsSection, RetentionSection
from portcullis.server.pagesections import PagesSection
from portcullis.server.recordingsections import Redaction, SinkSection
from portcullis.server.sectionbase import ConfigPath, Section

_SQLITE = "sqlite:///"


def _whole_url(url: str, info: ValidationInfo) -> str:
    """With the whole path of a file, and with the file of the password: whoever opens it needs no other key."""
    if not url:
        return url
    path = url.removeprefix(_SQLITE)
    if url.startswith(_SQLITE) and path and not path.startswith(("/", ":")):
        url = f"{_SQLITE}{Path((info.context or {}).get('base', Path())).absolute() / path}"
    password_file = info.data.get("password_file")
    try:
        read_address(url)
        return url if password_file is None else with_password_file(url, password_file)
    except ConfigError as error:
        raise ValueError(error.message.removeprefix("audit.database").lstrip(": ")) from None


class Audit(Section):
    """Where decisions are recorded."""

    password_file: ConfigPath | None = None
    """Holds the password of a PostgreSQL user; read anew for each connection."""
    database: Annotated[str, AfterValidator(_whole_url)] = ""
    """``sqlite:////absolute/path/audit.db``; with three slashes the path is relative to this file. Or
    ``postgresql://user@host:5432/name?sslmode=verify-full&sslrootcert=/path/ca.crt``."""
    journal: ConfigPath | None = None
    """The file that takes records while the database is down; by default beside a SQLite database, ``.journal`` added.
    With PostgreSQL it must be named."""
    replica: str = ""
    """The name of this replica in its chain of records; by default the host's."""
    checkpoints: CheckpointsSection = CheckpointsSection()
    retention: RetentionSection = RetentionSection()
    pages: PagesSection = PagesSection()
    redaction: Redaction = Redaction()
    sinks: Annotated[tuple[SinkSection, ...], Field(max_length=10)] = ()
    """Where decisions go beside the database: none is waited for."""
    unverified_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 60
    """With ``server.pathSegment``: how many reviews a minute are recorded that came to another path; the others are
    counted only."""

    @model_validator(mode="after")
    def _password_of_what(self) -> "Audit":
        if self.password_file is not None and not self.database:
            raise ValueError("passwordFile needs database")
        return self
