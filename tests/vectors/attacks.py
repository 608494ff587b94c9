"""What somebody who can push to a repository, or who runs the registry, may try; and what must come of it."""
# ruff: noqa: E501  (tables: one attack, one line)

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from fakes import attached
from fakes.faulty import Answer, Asked
from fakes.oci import index_bytes, manifest_answer, referrers_answer
from fakes.registry import AMD64, ARM64, EMPTY, INDEX, MANIFEST, sha256
from portcullis.evidence.mediatypes import JWS
from portcullis.model.image import Descriptor, Platform
from vectors import attestations as made
from vectors import reports, sigstore
from vectors.scenes import (
    CRITICAL,
    LOGGED,
    OLD,
    PRODUCT,
    SIGNED_AT,
    Scene,
    ago,
    keyed,
    keyless,
    logged,
    stamped,
    twin_of,
)

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Attack:
    """``code`` is that of the answer, 200 where it is allowed; ``says`` stands in its message. ``slow``: the registry
    makes the gate wait."""

    name: str
    code: int
    says: str
    make: Callable[[Scene], object] = field(repr=False)
    platforms: Sequence[Platform] = (AMD64,)
    slow: bool = False


def attacks() -> Sequence[Attack]:
    return [*_SIGNERS, *_TIMES, *_CONTENTS, *_QUANTITIES, *_REGISTRIES, *_VEX]


# -- who signed what -------------------------------------------------------------------------------------------------


def _forged(scene: Scene) -> None:
    bundle = json.loads(keyed(scene.scan(CRITICAL)))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(scene.scan()).decode()
    scene.attach(made.compact(bundle))


def _reused(scene: Scene) -> None:
    scene.sign(scene.scan(of=made.OTHER))


def _wrapped(scene: Scene) -> None:
    """The statement is of this image, and the report in it of another one."""
    other = Scene(scene.host, f"{scene.name}-other")
    inner = json.loads(other.scan())["predicate"]
    scene.sign(scene.statement(inner, made.VULN))


def _amd64_alone(scene: Scene) -> None:
    scene.sign(scene.scan())


def left_by_an_old_key(scene: Scene) -> None:
    """The bundle that says no is stripped, and what an old key signed is there still."""
    scene.tag(scene.scan(), OLD)


_SIGNERS = [
    Attack("old-form", 200, "", left_by_an_old_key),
    Attack("forged", 403, "attestation-invalid", _forged),
    Attack("reused", 403, "attestation-subject-mismatch", _reused),
    Attack("wrapped", 403, "report-subject-mismatch", _wrapped),
    Attack("another-key", 403, "attestation-untrusted", lambda scene: scene.sign(scene.scan(), made.STRANGER)),
    Attack("wrong-role", 403, "attestation-untrusted", lambda scene: scene.sign(scene.scan(), made.RELEASE)),
    Attack("wrong-type", 403, "has no vulnerability scan, only", lambda scene: scene.sign(scene.bill(), made.RELEASE)),
    Attack("twin-signature", 200, "", lambda scene: scene.attach(twin_of(keyed(scene.scan())))),
    Attack("amd64-alone", 403, "linux/arm64", _amd64_alone, (AMD64, ARM64)),
    Attack("notation-nobody-knows", 403, "attestations of another type", lambda scene: scene.attach(b"{}", JWS)),
    Attack("unsigned-report", 403, "attestation-unsigned", lambda scene: scene.attach(scene.scan(), made.IN_TOTO)),
]

# -- times that can be trusted ---------------------------------------------------------------------------------------


def _changed_entry(scene: Scene) -> None:
    def entry(one: sigstore.Made) -> dict[str, Any]:
        told = sigstore.entry(sigstore.dsse(one), SIGNED_AT)
        body = json.loads(base64.b64decode(told["canonicalizedBody"]))
        body["spec"]["envelopeHash"]["value"] = "1" * 64
        return {**told, "canonicalizedBody": base64.b64encode(made.compact(body)).decode()}

    scene.attach(keyless(scene.scan(), entry))


def _entry_of_another(scene: Scene) -> None:
    scene.attach(logged(scene.scan(), entry_of=scene.scan(CRITICAL)))


_TIMES = [
    Attack("certificate-logged", 200, "", lambda scene: scene.attach(keyless(scene.scan()))),
    Attack("certificate-stamped", 200, "", lambda scene: scene.attach(stamped(scene.scan()))),
    Attack("certificate-ended", 403, "attestation-expired", lambda scene: scene.attach(stamped(scene.scan(), by=None))),
    Attack("stamped-by-another", 403, "rejected (attestation-", lambda scene: scene.attach(stamped(scene.scan(), by=sigstore.OTHER_TSA))),
    Attack("changed-entry", 403, "rejected (attestation-", _changed_entry),
    Attack("logged-key", 200, "", lambda scene: scene.attach(logged(scene.scan()))),
    Attack("entry-of-another", 403, "attestation-unlogged", _entry_of_another),
    Attack("unlogged", 403, "attestation-unlogged", lambda scene: scene.sign(scene.scan(), LOGGED)),
    Attack("dated-after-signature", 403, "attestation-invalid", lambda scene: scene.attach(logged(scene.scan(at=ago(minutes=1))))),
]  # fmt: skip

# -- what is signed --------------------------------------------------------------------------------------------------


def _with(changed: Callable[[bytes], bytes]) -> Callable[[Scene], object]:
    """A statement that was changed before "ci" signed it."""
    return lambda scene: scene.sign(changed(scene.scan()))


def _in_envelope(changed: Callable[[bytes], bytes]) -> Callable[[Scene], object]:
    """An envelope that was changed afterwards."""
    return lambda scene: scene.attach(changed(keyed(scene.scan())))


def _deep(text: bytes) -> bytes:
    return text[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


_CONTENTS = [
    Attack("deep-payload", 403, "too-large", _with(_deep)),
    Attack("deep-envelope", 403, "too-large", _in_envelope(_deep)),
    Attack("utf-16-payload", 403, "attestation-invalid", _with(lambda text: text.decode().encode("utf-16"))),
    Attack("utf-16-envelope", 403, "attestation-invalid", _in_envelope(lambda text: text.decode().encode("utf-16"))),
    Attack("nan", 403, "attestation-invalid", _with(lambda text: text[:-1] + b',"x":NaN}')),
    Attack("key-twice", 403, "stands twice", _with(lambda text: text[:-1] + b',"predicateType":"x"}')),
    Attack("key-twice-in-report", 403, "stands twice", _with(lambda text: text.replace(b'"SchemaVersion":2', b'"SchemaVersion":2,"Results":[]', 1))),
    Attack("other-case", 403, "attestation-invalid", _with(lambda text: text.replace(b'"predicateType"', b'"PredicateType"'))),
]  # fmt: skip

# -- too much --------------------------------------------------------------------------------------------------------


def _referrers(number: int) -> Sequence[Descriptor]:
    return [Descriptor(MANIFEST, sha256(b"%d" % one), 500, made.BUNDLE) for one in range(number)]


def _one_page(scene: Scene) -> None:
    scene.routes[f"{scene.base}/referrers/{scene.image.digest}"] = referrers_answer(_referrers(10_000))


def _hundred_pages(scene: Scene) -> None:
    path = f"{scene.base}/referrers/{scene.image.digest}"
    flood = _referrers(10_000)

    def page(asked: Asked) -> Answer:
        start = int(asked.query.partition("=")[2] or 0)
        more = {"Link": f'<{path}?last={start + 50}>; rel="next"'} if start + 50 < len(flood) else {}
        return referrers_answer(flood[start : start + 50], **more)

    scene.routes[path] = page


def _endless_pages(scene: Scene) -> None:
    path, number = f"{scene.base}/referrers/{scene.image.digest}", count()
    scene.routes[path] = lambda _: referrers_answer((), Link=f'<{path}?last={next(number)}>; rel="next"')


def _stated(scene: Scene, size: int) -> None:
    """A manifest whose layer, a good attestation, has so many bytes, as it says."""
    content = keyed(scene.scan())
    layer = attached.layer(scene.memory, scene.place, content, made.BUNDLE)
    scene.sign(scene.scan())
    about = {"mediaType": MANIFEST, "digest": scene.image.digest, "size": 2}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [{**layer, "size": size}], "subject": about}
    attached.refer(scene.memory, scene.place, scene.image.digest, document)


def _endless(scene: Scene) -> None:
    content = keyed(scene.scan())
    scene.attach(content)
    scene.routes[scene.blob_path(content)] = Answer(body=b" " * 65_536, endless=True)


def _findings(scene: Scene) -> None:
    row = {"VulnerabilityID": "CVE-1", "PkgName": "a", "Severity": "LOW"}
    scene.sign(scene.scan(*[row] * 100_001))


def _many_findings(scene: Scene) -> None:
    """Eleven reports, each within its bounds."""
    rows = [{"VulnerabilityID": f"C{number}", "PkgName": "a"} for number in range(99_999)]
    for number in range(11):
        scene.sign(scene.scan(*rows, at=ago(minutes=number + 1)))


_QUANTITIES = [
    Attack("referrers-in-one-page", 403, "the limit referrers is 100", _one_page),
    Attack("referrers-in-pages", 403, "the limit referrers is 100", _hundred_pages),
    Attack("endless-pages", 403, "the limit referrersPages of 20", _endless_pages),
    Attack("half-a-gigabyte", 403, "the limit attestationBytes is", lambda scene: _stated(scene, 500 * MIB)),
    Attack("stated-too-small", 403, "too-large", lambda scene: _stated(scene, 10)),
    Attack("endless-attestation", 403, "too-large", _endless),
    Attack("findings-of-many-reports", 403, "the limit evidenceRows is 200000", _many_findings),
    Attack("findings", 403, "the limit findings is 100000", _findings),
]

# -- registries that lie ---------------------------------------------------------------------------------------------


def _other_manifest(scene: Scene) -> None:
    digest = scene.sign(scene.scan())
    scene.routes[f"{scene.base}/manifests/{digest}"] = manifest_answer(b'{"schemaVersion": 2}')


def _other_blob(scene: Scene) -> None:
    content, other = keyed(scene.scan(CRITICAL)), keyed(scene.scan())
    scene.attach(content)
    scene.routes[scene.blob_path(content)] = Answer(body=other + b" " * (len(content) - len(other)))


def _missing_blob(scene: Scene) -> None:
    content = keyed(scene.scan(CRITICAL))
    scene.attach(content)
    scene.sign(scene.scan())
    scene.routes[scene.blob_path(content)] = Answer(404)


def _drip(scene: Scene) -> None:
    content = keyed(scene.scan())
    scene.attach(content)
    scene.routes[scene.blob_path(content)] = Answer(body=content, drip=1, pause=1.0)


def _other_subject(scene: Scene) -> None:
    """It lists a good attestation of this image that says of itself that it belongs to another one."""
    layer = attached.layer(scene.memory, scene.place, keyed(scene.scan()), made.BUNDLE)
    about = {"mediaType": MANIFEST, "digest": made.OTHER, "size": 2}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer], "subject": about}
    attached.refer(scene.memory, scene.place, scene.image.digest, document)


def _nonsense(content: bytes) -> Callable[[Scene], None]:
    """The Referrers API has nothing, and under the fall-back tag lies ``content``."""

    def make(scene: Scene) -> None:
        scene.routes[f"{scene.base}/referrers/{scene.image.digest}"] = referrers_answer(())
        tag = scene.image.digest.replace(":", "-")
        scene.routes[f"{scene.base}/manifests/{tag}"] = manifest_answer(content, INDEX)

    return make


def _dangling_tag(scene: Scene) -> None:
    listed = {"mediaType": MANIFEST, "digest": made.OTHER, "size": 500, "artifactType": EMPTY}
    _nonsense(index_bytes([listed]))(scene)


def _denied(status: int) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        scene.tag(scene.scan(), made.CI)
        scene.routes[f"{scene.base}/referrers/{scene.image.digest}"] = Answer(status)

    return make


_REGISTRIES = [
    Attack("other-manifest", 403, "digest-mismatch", _other_manifest),
    Attack("other-blob", 403, "digest-mismatch", _other_blob),
    Attack("missing-blob", 403, "registry-malformed", _missing_blob),
    Attack("byte-by-byte", 429, "inspection-pending", _drip, slow=True),
    Attack("other-subject", 403, "attestation-subject-mismatch", _other_subject),
    Attack("nonsense-under-tag", 403, "registry-malformed", _nonsense(b"<html>")),
    Attack("array-under-tag", 403, "registry-malformed", _nonsense(b"[]")),
    Attack("dangling-tag", 403, "registry-malformed", _dangling_tag),
    Attack("referrers-denied", 403, "registry-denied", _denied(403)),
    Attack("referrers-failing", 503, "registry-unreachable", _denied(500)),
]

# -- excuses ---------------------------------------------------------------------------------------------------------


def _excused(at: str = "", product: str = "", key: object = PRODUCT) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        scene.sign(scene.scan(CRITICAL))
        scene.sign(scene.vex(at=at, product=product), key)  # type: ignore[arg-type]

    return make


_VEX = [
    Attack("vex", 200, "", _excused()),
    Attack("vex-by-a-stranger", 403, "CVE-2026-0001", _excused(key=made.STRANGER)),
    Attack("vex-by-the-scanner", 403, "CVE-2026-0001", _excused(key=made.CI)),
    Attack("vex-of-another-product", 403, "CVE-2026-0001", _excused(product=f"pkg:oci/web@{made.OTHER}")),
    Attack("vex-expired", 403, "CVE-2026-0001", _excused(at=ago(hours=25))),
]


def many(scene: Scene, number: int, size: int) -> Iterator[bytes]:
    """So many scans of about so many bytes, each of another minute."""
    row = {**reports.finding("CVE-2026-0002", "LOW"), "Description": "words " * 330}
    fitting = size // 2600
    for one in range(number):
        rows = [{**row, "VulnerabilityID": f"CVE-2026-{one:03}{place:03}"} for place in range(fitting)]
        yield scene.scan(*rows, at=ago(minutes=one + 1))
