"""The kinds of decision that a large cluster makes: who asks for what, and what comes of it.

Names are drawn as they come in clusters: few of them often, most of them seldom (Zipf).
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from portcullis.decision.texts import message, warnings
from portcullis.decision.verdict import conclude
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Because, Decision, JudgedImage, Problem, Stage, UndecidedPolicy, Violation
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode

T = TypeVar("T")

NAMESPACES, USERS, IMAGES, POLICIES = 300, 200, 500, 40
END = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)

ID = "00000000-0000-4000-8000-000000000000"
UID = "11111111-1111-4111-8111-111111111111"
TIME = "2001-01-01T00:00:00.000001Z"
SUFFIX = "zqzqz"
"""What stands in a kind for what differs from decision to decision: ids, the time, the end of a generated name."""

_TEAMS = ("shop", "payments", "search", "data", "platform", "mobile", "ads", "risk", "media", "core")
_APPS = ("web", "api", "worker", "gateway", "cache", "batch", "proxy", "indexer", "mailer", "reports")
_KINDS = {
    "Pod": ("v1", "pods", 55.0),
    "ReplicaSet": ("apps/v1", "replicasets", 20.0),
    "Deployment": ("apps/v1", "deployments", 15.0),
    "Job": ("batch/v1", "jobs", 5.0),
    "StatefulSet": ("apps/v1", "statefulsets", 3.0),
    "DaemonSet": ("apps/v1", "daemonsets", 1.5),
    "CronJob": ("batch/v1", "cronjobs", 0.5),
}
_SAID = (
    ("runs as root: the image names no USER", "set USER to a numeric id in the Dockerfile", "high"),
    ("is named by a tag that can be moved", "write the digest", "low"),
    ("holds a shell at /bin/bash", "build on an image without a shell", "medium"),
    ("has no vulnerability scan by a signer who is trusted for it", "attest a scan in the pipeline", "high"),
    ("has 3 critical vulnerabilities that are fixed upstream", "update openssl to 3.0.15", "critical"),
    ("was built 421 days ago", "build it anew", "low"),
    ("holds the package manager apt", "use a distroless base", "medium"),
    ("may write to its root file system", "set readOnlyRootFilesystem", "medium"),
)
_OUTAGES = (
    Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="no answer from registry.example in 3 s"),
    Problem(Stage.REGISTRY, "image-not-found", retryable=False, msg="the registry has no such tag"),
    Problem(Stage.INSPECTION, "inspection-pending", retryable=True, msg="3 layers are still read", pending=True),
    Problem(Stage.EVIDENCE, "attestation-untrusted", retryable=False, msg="signed by a key that is not trusted"),
)


class Drawn(Generic[T]):
    """Things that are drawn the more often, the further to the front they stand."""

    def __init__(self, things: Sequence[T], skew: float = 1.0) -> None:
        self._things = things
        self._weights: list[float] = []
        total = 0.0
        for place in range(len(things)):
            total += 1 / (place + 1) ** skew
            self._weights.append(total)

    def draw(self, chance: random.Random) -> T:
        (thing,) = chance.choices(self._things, cum_weights=self._weights)
        return thing

    def any(self, chance: random.Random) -> T:
        """One of all alike."""
        return chance.choice(self._things)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that has a name."""

    namespaces: Drawn[str]
    users: Drawn[str]
    images: Drawn[JudgedImage]
    policies: Drawn[str]


def world(chance: random.Random) -> World:
    namespaces = [f"{_TEAMS[number % 10]}-{number:03}" for number in range(NAMESPACES)]
    users = [f"system:serviceaccount:kube-system:{name}-controller" for name in ("replicaset", "job")]
    users += [f"system:serviceaccount:{_TEAMS[number % 10]}-{number:03}:deployer" for number in range(60)]
    users += [f"dev{number:03}@acme.example" for number in range(USERS - len(users))]
    images = []
    for number in range(IMAGES):
        repository = f"registry.example/{_TEAMS[number % 10]}/{_APPS[number // 10 % 10]}{number % 12}"
        digest = f"sha256:{chance.getrandbits(256):064x}"
        version = f"{number % 3}.{number // 7 % 20}.{number % 11}"
        written = f"{repository}@{digest}" if number % 9 == 0 else f"{repository}:{version}"
        images.append(JudgedImage(written, digest))
    policies = [f"{group}-{name}" for group in ("image", "pss", "scan", "sbom") for name in _NAMES]
    return World(Drawn(namespaces), Drawn(users, 1.2), Drawn(images), Drawn(policies[:POLICIES], 0.8))


_NAMES = ("user", "pinned", "shell", "required", "severity", "age", "base", "source", "privileged", "signed")


def records_of_each_kind(chance: random.Random, number: int) -> Iterator[AuditRecord]:
    """So many records, with the stand-ins above for what is to differ."""
    there = world(chance)
    weights = [weight for _, _, weight in _KINDS.values()]
    for place in range(number):
        (kind,) = chance.choices([*_KINDS], weights)
        api_version, resource, _ = _KINDS[kind]
        namespace = there.namespaces.draw(chance)
        user = there.users.draw(chance)
        name = f"{_APPS[place % 10]}-{chance.randrange(40)}"
        if kind == "Pod":
            name = f"{name}-{chance.getrandbits(36):09x}-{SUFFIX}"
        decision = _decision(chance, there, f"{kind} {namespace}/{name}")
        yield AuditRecord(
            uid=UID,
            username=user,
            groups=("system:serviceaccounts", "system:authenticated") if ":" in user else ("developers", "oidc:all"),
            operation="UPDATE" if chance.random() < 0.2 else "CREATE",
            kind=kind,
            api_version=api_version,
            resource=resource,
            sub_resource="",
            namespace=namespace,
            name=name,
            dry_run=chance.random() < 0.01,
            caller=Caller.UNVERIFIED if chance.random() < 0.001 else Caller.CERTIFICATE,
            webhook_version="0.1.0",
            decision=decision,
        )


def _decision(chance: random.Random, there: World, what: str) -> Decision:
    images = tuple(there.images.draw(chance) for _ in range(chance.choice((1, 1, 1, 2, 2, 3))))
    violations, undecided, because = _judged(chance, there, images[0])
    outcome = conclude(violations, undecided, person=False)
    limits = DEFAULT_LIMITS
    return Decision(
        id=ID,
        verdict=outcome.verdict,
        code=outcome.code,
        because=because,
        message=message(outcome, what, violations, undecided, ID, limits),
        warnings=warnings(violations, undecided, images, limits),
        retry_after_seconds=None,
        violations=violations,
        undecided=undecided,
        problems=tuple(dict.fromkeys(problem for one in undecided for problem in one.problems)),
        images=images,
        policy_revision="sha256:" + "cd" * 32,
        config_revision="sha256:" + "ef" * 32,
        decided_at=datetime.fromisoformat(TIME),
        elapsed_ms=round(chance.expovariate(0.05), 3),
        timings={stage: round(chance.expovariate(0.2), 3) for stage in ("registry", "evidence", "policy", "gate")},
        document=_document(chance, what, images),
    )


def _judged(
    chance: random.Random, there: World, image: JudgedImage
) -> tuple[tuple[Violation, ...], tuple[UndecidedPolicy, ...], Because]:
    """Of a hundred: twelve refused, two undecided, two excepted, fifteen unchanged, the rest judged; a third of all
    with something to warn of or to record."""
    at = chance.random()
    violations: list[Violation] = []
    undecided: tuple[UndecidedPolicy, ...] = ()
    because = Because.JUDGED
    if at < 0.12:
        violations += [_violation(chance, there, image, Mode.DENY) for _ in range(chance.choice((1, 1, 2, 3)))]
    elif at < 0.14:
        problem = chance.choice(_OUTAGES)
        undecided = (UndecidedPolicy(there.policies.draw(chance), Mode.DENY, (problem,)),)
    elif at < 0.16:
        because = Because.BREAK_GLASS if chance.random() < 0.05 else Because.EXCEPTION
        exception = f"EX-{chance.randrange(30)}"
        violations.append(_violation(chance, there, image, Mode.DENY, exception))
    elif at < 0.31:
        because = Because.UNCHANGED
    if chance.random() < 0.33:
        mode = Mode.WARN if chance.random() < 0.8 else Mode.AUDIT
        violations += [_violation(chance, there, image, mode) for _ in range(chance.choice((1, 1, 2)))]
    return tuple(violations), undecided, because


def _violation(chance: random.Random, there: World, image: JudgedImage, mode: Mode, exception: str = "") -> Violation:
    said, fix, severity = chance.choice(_SAID)
    return Violation(
        policy=there.policies.draw(chance),
        mode=mode,
        severity=severity,
        msg=said,
        container="web",
        container_kind="container",
        image=image.written,
        digest=image.digest,
        platform="linux/amd64",
        fix=fix,
        docs="https://docs.example/policies",
        details={"found": chance.randrange(100)},
        exception=exception,
        excepted_until=END if exception else None,
    )


def _document(chance: random.Random, what: str, images: Sequence[JudgedImage]) -> bytes:
    facts = {
        image.written: {
            "digest": image.digest,
            "platforms": [{"platform": "linux/amd64", "layers": [f"{chance.getrandbits(256):064x}" for _ in range(8)]}],
        }
        for image in images
    }
    labels = {f"label-{number}": f"{chance.getrandbits(40):010x}" for number in range(12)}
    return json.dumps({"time": {"now": TIME}, "workload": what, "labels": labels, "images": facts}).encode()
