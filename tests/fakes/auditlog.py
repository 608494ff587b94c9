"""A log of some days in a shop, to look at: deployments that are refused, mended and admitted, outages, exceptions,
break-glass, dry runs, and what an attacker or an older version leaves behind. Judged inputs are real documents.

``seed`` fills any Records with it; a test that needs one thing takes it from ``days`` by its title.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fakes import samples
from fakes.samples import AMD64, ARM64, CLEAN, MESSY, NUMERIC, UNSET, container_user, digest, evidence, finding, report
from portcullis.decision.texts import message, warnings
from portcullis.decision.verdict import conclude
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import (
    Because,
    Decision,
    JudgedImage,
    Problem,
    Stage,
    UndecidedPolicy,
    Verdict,
    Violation,
)
from portcullis.model.evidence import Severity
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import ImageReference, ImageUser, Repository
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode
from portcullis.model.workload import ContainerKind, Workload
from portcullis.policy.document import build_document
from portcullis.ports import Records

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
POLICIES, CONFIGURATION = "sha256:" + "5e" * 32, "sha256:" + "c0" * 32
OLD_POLICIES = "sha256:" + "4d" * 32
HOSTILE = "<script>alert(1)</script>'\"&\u202egnp.exe\u0000\u2028{{ 7*7 }}"
"""Markup, quotes, a right-to-left override, NUL, a line separator and an expression of the templates."""

SAYS: Mapping[str, tuple[str, str, str]] = {
    "image-user": ("high", "runs as root: the image names no USER", "add USER 10001 to the Dockerfile"),
    "image-shell": ("medium", "holds a shell: /usr/bin/dash", "build on a base without one"),
    "image-pinned": ("medium", "is named by a tag, which may be moved", "name it by digest as well"),
    "scan-severity": (
        "critical",
        "trivy found too many vulnerabilities, 2 critical (0 allowed): CVE-2026-0002 in openssl 3.0.1",
        "update openssl to 3.0.9, then rebuild",
    ),
    "scan-required": ("critical", "has no vulnerability scan", "scan it in the pipeline and attach the report"),
    "image-signed": ("high", "has no signature", "sign it in the pipeline (cosign sign)"),
    "pod-privileges": ("critical", "is privileged, which is root on the node", "remove privileged"),
}
OUTAGE = Problem(
    Stage.REGISTRY,
    "registry-unreachable",
    retryable=True,
    msg="no connection to registry.acme.dev: Connection refused",
    image="registry.acme.dev/shop/search:3.2.0",
)
PENDING = Problem(
    Stage.INSPECTION,
    "inspection-pending",
    retryable=True,
    msg="the image is still being inspected; the work goes on in the background",
    image="registry.acme.dev/data/model:0.9.0",
    pending=True,
    eta_seconds=20.0,
)
ABSENT = Problem(
    Stage.REGISTRY,
    "image-not-found",
    retryable=False,
    msg="registry.acme.dev has no such tag",
    image="registry.acme.dev/shop/cart:9.9.9",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One record with what it is an example of."""

    title: str
    record: AuditRecord


def image(written: str, like: ImageFacts = CLEAN, users: Sequence[ImageUser] = (NUMERIC,)) -> ImageFacts:
    """Facts of an image under that name, with digests of its own."""
    name, _, tag = written.rpartition(":")
    registry, _, path = name.partition("/")
    reference = ImageReference(Repository(registry, path), tag, None)
    assert like.resolved is not None
    platforms = tuple(replace(one, digest=digest(f"{written} {one.platform}")) for one in like.resolved.platforms)
    whole = digest(written) if len(platforms) > 1 else platforms[0].digest
    resolved = replace(like.resolved, reference=reference, digest=whole, platforms=platforms)
    return replace(like, written=written, reference=reference, resolved=resolved, users=tuple(users))


ROOT = replace(CLEAN, evidence=evidence())
TOOLS = replace(CLEAN, contents=(MESSY,))
TWO = replace(
    CLEAN,
    resolved=samples.resolved(
        samples.PINNED, samples.platform_image(), samples.platform_image(ARM64, samples.config(user=""))
    ),
    users=(NUMERIC, UNSET),
    steps=(samples.STEPS, samples.STEPS),
    contents=(samples.contents(), samples.contents()),
)
UNTRUSTED = replace(
    CLEAN,
    evidence=evidence(
        rejected=(
            samples.attestation(reason="attestation-untrusted", message="no configured key signed it"),
            samples.attestation(
                reason="attestation-subject-mismatch", message="it is signed for another image", seed="other"
            ),
        )
    ),
)


def unresolved(problem: Problem) -> ImageFacts:
    """Of which nothing is known but its name."""
    known = image(problem.image)
    return ImageFacts(written=problem.image, reference=known.reference, users=(samples.NAMED,), problems=(problem,))


def denied(*names: str, **more: Any) -> tuple[Violation, ...]:
    """Violations in mode deny of the policies of SAYS."""
    return tuple(violation(name, Mode.DENY, **more) for name in names)


def violation(name: str, mode: Mode, **more: Any) -> Violation:
    severity, msg, fix = SAYS[name]
    return Violation(policy=name, mode=mode, severity=severity, msg=msg, fix=fix, **more)


def scene(
    title: str,
    *,
    at: timedelta,
    kind: str = "Deployment",
    namespace: str = "shop",
    name: str,
    images: Sequence[ImageFacts] = (),
    violations: Sequence[Violation] = (),
    undecided: Sequence[UndecidedPolicy] = (),
    because: Because = Because.JUDGED,
    username: str = "jane@acme.dev",
    **more: Any,
) -> Scene:
    """A decision as the gate would have made it of these violations and undecided policies, ``at`` before NOON."""
    decided_at = NOON - at
    decision_id = str(uuid.uuid5(uuid.NAMESPACE_OID, title))
    violations = [_placed(one, images) for one in violations]
    outcome = conclude(violations, undecided, person="@" in username)
    judged = [JudgedImage(one.written, str(one.resolved.digest) if one.resolved else "") for one in images]
    document = more.pop("document", None)
    if document is None:
        document = document_of(kind, namespace, name, images, decided_at)
    timings = {"admission": 0.3, "registry": 8.2 * len(images), "evidence": 3.1 * len(images), "policy": 18.4}
    decision = Decision(
        id=decision_id,
        verdict=outcome.verdict,
        code=outcome.code,
        because=because,
        message=message(outcome, f"{kind} {namespace}/{name}", violations, undecided, decision_id, DEFAULT_LIMITS),
        warnings=warnings(violations, undecided, judged, DEFAULT_LIMITS),
        retry_after_seconds=outcome.retry_after_seconds,
        violations=tuple(violations),
        undecided=tuple(undecided),
        problems=tuple(dict.fromkeys(problem for one in undecided for problem in one.problems)),
        images=tuple(judged),
        policy_revision=more.pop("policy_revision", POLICIES),
        config_revision=CONFIGURATION,
        decided_at=decided_at,
        elapsed_ms=sum(timings.values()) + 1.5,
        timings={**timings, "gate": sum(timings.values()) + 1.5},
        document=document,
    )
    values: dict[str, Any] = {
        "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, title)),
        "username": username,
        "groups": ("shop-developers", "system:authenticated"),
        "operation": "CREATE",
        "kind": kind,
        "api_version": "apps/v1",
        "resource": f"{kind.lower()}s",
        "sub_resource": "",
        "namespace": namespace,
        "name": name,
        "dry_run": False,
        "caller": Caller.CERTIFICATE,
        "webhook_version": "0.1.0",
    }
    return Scene(title, AuditRecord(**(values | more), decision=decision))


def _placed(one: Violation, images: Sequence[ImageFacts]) -> Violation:
    if one.image or not images:
        return one
    first = images[0]
    assert first.resolved is not None
    container = one.container or "web"
    return replace(
        one, container=container, container_kind="container", image=first.written, digest=str(first.resolved.digest)
    )


def document_of(
    kind: str, namespace: str, name: str, images: Sequence[ImageFacts], now: datetime, copies: int = 1
) -> bytes:
    """The judged input: one container for each image, ``copies`` times."""
    containers = tuple(
        ContainerFacts(
            samples.container(one.written, "web" if number == 0 else f"side-{number}", ContainerKind.CONTAINER),
            container_user(one.users[0]),
        )
        for number, one in enumerate([*images] * copies)
    )
    workload = Workload(
        kind=kind,
        api_version="apps/v1",
        namespace=namespace,
        name=name,
        labels={"app": name},
        annotations={},
        pod_metadata={"labels": {"app": name}},
        pod_spec={"containers": [one.container.spec for one in containers]},
        containers=tuple(one.container for one in containers),
    )
    return build_document(
        now=now,
        request=samples.request(workload),
        workload=workload,
        containers=containers,
        images=images,
        limits=DEFAULT_LIMITS,
    )


def undecided(problem: Problem, *names: str, mode: Mode = Mode.DENY) -> tuple[UndecidedPolicy, ...]:
    return tuple(UndecidedPolicy(name, mode, (problem,)) for name in names)


EXCEPTION: Mapping[str, Any] = {"exception": "EX-12", "excepted_until": NOON + timedelta(days=6)}
GRANT: Mapping[str, Any] = {"exception": "break-glass:shop/payments-down", "excepted_until": NOON + timedelta(hours=3)}


def days() -> list[Scene]:
    """The scenes, the oldest first."""
    hour, day = timedelta(hours=1), timedelta(days=1)
    root = image("registry.acme.dev/shop/checkout:1.4.0", ROOT, (UNSET,))
    mended = image("registry.acme.dev/shop/checkout:1.4.1")
    legacy = image("registry.acme.dev/old/invoices:7", TOOLS)
    found = [
        scene(
            "of an older version",
            at=40 * day,
            name="invoices",
            namespace="legacy",
            images=[legacy],
            policy_revision=OLD_POLICIES,
            webhook_version="0.0.9",
            document=b'{"time":{"now":"2026-10-15T12:00:00Z"},"containers":{},"images":[1,null,{"platforms":7}]}',
        ),
        scene(
            "admitted by an exception",
            at=9 * day,
            name="invoices",
            namespace="legacy",
            images=[legacy],
            violations=denied("image-shell", **EXCEPTION),
            because=Because.EXCEPTION,
            username="system:serviceaccount:argocd:argocd-application-controller",
        ),
        scene(
            "refused for root",
            at=day + 2 * hour,
            name="checkout",
            images=[root],
            violations=[*denied("image-user", "scan-required"), violation("image-pinned", Mode.WARN)],
        ),
        scene(
            "a dry run",
            at=day + hour,
            name="checkout",
            images=[mended],
            violations=[violation("image-pinned", Mode.WARN)],
            dry_run=True,
        ),
        scene(
            "mended",
            at=day,
            name="checkout",
            images=[mended],
            violations=[violation("image-pinned", Mode.WARN), violation("image-signed", Mode.AUDIT)],
            operation="UPDATE",
        ),
        scene(
            "refused for vulnerabilities",
            at=20 * hour,
            kind="StatefulSet",
            name="orders",
            images=[image("registry.acme.dev/shop/orders:2.0.3", samples.VULNERABLE)],
            violations=denied("scan-severity"),
            username="omar@acme.dev",
        ),
        scene(
            "root on one platform",
            at=18 * hour,
            kind="DaemonSet",
            namespace="platform",
            name="agent",
            images=[image("registry.acme.dev/platform/agent:3.0.1", TWO, (NUMERIC, UNSET))],
            violations=denied("image-user", platform="linux/arm64/v8"),
            username="pat@acme.dev",
        ),
        scene(
            "signed by a stranger",
            at=6 * hour,
            name="gateway",
            images=[image("registry.acme.dev/shop/gateway:5.1.0", UNTRUSTED)],
            violations=denied("scan-required"),
        ),
        scene(
            "an outage",
            at=3 * hour,
            name="search",
            images=[unresolved(OUTAGE)],
            undecided=[
                *undecided(OUTAGE, "image-user", "scan-severity", "image-signed"),
                *undecided(OUTAGE, "image-shell", mode=Mode.WARN),
            ],
        ),
        scene(
            "an image that is not there",
            at=2 * hour,
            name="cart",
            images=[unresolved(ABSENT)],
            undecided=undecided(ABSENT, "image-user", "scan-severity"),
        ),
        scene(
            "break-glass",
            at=100 * timedelta(minutes=1),
            namespace="shop",
            name="payments",
            images=[image("registry.acme.dev/shop/payments:6.6.0", ROOT, (UNSET,))],
            violations=denied("image-user", "scan-required", **GRANT),
            because=Because.BREAK_GLASS,
            username="oncall@acme.dev",
        ),
        scene(
            "still inspecting",
            at=timedelta(minutes=50),
            kind="Job",
            namespace="data",
            name="train",
            images=[replace(image(PENDING.image), problems=(PENDING,))],
            undecided=undecided(PENDING, "image-shell"),
            username="omar@acme.dev",
        ),
        scene("nothing changed", at=timedelta(minutes=30), name="checkout", images=[mended], because=Because.UNCHANGED),
        scene(
            "by an unverified caller",
            at=timedelta(minutes=12),
            kind="Pod",
            namespace="default",
            name="probe",
            username="system:admin",
            caller=Caller.UNVERIFIED,
            images=[image("registry.acme.dev/shop/checkout:1.4.1")],
            document=b"",
        ),
        scene(
            "clean", at=timedelta(minutes=2), name="checkout", images=[image("registry.acme.dev/shop/checkout:1.4.2")]
        ),
    ]
    return sorted(found, key=lambda one: one.record.decision.decided_at)


def strange() -> list[Scene]:
    """What the pages must bear: much of everything, and text that is meant to do harm."""
    minute = timedelta(minutes=1)
    many = [image(f"registry.acme.dev/many/part-{number}:1") for number in range(50)]
    found = [finding(f"CVE-2025-{number:05}", list(Severity)[number % 5]) for number in range(10_000)]
    swamped = replace(CLEAN, evidence=evidence(report(platform=AMD64, vulnerabilities=tuple(found))))
    everywhere = [
        replace(one, container=f"side-{number}", container_kind="container", image=many[number].written)
        for number in range(50)
        for one in denied("image-user")
    ]
    return [
        scene("fifty containers", at=9 * minute, name="parts", images=many, violations=everywhere),
        scene("ten thousand findings", at=8 * minute, name="swamped", images=[image("registry.acme.dev/s:1", swamped)]),
        _hostile(7 * minute),
        _unreadable(6 * minute),
        _broken_document(5 * minute),
    ]


def _hostile(at: timedelta) -> Scene:
    text = HOSTILE * 160
    bad = Violation(
        policy=HOSTILE,
        mode=Mode.DENY,
        severity=HOSTILE,
        msg=text,
        container=HOSTILE,
        container_kind=HOSTILE,
        image=HOSTILE,
        digest=HOSTILE,
        platform=HOSTILE,
        field=HOSTILE,
        fix=text,
        docs=f"javascript:{HOSTILE}",
        details={"reason": HOSTILE},
    )
    problem = Problem(Stage.REGISTRY, HOSTILE, retryable=True, msg=text, image=HOSTILE)
    made = scene(
        "hostile",
        at=at,
        name="hostile",
        violations=[bad, replace(bad, exception=HOSTILE, policy="image-user")],
        undecided=undecided(problem, HOSTILE),
        document=json.dumps(
            {
                "containers": [{"name": text, "kind": HOSTILE, "image": HOSTILE, "user": {"name": text, "root": "x"}}],
                "images": {
                    HOSTILE: {"reference": text, "problems": [{"reason": text, "msg": text}], "attestations": 3}
                },
            }
        ).encode(),
        username=text,
    )
    decision = replace(
        made.record.decision,
        images=(JudgedImage(HOSTILE, HOSTILE),),
        message=text,
        warnings=(text,),
        policy_revision=HOSTILE,
        config_revision=HOSTILE,
        timings={HOSTILE: 3.0, "gate": 1.0},
    )
    record = replace(
        made.record,
        decision=decision,
        uid=text,
        groups=(text,) * 20,
        kind=HOSTILE,
        api_version=HOSTILE,
        resource=HOSTILE,
        sub_resource=HOSTILE,
        name=HOSTILE,
        webhook_version=HOSTILE,
    )
    return Scene(made.title, record)


def _unreadable(at: timedelta) -> Scene:
    """A review that could not be read: nobody is named, and nothing."""
    problem = Problem(Stage.ADMISSION, "review-malformed", retryable=False, msg="the body is no AdmissionReview")
    made = scene("unreadable", at=at, name="", kind="", namespace="", username="", document=b"")
    decision = replace(made.record.decision, verdict=Verdict.REFUSED, code=403, problems=(problem,), timings={})
    nothing = {"api_version": "", "resource": "", "operation": "", "groups": (), "uid": ""}
    return Scene(made.title, replace(made.record, **nothing, decision=decision))


def _broken_document(at: timedelta) -> Scene:
    return scene(
        "no document", at=at, name="torn", images=[image("registry.acme.dev/t:1")], document=b"\xff{\x00not JSON"
    )


async def seed(records: Records, scenes: Iterable[Scene] = ()) -> list[Scene]:
    """Appends the scenes, by default all, in their order."""
    appended = list(scenes) or [*days(), *strange()]
    for one in appended:
        await records.append(one.record)
    return appended


SCENES: Mapping[str, AuditRecord] = {one.title: one.record for one in [*days(), *strange()]}
"""All of them by title."""
