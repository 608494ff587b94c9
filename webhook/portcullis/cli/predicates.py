"""What ``attest`` signs: a report wrapped as verifiers expect it, checked against the image it is said to be about."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from portcullis.errors import ConfigError
from portcullis.evidence.attest import PREDICATE_TYPES, lint_predicate, read_predicate, vuln_predicate
from portcullis.evidence.decode import parse_json
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports import read_report
from portcullis.evidence.targets import require_fact_of
from portcullis.limits import Limits
from portcullis.model.evidence import Evaluation, LintReport, ReadFact, ScanReport
from portcullis.model.image import ResolvedImage
from portcullis.model.json import JSONObject
from portcullis.text import clean

VULN = "vuln"
LINT = "lint"

_ADDRESSES: Mapping[str, str] = MappingProxyType(
    {
        "trivy": "https://trivy.dev",
        "grype": "https://github.com/anchore/grype",
        "anchore": "https://anchore.com",
        "clair": "https://github.com/quay/clair",
        "docker-scout": "https://docs.docker.com/scout",
    }
)
"""Of the scanners, for ``scanner.uri`` of cosign's predicate."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """``warnings`` are what the signer should know before the world does."""

    predicate: JSONObject
    predicate_type: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What whoever signs says beside the report, for reports that do not say it themselves.

    Args:
        made: when the report was made, with a zone.
        dockerfile: sha256 of the Dockerfile that was linted, in hex.
    """

    made: datetime | None = None
    dockerfile: str = ""


NOTHING = Given()


def predicate_type_of(text: str) -> str:
    """The type URI for what ``--type`` says: a short name as cosign has them, or a URI.

    Raises:
        ConfigError: neither.
    """
    if text in PREDICATE_TYPES:
        return PREDICATE_TYPES[text]
    if urlsplit(text).scheme in ("http", "https") and urlsplit(text).netloc:
        return text
    known = ", ".join(sorted(PREDICATE_TYPES))
    raise ConfigError(f"{clean(text, 200)!r} is no predicate type: give one of {known}, or a URI")


def prepare(content: bytes, kind: str, image: ResolvedImage, limits: Limits, given: Given = NOTHING) -> Prepared:
    """The predicate from a file's ``content``.

    With type ``vuln`` the file is a scanner's report, of any form that is read, which is wrapped with its own time as
    the time of the scan; with ``lint`` Hadolint's, JSON or SARIF; with any other type it is the predicate itself.

    Raises:
        ConfigError: it cannot be read, or it is evidently about another image.
    """
    predicate_type = predicate_type_of(kind)
    wrap = _WRAPPERS.get(kind)
    if wrap is None:
        return Prepared(read_predicate(content, limits), predicate_type)
    tree, fact = _read(content, image, limits)
    return Prepared(wrap(tree, fact, given), predicate_type, tuple(_warnings(fact, image)))


def _read(content: bytes, image: ResolvedImage, limits: Limits) -> tuple[Any, ReadFact]:
    """The report, as it is and as it is understood; the gate would refuse it otherwise, too."""
    if len(content) > limits.attestation_bytes:
        raise ConfigError(f"the report has {len(content)} bytes; the limit is {limits.attestation_bytes}")
    try:
        tree = parse_json(content, limits=limits, what="the report")
        fact = read_report(content, limits)
        require_fact_of(fact, image, image.digest)
    except EvidenceError as error:
        raise ConfigError(
            f"the report cannot be attested for {image.reference}\n{error.message}\nthe image is {image.digest}"
        ) from None
    return tree, fact


def _vuln(tree: Any, fact: ReadFact, given: Given) -> JSONObject:
    if not isinstance(fact, ScanReport | Evaluation):
        raise ConfigError(f"type vuln takes the report of a scanner; this is {_called(fact)}")
    made = fact.scanned_at if isinstance(fact, ScanReport) else fact.evaluated_at
    moment = made or given.made
    if moment is None:
        raise ConfigError("the report does not say when the scan was made, and a guess would be signed: give --made")
    scanner = fact.scanner if isinstance(fact, ScanReport) else fact.tool
    version = fact.scanner_version if isinstance(fact, ScanReport) else ""
    return vuln_predicate(
        tree,
        started=moment,
        finished=moment,
        scanner_uri=_ADDRESSES.get(scanner, ""),
        scanner_version=version,
    )


def _lint(tree: Any, fact: ReadFact, given: Given) -> JSONObject:
    if not isinstance(fact, LintReport):
        raise ConfigError(f"type lint takes the report of Hadolint; this is {_called(fact)}")
    return lint_predicate(
        tree, tool=fact.tool, version=fact.tool_version, linted=given.made, dockerfile=given.dockerfile
    )


_WRAPPERS: Mapping[str, Callable[[Any, ReadFact, Given], JSONObject]] = MappingProxyType({VULN: _vuln, LINT: _lint})


def _called(fact: ReadFact) -> str:
    names = {"ScanReport": "a scanner's report", "LintReport": "a linter's report", "VexDocument": "a VEX document"}
    return names.get(type(fact).__name__, f"a document of another kind ({type(fact).__name__})")


def _warnings(fact: ReadFact, image: ResolvedImage) -> Iterator[str]:
    if isinstance(fact, ScanReport | LintReport) and not fact.complete:
        yield f"the report is incomplete: {fact.incomplete_because}"
    if isinstance(fact, ScanReport) and len(image.platforms) > 1:
        yield (
            f"the image has {len(image.platforms)} platforms, and this report is about "
            f"{fact.platform or 'one of them'}; the others need theirs"
        )
