"""What a report is about: the image, and which of its platforms.

A signature binds a statement to a digest, and the report in it to nothing: a pipeline that signs the wrong file would
clear the right image. So whatever a report says of the image that was looked at must fit:

 (1) the digests in it, of an index, a manifest or a configuration, name the judged image or one of its platforms;
 (2) where the statement is about one platform, they do not name another one;
 (3) where it has no digests although reports of its kind do, it could be of anything;
 (4) the platform that it says it looked at is that of the statement, where that is about one.

A statement about an index counts for the platform that its report names. Which that is, the digests say best, then the
architecture; the variant is often left out. A platform is given in the image's own spelling.
"""

from collections.abc import Collection, Sequence

from portcullis.evidence.refusal import REPORT_SUBJECT_MISMATCH, ReportError, shown
from portcullis.model.evidence import Evaluation, ReadFact, Sbom, ScanReport
from portcullis.model.image import Digest, Platform, PlatformImage, ResolvedImage

_NAMING = frozenset({"trivy-json", "grype-json", "clair-json"})
"""Formats whose reports of images name them by a digest."""


def require_fact_of(fact: ReadFact, image: ResolvedImage, subject: Digest) -> Platform | None:
    """The platform that ``fact`` is about, None for the whole image.

    What names no image, as a linter's report does, is bound by the statement's subject alone.

    Raises:
        ReportError: it is about something else than ``image``, or than what ``subject`` names.
    """
    signed = platform_of(subject, image)
    named = _named(fact)
    about = [one for one in image.platforms if one.digest in named or one.config_digest in named]
    if named and not about and image.digest not in named:  # (1)
        raise ReportError(f"the report is of {_shown_target(fact, named)}", REPORT_SUBJECT_MISMATCH)
    if signed is not None and about and signed not in {one.platform for one in about}:  # (2)
        raise ReportError(
            f"the statement is about {signed}, the report of the image of {about[0].platform}", REPORT_SUBJECT_MISMATCH
        )
    if not isinstance(fact, ScanReport):
        return signed or _only(about)
    if not named and fact.format in _NAMING:  # (3)
        raise ReportError("the report does not say of which image it is", REPORT_SUBJECT_MISMATCH)
    if signed is not None and fact.platform is not None and not fact.platform.fits(signed):  # (4)
        raise ReportError(
            f"the statement is about {signed}, and the scanner looked at {shown(fact.platform)}",
            REPORT_SUBJECT_MISMATCH,
        )
    return signed or _only(about) or _looked_at(fact.platform, image.platforms)


def platform_of(subject: Digest, image: ResolvedImage) -> Platform | None:
    """The platform that a digest is the manifest of; None for the digest of an index."""
    platforms = [one.platform for one in image.platforms if one.digest == subject]
    if platforms:
        return platforms[0]
    # A single image is asked for by its own digest; what lists it may call it otherwise.
    return image.platforms[0].platform if not image.is_index and image.platforms else None


def _named(fact: ReadFact) -> Collection[str]:
    match fact:
        case ScanReport():
            # The configuration counts where no manifest is named, because an archive was looked at.
            return fact.target_digests or ((fact.target_image_id,) if fact.target_image_id else ())
        case Evaluation() | Sbom():
            return fact.target_digests
        case _:
            return ()


def _shown_target(fact: ReadFact, named: Collection[str]) -> str:
    by_configuration = isinstance(fact, ScanReport) and not fact.target_digests
    what = "an image with the configuration" if by_configuration else "the image"
    return f"{what} {next(iter(named))}"


def _only(about: Sequence[PlatformImage]) -> Platform | None:
    platforms = {one.platform for one in about}
    return platforms.pop() if len(platforms) == 1 else None


def _looked_at(platform: Platform | None, platforms: Sequence[PlatformImage]) -> Platform | None:
    if platform is None:
        return None
    found = {one.platform for one in platforms if platform.fits(one.platform)}
    return found.pop() if len(found) == 1 else None
