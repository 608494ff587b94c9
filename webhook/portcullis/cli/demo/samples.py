"""The images of the demo, and what was attested about them. Each but the first has one thing wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from portcullis.cli.demo.extras import EXTRAS
from portcullis.cli.demo.images import AMD64, ARM64, Image, app_layer, base_layer, image, index
from portcullis.cli.demo.reports import CRITICAL, LOW, Finding
from portcullis.model.image import Platform

CI = "ci"
PRODUCT = "product-security"
STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Scan:
    """A signed scan report. ``about`` names the sample whose digest was signed, "" for the image it hangs on."""

    age: timedelta = timedelta(hours=6)
    findings: tuple[Finding, ...] = (LOW,)
    signer: str = CI
    about: str = ""


@dataclass(frozen=True, slots=True)
class Vex:
    """A signed OpenVEX document that says that the image is not affected by these vulnerabilities."""

    vulnerabilities: tuple[str, ...]
    signer: str = PRODUCT
    age: timedelta = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: ``users`` is the USER of each platform, amd64 first; ``scan`` None for an image without. ``extra``
    names the layers of extras.py that lie between the base and the program."""

    name: str
    what: str
    repository: str
    tag: str
    users: tuple[str, ...] = ("10001:10001",)
    scan: Scan | None = field(default_factory=Scan)
    vex: Vex | None = None
    extra: str = ""


SAMPLES: Sequence[Sample] = (
    Sample("clean", "numeric non-root user, fresh clean scan", "acme/web", "1.4.2"),
    Sample("root", "no USER at all", "acme/legacy", "2.1.0", users=("",)),
    Sample("named", "USER is a name, of a user who is not root", "acme/mailer", "0.9.3", users=("app",)),
    Sample("named-root", "USER is a name whose uid is 0", "acme/pager", "1.0.2", users=("app",), extra="other-passwd"),
    Sample("two-platforms", "arm64 runs as root", "acme/agent", "3.0.1", users=("10001", "0")),
    Sample("critical", "a critical vulnerability", "acme/importer", "5.2.0", scan=Scan(findings=(CRITICAL, LOW))),
    Sample(
        "excused",
        "a critical vulnerability that VEX sets aside",
        "acme/archiver",
        "2.0.4",
        scan=Scan(findings=(CRITICAL, LOW)),
        vex=Vex((CRITICAL.id,)),
    ),
    Sample(
        "self-excused",
        "the same, signed by the scanner's own key",
        "acme/unpacker",
        "2.0.1",
        scan=Scan(findings=(CRITICAL, LOW)),
        vex=Vex((CRITICAL.id,), signer=CI),
    ),
    Sample("stale", "last scanned 45 days ago", "acme/reporter", "1.1.8", scan=Scan(age=timedelta(days=45))),
    Sample("stranger", "scan signed by an unknown key", "acme/gateway", "4.4.0", scan=Scan(signer=STRANGER)),
    Sample("borrowed", "carries the scan of another image", "acme/search", "2.7.5", scan=Scan(about="clean")),
    Sample("shell", "a shell and a package manager", "acme/portal", "6.1.0", extra="shell"),
    Sample("toolchain", "a compiler and git", "acme/builder", "0.2.9", extra="toolchain"),
    Sample("secret", "a private key, deleted too late", "acme/deployer", "3.3.1", extra="deleted-key"),
    Sample("unscanned", "no scan", "acme/model", "0.3.0", scan=None),
)

MISSING = "acme/vanished:9.9.9"
"""A tag that nobody pushed."""


def build(samples: Sequence[Sample], now: datetime) -> Mapping[str, Image]:
    """The images by their names, all made two days before ``now``."""
    created = (now - timedelta(days=2)).replace(microsecond=0)
    return {sample.name: _build(sample, created) for sample in samples}


def _build(sample: Sample, created: datetime) -> Image:
    platforms = (AMD64, ARM64)[: len(sample.users)]
    images = [
        (platform, _build_platform(sample, platform, user, created))
        for platform, user in zip(platforms, sample.users, strict=True)
    ]
    return images[0][1] if len(images) == 1 else index(images)


def _build_platform(sample: Sample, platform: Platform, user: str, created: datetime) -> Image:
    program = sample.repository.rpartition("/")[2]
    extra = EXTRAS[sample.extra]() if sample.extra else ()
    labels = {
        "org.opencontainers.image.title": program,
        "org.opencontainers.image.version": sample.tag,
        "org.opencontainers.image.description": sample.what,
        "org.opencontainers.image.source": f"https://git.example.test/{sample.repository}",
    }
    return image(
        [base_layer(), *extra, app_layer(program, sample.tag)],
        platform=platform,
        user=user,
        created=created,
        entrypoint=[f"/app/{program}"],
        labels=labels,
    )
