"""What is taken out of requests before they are judged and kept, and where decisions go beside the store."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from portcullis.audit.linear import MAX_CHARS
from portcullis.audit.redactionrules import MAX_RULES, RedactionRules, parse_path, parse_pattern
from portcullis.server.otlpsections import OtlpDestination
from portcullis.server.sectionbase import ConfigPath, Section


def _path(text: str) -> str:
    parse_path(text)
    return text


RedactionPath = Annotated[str, Field(max_length=MAX_CHARS), AfterValidator(_path)]
KeyGlob = Annotated[str, Field(min_length=1, max_length=400)]


class RedactionPattern(Section):
    """Text that goes wherever it stands."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    regex: Annotated[str, Field(min_length=1)]
    """In the syntax of Rust's regex crate, which is much like RE2's: no look-around, no back-references. A line in
    which it fits goes, but for a ``--name=`` or ``NAME=`` at its beginning."""

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str, info: ValidationInfo) -> str:
        parse_pattern(info.data.get("name", ""), regex)
        return regex


class Redaction(Section):
    """What is taken out of requests beside the secrets that are known by their form or their name."""

    annotations: Annotated[tuple[KeyGlob, ...], Field(max_length=MAX_RULES)] = ()
    """Globs of annotations whose values go: ``vault.example/*``."""
    labels: Annotated[tuple[KeyGlob, ...], Field(max_length=MAX_RULES)] = ()
    """The same of labels."""
    paths: Annotated[tuple[RedactionPath, ...], Field(max_length=MAX_RULES)] = ()
    """Places that go whole, from the AdmissionRequest on: ``object.spec.sources[*].auth``, ``userInfo.extra.*``."""
    patterns: Annotated[tuple[RedactionPattern, ...], Field(max_length=MAX_RULES)] = ()
    keep: Annotated[tuple[RedactionPath, ...], Field(max_length=MAX_RULES)] = ()
    """Places that stay although something there looks like a secret. Values of variables and of Secrets, and what the
    other keys say, go all the same."""

    def rules(self) -> RedactionRules:
        return RedactionRules(
            annotations=self.annotations,
            labels=self.labels,
            paths=tuple(map(parse_path, self.paths)),
            keep=tuple(map(parse_path, self.keep)),
            patterns=tuple(parse_pattern(pattern.name, pattern.regex) for pattern in self.patterns),
        )


class StdoutSinkSection(Section):
    """Lines of JSON on the standard output."""

    input: bool = False
    """Whether the judged input is in each, too."""


class FileSinkSection(Section):
    """Lines of JSON in a file that is rotated."""

    path: ConfigPath
    megabytes: Annotated[int, Field(ge=1, le=10_240)] = 100
    """Size of one file."""
    files: Annotated[int, Field(ge=1, le=100)] = 5
    """How many there are, the current one included."""
    input: bool = False
    """Whether the judged input is in each line, too."""


class OtlpSinkSection(OtlpDestination):
    """OpenTelemetry logs, by OTLP over HTTP."""

    input: bool = False
    """Whether the judged input is in each record, too."""


class SinkSection(Section):
    """One sink, of one kind."""

    stdout: StdoutSinkSection | None = None
    file: FileSinkSection | None = None
    otlp: OtlpSinkSection | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "SinkSection":
        if sum(kind is not None for kind in (self.stdout, self.file, self.otlp)) != 1:
            raise ValueError("one of stdout, file and otlp is expected")
        return self

    @property
    def kind(self) -> Literal["stdout", "file", "otlp"]:
        return "stdout" if self.stdout is not None else "file" if self.file is not None else "otlp"
