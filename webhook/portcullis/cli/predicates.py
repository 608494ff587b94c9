"""What ``attest`` signs: a report wrapped as verifiers expect it, checked against the image it is said to be about."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from portcullis.errors import ConfigError
from portcullis.evidence.attest import PREDICATE_TYPES, read_predicate, vuln_predicate
from portcullis.evidence.gather import require_report_of
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.trivy import is_trivy, parse_trivy
from portcullis.limits import Limits
from portcullis.model.evidence import ScanReport
from portcullis.model.image import ResolvedImage
from portcullis.model.json import JSONObject
from portcullis.text import clean

VULN = "vuln"
TRIVY = "https://trivy.dev"


@dataclass(frozen=True, slots=True)
class Prepared:
    """``warnings`` are what the signer should know before the world does."""

    predicate: JSONObject
    predicate_type: str
    warnings: tuple[str, ...] = ()


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


def prepare(content: bytes, kind: str, image: ResolvedImage, limits: Limits) -> Prepared:
    """The predicate from a file's ``content``.

    With type ``vuln`` the file is Trivy's JSON report (``trivy image --format json``), which is wrapped with its
    own time as the time of the scan; with any other type it is the predicate itself.

    Raises:
        ConfigError: it cannot be read, or it is evidently about another image.
    """
    predicate_type = predicate_type_of(kind)
    document = read_predicate(content, limits)
    if kind != VULN:
        return Prepared(document, predicate_type)
    if not is_trivy(document):
        raise ConfigError("type vuln takes Trivy's JSON report: trivy image --format json --output FILE IMAGE")
    try:
        report = parse_trivy(document, limits)
        require_report_of(report, image)  # the gate would refuse it, too
    except EvidenceError as error:
        raise ConfigError(
            f"the report cannot be attested for {image.reference}\n{error.message}\nthe image is {image.digest}"
        ) from None
    if report.scanned_at is None:
        raise ConfigError("the report does not say when the scan was made (CreatedAt), and a guess would be signed")
    wrapped = vuln_predicate(
        document,
        started=report.scanned_at,
        finished=report.scanned_at,
        scanner_uri=TRIVY,
        scanner_version=report.scanner_version,
    )
    return Prepared(wrapped, predicate_type, tuple(_warnings(report, image)))


def _warnings(report: ScanReport, image: ResolvedImage) -> Iterator[str]:
    if not report.complete:
        yield f"the report is incomplete: {report.incomplete_because}"
    if len(image.platforms) > 1:
        yield (
            f"the image has {len(image.platforms)} platforms, and this report is about "
            f"{report.platform or 'one of them'}; the others need theirs"
        )
