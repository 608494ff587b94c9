"""High-water marks: how new the newest scan was that was ever seen.

Whoever may push can delete a scan that fails, and an older one that passes is the newest again. A mark remembers the
time of the newest one for each image, platform and scanner, whatever repository or tag it came by, and the older scan
is told that a newer one is gone. Only what was verified and accepted moves a mark: a mark that a stranger could move
would be a way to have every later scan refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from portcullis.model.evidence import AttestedScan, Evidence, PredicateClass
from portcullis.model.image import Digest, Platform, ResolvedImage

AHEAD = timedelta(minutes=5)
"""How far a scanner's clock may be ahead. Of a time beyond that no mark is made: it would never be met again."""


def mark_key(digest: Digest, about: PredicateClass, scanner: str, platform: Platform | None) -> str:
    """A short text, of which no part of a report can make another one's."""
    parts = (digest, about, scanner, "" if platform is None else str(platform))
    texts = [str(part).encode(errors="surrogatepass") for part in parts]
    return sha256(b"".join(b"%d:%s" % (len(text), text) for text in texts)).hexdigest()


def keys_of(scan: AttestedScan, image: ResolvedImage) -> Sequence[str]:
    """Every mark that speaks of what the scan looked at: statements are made of an index or of its platforms, and a
    newer one of either kind may be gone."""
    platform = scan.attestation.platform
    subjects = {scan.attestation.subject, image.digest}
    subjects |= {one.digest for one in image.platforms if one.platform == platform}
    return sorted(
        mark_key(subject, PredicateClass.VULNERABILITY, scan.report.scanner, platform) for subject in subjects
    )


def marks_of(evidence: Iterable[Evidence], now: datetime) -> Mapping[str, datetime]:
    """The marks that the evidence of some images makes, for :meth:`portcullis.ports.Marks.advance`.

    To be written after a request of a verified caller that is no dry run, and never for a command: what nobody asked
    for in earnest moves nothing.
    """
    marks: dict[str, datetime] = {}
    for scan in (scan for one in evidence for scan in one.scans):
        when, said = scan.report.scanned_at, scan.attestation
        if when is None or when > now + AHEAD:
            continue
        key = mark_key(said.subject, PredicateClass.VULNERABILITY, scan.report.scanner, said.platform)
        marks[key] = max(when, marks.get(key, when))
    return marks


def apply_marks(
    scans: Sequence[AttestedScan], image: ResolvedImage, marks: Mapping[str, datetime] | None, now: datetime
) -> tuple[AttestedScan, ...]:
    """``scans`` with what the marks say of them.

    A scan is told of a newer one where that is not among ``scans`` any more. One without a time cannot be shown to be
    the newer one.

    Args:
        marks: those of :func:`keys_of` that there are; None where they could not be had.
    """
    if marks is None:
        return tuple(replace(scan, newer_seen=None, mark_known=False) for scan in scans)
    present: dict[tuple[str, Platform | None], datetime] = {}
    for scan in scans:
        when, group = scan.report.scanned_at, _group(scan)
        if when is not None and when <= now + AHEAD:
            present[group] = max(when, present.get(group, when))
    return tuple(_marked(scan, image, marks, present.get(_group(scan))) for scan in scans)


def _marked(
    scan: AttestedScan, image: ResolvedImage, marks: Mapping[str, datetime], present: datetime | None
) -> AttestedScan:
    newest = _newest(marks[key] for key in keys_of(scan, image) if key in marks)
    gone = newest is not None and (present is None or newest > present)
    return replace(scan, newer_seen=newest if gone else None, mark_known=True)


def _newest(instants: Iterable[datetime]) -> datetime | None:
    return max(instants, default=None)


def _group(scan: AttestedScan) -> tuple[str, Platform | None]:
    return scan.report.scanner, scan.attestation.platform
