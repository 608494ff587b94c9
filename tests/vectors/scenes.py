"""Images with what somebody attached to them, honest or not, and the routes by which a registry serves both.

Times are real ones: what stands here is judged by a program that looks at the clock.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from fakes import attached
from fakes.faulty import Route
from fakes.oci import stored_routes
from fakes.registry import AMD64, MemoryRegistry, image_config
from portcullis.model.image import Digest, Platform, Repository
from vectors import attestations as made
from vectors import reports, sigstore

PRODUCT = ec.generate_private_key(ec.SECP256R1())
LOGGED = ec.generate_private_key(ec.SECP256R1())
OLD = ec.generate_private_key(ec.SECP256R1())

NOW = datetime.fromtimestamp(int(time.time()), UTC)
SIGNED_AT = NOW - timedelta(minutes=15)
"""When identities signed: their certificates have ended since."""

NIGHTLY = "https://github.com/acme/web/.github/workflows/nightly.yml@refs/heads/main"

BILL = "https://cyclonedx.org/bom"
OPENVEX = "https://openvex.dev/ns/v0.2.0"
CVE = "CVE-2026-0001"
CRITICAL = reports.finding(CVE, "CRITICAL")


def ago(**parts: float) -> str:
    return (NOW - timedelta(**parts)).isoformat().replace("+00:00", "Z")


def trust_section(host: str, **more: Any) -> dict[str, Any]:
    """Everybody has one thing to say: "release" bills, "product" VEX, and the others scans."""
    keys = {"ci": made.CI, "release": made.RELEASE, "product": PRODUCT, "old": OLD}
    signers: dict[str, Any] = {name: {"key": {"pem": made.pem(key).decode()}} for name, key in keys.items()}
    signers["logged"] = {"key": {"pem": made.pem(LOGGED).decode(), "logRoot": "ours"}}
    signers["workflow"] = {
        "keyless": {"issuer": sigstore.ISSUER, "identity": sigstore.PATTERN, "root": "ours"},
    }
    signers["nightly"] = {
        "keyless": {"issuer": sigstore.ISSUER, "identity": re.escape(NIGHTLY), "root": "stamped"},
    }
    accept = [
        {"predicates": ["vulnerability"], "signers": ["ci", "old", "logged", "workflow", "nightly"]},
        {"predicates": ["sbom"], "signers": ["release"]},
        {"predicates": ["vex"], "signers": ["product"], "maxAgeHours": 24},
    ]
    rules = [{"images": [f"{host}/acme/**"], "accept": accept}]
    roots = {name: {"file": f"{name}.json"} for name in ("ours", "stamped")}
    return {"signers": signers, "roots": roots, "rules": rules, **more}


def write_roots(folder: Path) -> None:
    """One with logs, and one whose authority for time-stamps alone tells the time."""
    (folder / "ours.json").write_text(json.dumps(sigstore.trusted_root()))
    (folder / "stamped.json").write_text(json.dumps(sigstore.trusted_root(tlogs=[])))


@dataclass
class Scene:
    """One image ``acme/NAME:1``; ``routes`` are those that do not follow from what is attached."""

    host: str
    name: str
    platforms: Sequence[Platform] = (AMD64,)
    memory: MemoryRegistry = field(default_factory=MemoryRegistry)
    routes: dict[str, Route] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place = Repository(self.host, f"acme/{self.name}")
        # No two scenes have one digest, so that nothing is known of one by another.
        configs = {one: image_config("10001", labels={"scene": self.name}) for one in self.platforms}
        self.image = self.memory.add_image(str(self.place), "1", configs=configs)

    @property
    def written(self) -> str:
        return f"{self.place}:1"

    @property
    def base(self) -> str:
        return f"/v2/{self.place.path}"

    def served(self) -> Mapping[str, Route]:
        return stored_routes(self.memory, self.place) | self.routes

    # -- what is said ------------------------------------------------------------------------------------------

    def statement(self, predicate: object, kind: str, subject: Digest | None = None) -> bytes:
        about = [{"name": str(self.place), "digest": {"sha256": (subject or self.image.digest).hex}}]
        return made.compact(made.statement(subject=about, predicate=predicate, predicate_type=kind))

    def scan(self, *findings: dict[str, Any], at: str = "", of: Digest | None = None) -> bytes:
        """A statement with Trivy's report for linux/amd64, of an hour ago unless said otherwise."""
        report = reports.trivy(
            *findings,
            CreatedAt=at or ago(hours=1),
            ArtifactName=self.written,
            Metadata={
                "OS": {"Family": "debian", "Name": "12.5"},
                "RepoDigests": [f"{self.place}@{of or self.image.digest}"],
                "ImageConfig": {"architecture": "amd64", "os": "linux"},
            },
        )
        return self.statement(reports.vuln(report), made.VULN, of)

    def bill(self) -> bytes:
        document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}
        return self.statement(document, BILL)

    def vex(self, *, at: str = "", product: str = "") -> bytes:
        """Says that the image, or another product, is not affected by :data:`CVE`."""
        said: dict[str, Any] = {
            "vulnerability": {"name": CVE},
            "status": "not_affected",
            "justification": "vulnerable_code_not_present",
        }
        if product:
            said["products"] = [{"@id": product}]
        document = {
            "@context": OPENVEX,
            "@id": f"https://acme.example/vex/{self.name}",
            "author": "acme",
            "timestamp": at or ago(hours=1),
            "version": 1,
            "statements": [said],
        }
        return self.statement(document, OPENVEX)

    # -- who says it, and where --------------------------------------------------------------------------------

    def attach(self, content: bytes, media_type: str = made.BUNDLE) -> Digest:
        return self.memory.add_referrer(self.image, media_type, media_type, content).digest

    def sign(self, payload: bytes, key: ec.EllipticCurvePrivateKey = made.CI) -> Digest:
        return self.attach(keyed(payload, key))

    def tag(self, payload: bytes, key: ec.EllipticCurvePrivateKey) -> Digest:
        """As cosign up to 2 attaches it."""
        layers = [attached.layer(self.memory, self.place, made.compact(made.envelope(payload, key)), made.DSSE)]
        return attached.tag_attached(self.memory, self.place, self.image.digest, "att", layers)

    def blob_path(self, content: bytes) -> str:
        return f"{self.base}/blobs/{attached.layer(self.memory, self.place, content, '')['digest']}"


def keyed(payload: bytes, key: ec.EllipticCurvePrivateKey = made.CI) -> bytes:
    """A bundle of that payload, whatever it is."""
    return made.compact(made.bundle(made.envelope(payload, key), key_hint=made.hint(key)))


_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256."""


def twin_of(content: bytes) -> bytes:
    """A bundle with (r, n-s) in place of (r, s), which holds as well."""
    bundle = json.loads(content)
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    r, s = decode_dss_signature(base64.b64decode(signature["sig"]))
    signature["sig"] = sigstore.b64(encode_dss_signature(r, _ORDER - s))
    return made.compact(bundle)


def _ended(identity: str = sigstore.IDENTITY) -> sigstore.Holder:
    """A certificate that has ended since."""
    start, end = SIGNED_AT - timedelta(minutes=5), SIGNED_AT + timedelta(minutes=5)
    names = [x509.UniformResourceIdentifier(identity)]
    return sigstore.leaf(names=names, start=start, end=end, announced=((sigstore.CT_KEY, start),))


def keyless(payload: bytes, entry: Callable[[sigstore.Made], Mapping[str, Any]] | None = None) -> bytes:
    """A bundle by "workflow" with an entry of the log, which gives it a time; or with another ``entry``."""

    def good(one: sigstore.Made) -> Mapping[str, Any]:
        return sigstore.entry(sigstore.dsse(one), SIGNED_AT)

    return made.compact(sigstore.bundle(payload, _ended(), entries=lambda one: [(entry or good)(one)]))


def stamped(payload: bytes, *, by: sigstore.Holder | None = sigstore.TSA) -> bytes:
    """A bundle by "nightly" with a time-stamp of that authority, or with none."""
    stamps = lambda signature: [] if by is None else [sigstore.stamp(signature, SIGNED_AT, by)]  # noqa: E731
    return made.compact(sigstore.bundle(payload, _ended(NIGHTLY), entries=lambda _: [], stamps=stamps))


def logged(payload: bytes, *, entry_of: bytes | None = None) -> bytes:
    """A bundle by the key whose signatures must be logged; its entry may be that of another payload."""
    inner = made.envelope(payload, LOGGED)
    said = payload if entry_of is None else entry_of
    signature = base64.b64decode(inner["signatures"][0]["sig"]) if entry_of is None else made.signature(said, LOGGED)
    public = sigstore.der(LOGGED.public_key())
    body = sigstore.dsse(
        sigstore.Made(sigstore.pre_authenticated(said), signature, said, made.pem(LOGGED), public, is_certificate=False)
    )
    entries = [sigstore.entry(body, SIGNED_AT)]
    material: dict[str, Any] = {"publicKey": {"hint": made.hint(LOGGED)}, "tlogEntries": entries}
    return made.compact(made.bundle(inner, **material))
