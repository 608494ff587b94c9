"""Facts of made-up workloads, for tests of the policy document and of policies.

``python tests/fakes/samples.py policies/testdata`` (with the package on the path) writes their documents.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.contents import (
    Application,
    Contents,
    ContentsStatus,
    Finding,
    FindingClass,
    LayerInfo,
    OperatingSystem,
    Package,
)
from portcullis.model.decision import Problem, Stage
from portcullis.model.evidence import (
    Attestation,
    Attested,
    AttestedScan,
    AttestedVex,
    CarrierKind,
    Check,
    Component,
    Evaluation,
    Evidence,
    LintFinding,
    LintReport,
    Material,
    PredicateClass,
    Provenance,
    Sbom,
    ScannedSystem,
    ScanReport,
    Severity,
    Signer,
    Suppression,
    VexDocument,
    VexMark,
    VexProduct,
    VexStatement,
    VexStatus,
    Vulnerability,
)
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import (
    BuildStep,
    ContainerUser,
    Descriptor,
    Digest,
    HistoryEntry,
    ImageConfig,
    ImageReference,
    ImageUser,
    Platform,
    PlatformImage,
    Repository,
    ResolvedImage,
    UserSource,
)
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)
from portcullis.model.workload import Container, ContainerKind, Workload
from portcullis.policy.document import build_document

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64", "v8")
VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
SBOM = "https://spdx.dev/Document"
LINT = "https://portcullis.dev/attestation/lint/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
VEX = "https://openvex.dev/ns"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
CI = Signer(name="ci", kind="key")
RELEASE = Signer(
    name="release",
    kind="keyless",
    issuer="https://token.actions.githubusercontent.com",
    identity="https://github.com/acme/web/.github/workflows/release.yml@refs/tags/v1.4",
)

NUMERIC = ImageUser(raw="10001", uid=10001, gid=None, name="", source=UserSource.NUMERIC, root=False)
NAMED = ImageUser(raw="app", uid=None, gid=None, name="app", source=UserSource.UNRESOLVED, root=None)
UNSET = ImageUser(raw="", uid=0, gid=0, name="", source=UserSource.UNSET, root=True)


LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
COPIED = "COPY web /web # buildkit"


def digest(seed: object) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(str(seed).encode()).hexdigest()}")


def container_user(user: ImageUser, *, non_root: bool | None = None) -> ContainerUser:
    source = UserSource.IMAGE if user.source is UserSource.NUMERIC else user.source
    return ContainerUser(user.uid, user.gid, user.name, source, user.root, non_root)


def container(
    image: str, name: str = "web", kind: ContainerKind = ContainerKind.CONTAINER, **spec: object
) -> Container:
    full: dict[str, object]
    if kind is ContainerKind.VOLUME:
        path, full = "spec.template.spec.volumes[0]", {"reference": image}
    else:
        path, full = "spec.template.spec.containers[0]", {"name": name, "image": image, **spec}
    return Container(name=name, kind=kind, path=path, image=image, spec=full)


def config(user: str = "10001", created: datetime | None = NOW - timedelta(days=20)) -> ImageConfig:
    return ImageConfig(
        user=user,
        created=created,
        entrypoint=("/web",),
        cmd=("--port", "8080"),
        working_dir="/",
        env_names=("PATH",),
        exposed_ports=("8080/tcp",),
        volumes=(),
        labels={"org.opencontainers.image.source": "https://git.example/acme/web"},
        healthcheck=(),
        history=(HistoryEntry(COPIED, empty_layer=False), HistoryEntry("USER 10001", empty_layer=True)),
        diff_ids=(digest("tar"),),
    )


STEPS = (
    BuildStep(COPIED, empty_layer=False, instruction="COPY", arguments="web /web", layer_index=0),
    BuildStep("USER 10001", empty_layer=True, instruction="USER", arguments="10001"),
)


def thing(path: str, what: str, rule: str, **more: Any) -> Finding:
    fields: dict[str, Any] = {"layer": digest("layer"), "layer_index": 0, "created_by": COPIED, "mode": 0o755}
    return Finding(path=path, what=what, rule=rule, **{**fields, **more})


def contents(*findings: tuple[FindingClass, Finding], **more: Any) -> Contents:
    """What a static program on a distroless base has, and ``findings``."""
    fields: dict[str, Any] = {
        "files": 312,
        "bytes": 2_400_000,
        "os": OperatingSystem("debian", "13", (), "Distroless", distroless=True, libc=""),
        "layers": (LayerInfo(digest("layer"), digest("tar"), LAYER, 1_000_000, 2_560_000, 312, COPIED),),
        "findings": {name: tuple(one for of, one in findings if of is name) for name in FindingClass},
        "application": Application(roots=("/web",), files=1, owned_by_root=1),
        "packages": None,
    }
    return Contents(**{**fields, **more})


MESSY = contents(
    (FindingClass.SHELLS, thing("/usr/bin/dash", "dash", "dash")),
    (FindingClass.BUILD_TOOLS, thing("/usr/bin/gcc-14", "gcc", "gcc")),
    (FindingClass.PACKAGE_MANAGERS, thing("/usr/bin/apt-get", "apt", "apt")),
    (FindingClass.INTERPRETERS, thing("/usr/bin/perl", "perl", "perl")),
    (FindingClass.DOWNLOAD_TOOLS, thing("/usr/bin/curl", "curl", "curl")),
    (FindingClass.SETUID, thing("/usr/bin/su", "setuid root", "setuid", mode=0o4755)),
    (FindingClass.WORLD_WRITABLE, thing("/srv/files", "folder that anybody may write", "world-writable", mode=0o777)),
    (FindingClass.SECRETS, thing("/srv/id_rsa", "private key", "private-key", mode=0o600, deleted=True)),
    (FindingClass.VCS, thing("/srv/.git", "git repository", "git-folder", count=40)),
    (FindingClass.CACHES, thing("/root/.cache/pip", "pip cache", "pip-cache", count=12)),
    (FindingClass.TESTS, thing("/srv/tests", "tests", "tests-folder", count=7)),
    os=OperatingSystem("debian", "13", (), "Debian GNU/Linux 13 (trixie)", distroless=False, libc="glibc"),
    libc_mismatches=(thing("/srv/lib/fast.so", "extension for musl", "libc"),),
    application=Application(
        roots=("/srv",),
        files=60,
        owned_by_root=40,
        owned_by_user=10,
        owned_by_others=10,
        writable=(thing("/srv/app", "application file", "writable", uid=10001, count=10),),
        foreign=(thing("/srv/data", "application file", "foreign", uid=501, count=10),),
        rewritten_bytes=5_000_000,
    ),
    packages=(Package("dpkg", "bash", "5.2.37-2", "amd64", 0),),
)


def platform_image(platform: Platform = AMD64, image_config: ImageConfig | None = None) -> PlatformImage:
    return PlatformImage(
        platform=platform,
        digest=digest(f"manifest {platform}"),
        config_digest=digest(f"config {platform}"),
        config=image_config or config(),
        layers=(Descriptor(LAYER, digest("layer"), 1_000_000),),
    )


def resolved(reference: ImageReference, *platforms: PlatformImage) -> ResolvedImage:
    is_index = len(platforms) > 1
    return ResolvedImage(
        reference=reference,
        digest=digest("index") if is_index else platforms[0].digest,
        media_type=f"application/vnd.oci.image.{'index' if is_index else 'manifest'}.v1+json",
        is_index=is_index,
        platforms=platforms,
    )


def reference(tag: str | None = "1.4", pin: Digest | None = None) -> ImageReference:
    return ImageReference(Repository("registry.example", "acme/web"), tag, pin)


def attestation(*, reason: str = "", message: str = "", seed: str = "scan", **more: Any) -> Attestation:
    fields: dict[str, Any] = {
        "verified": not reason,
        "reason": reason,
        "message": message,
        "predicate_type": VULN,
        "predicate_class": PredicateClass.VULNERABILITY,
        "signer": None if reason else CI,
        "carrier": CarrierKind.REFERRER,
        "digest": digest(seed),
        "subject": digest(f"manifest {AMD64}"),
        "platform": None,
        "signed_at": None,
    }
    return Attestation(**{**fields, **more})


def finding(name: str, severity: Severity, **more: Any) -> Vulnerability:
    fields: dict[str, Any] = {
        "package": "openssl",
        "purl": "pkg:deb/debian/openssl@3.0.1",
        "installed": "3.0.1",
        "fixed": "3.0.9",
        "score": 9.8,
        "state": "fixed",
    }
    return Vulnerability(id=name, severity=severity, **{**fields, **more})


def report(**more: Any) -> ScanReport:
    fields: dict[str, Any] = {
        "scanner": "trivy",
        "scanner_version": "0.60.0",
        "db_built_at": NOW - timedelta(hours=30),
        "scanned_at": NOW - timedelta(hours=24),
        "target_digests": (),
        "target_image_id": "",
        "platform": None,
        "suppressed": 0,
        "complete": True,
        "incomplete_because": "",
        "vulnerabilities": (finding("CVE-2026-0001", Severity.LOW),),
        "format": "trivy-json",
        "system": ScannedSystem("debian", "13", end_of_life=False),
        "packages": 87,
    }
    return ScanReport(**{**fields, **more})


def evidence(*reports: ScanReport, rejected: tuple[Attestation, ...] = (), **more: Any) -> Evidence:
    scans = tuple(
        AttestedScan(one, attestation(seed=f"scan {number}"), mark_known=True) for number, one in enumerate(reports)
    )
    others = tuple(fact.attestation for facts in more.values() for fact in facts)
    return Evidence(attestations=(*(scan.attestation for scan in scans), *others, *rejected), scans=scans, **more)


def said(kind: PredicateClass, predicate_type: str, **more: Any) -> Attestation:
    return attestation(seed=str(kind), predicate_class=kind, predicate_type=predicate_type, **more)


LINTED = LintReport(
    tool="hadolint",
    tool_version="2.15.1",
    linted_at=NOW - timedelta(hours=25),
    findings=(LintFinding("DL3059", "info", "Dockerfile", 7, "Multiple consecutive `RUN` instructions."),),
    dockerfile=digest("Dockerfile").hex,
)
BILL = Sbom(
    format="cyclonedx",
    spec_version="1.6",
    created_at=NOW - timedelta(hours=25),
    tools=("syft 1.30.0",),
    target_digests=(digest(f"manifest {AMD64}"),),
    components=(
        Component("openssl", "3.0.1", "pkg:deb/debian/openssl@3.0.1", "library", ("Apache-2.0",)),
        Component("web", "1.4.0", "pkg:golang/git.example/acme/web@1.4.0", "application"),
    ),
)
BUILT = Provenance(
    version="1",
    build_type="https://actions.github.io/buildtypes/workflow/v1",
    builder="https://github.com/actions/runner/github-hosted",
    source="https://github.com/acme/web",
    source_ref="refs/tags/v1.4",
    source_digest="gitCommit:5f1d0a5ad2e1c1f3c2b0b3a8d3b2c6a5d7e8f901",
    entry_point=".github/workflows/release.yml",
    invocation="https://github.com/acme/web/actions/runs/42/attempts/1",
    started_at=NOW - timedelta(hours=27),
    finished_at=NOW - timedelta(hours=26),
    materials=(Material("git+https://github.com/acme/web@refs/tags/v1.4", "gitCommit:5f1d0a5a"),),
    complete=False,
)
ALSO: Mapping[str, Any] = {
    "lint": (Attested(LINTED, said(PredicateClass.LINT, LINT)),),
    "sboms": (Attested(BILL, said(PredicateClass.SBOM, SBOM)),),
    "provenance": (
        Attested(
            BUILT,
            said(
                PredicateClass.PROVENANCE,
                PROVENANCE,
                signer=RELEASE,
                signed_at=NOW - timedelta(hours=26),
                logged=True,
            ),
        ),
    ),
}
"""What a careful pipeline attaches beside a scan."""

SIGNATURE = said(PredicateClass.SIGNATURE, SIGNED, signer=RELEASE, signed_at=NOW - timedelta(hours=26), logged=True)


@dataclass(frozen=True)
class Sample:
    """The facts of one decision, and the policies that its document violates by their defaults."""

    containers: tuple[ContainerFacts, ...]
    images: tuple[ImageFacts, ...]
    violates: frozenset[str]
    pod: Mapping[str, Any] = field(default_factory=dict)

    def document(self, limits: Limits = DEFAULT_LIMITS) -> bytes:
        workload = self.workload()
        return build_document(
            now=NOW,
            request=request(workload),
            workload=workload,
            containers=self.containers,
            images=self.images,
            limits=limits,
        )

    def workload(self) -> Workload:
        containers = tuple(facts.container for facts in self.containers)
        return Workload(
            kind="Deployment",
            api_version="apps/v1",
            namespace="shop",
            name="web",
            labels={"app": "web"},
            annotations={},
            pod_metadata={"labels": {"app": "web"}},
            pod_spec={
                "containers": [one.spec for one in containers if one.kind is ContainerKind.CONTAINER],
                **self.pod,
            },
            containers=containers,
        )


def request(workload: Workload) -> AdmissionRequest:
    target = {
        "apiVersion": workload.api_version,
        "kind": workload.kind,
        "metadata": {"name": workload.name, "namespace": workload.namespace},
        "spec": {"template": {"metadata": workload.pod_metadata, "spec": workload.pod_spec}},
    }
    kind = {"group": "apps", "version": "v1", "kind": workload.kind}
    return AdmissionRequest(
        uid="705ab4f5-6393-11e8-b7cc-42010a800002",
        kind=GroupVersionKind("apps", "v1", workload.kind),
        resource=GroupVersionResource("apps", "v1", "deployments"),
        sub_resource="",
        name=workload.name,
        namespace=workload.namespace,
        operation=Operation.CREATE,
        user=UserInfo("jane"),
        object=target,
        old_object=None,
        dry_run=False,
        raw={"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "operation": "CREATE", "object": target},
        caller=Caller.PATH,
    )


PINNED = reference(pin=digest(f"manifest {AMD64}"))
CLEAN = ImageFacts(
    written=str(PINNED),
    reference=PINNED,
    resolved=resolved(PINNED, platform_image()),
    users=(NUMERIC,),
    steps=(STEPS,),
    contents=(contents(),),
    contents_status=ContentsStatus.COMPLETE,
    evidence=evidence(report(platform=AMD64), rejected=(SIGNATURE,), **ALSO),
)
TOOLS = replace(CLEAN, contents=(MESSY,))
BARE = replace(CLEAN, steps=(), contents=(), contents_status=ContentsStatus.SKIPPED)
ROOT_ON_ARM = ImageFacts(
    written=str(reference()),
    reference=reference(),
    resolved=resolved(reference(), platform_image(), platform_image(ARM64, config(user=""))),
    users=(NUMERIC, UNSET),
    steps=(STEPS, STEPS),
    contents_status=ContentsStatus.UNAVAILABLE,
    problems=(
        Problem(Stage.INSPECTION, "layer-malformed", retryable=False, msg="the layer sha256:… is no gzip stream"),
    ),
    evidence=evidence(report(platform=AMD64)),
)
REJECTED = ImageFacts(
    written=str(reference("named")),
    reference=reference("named"),
    resolved=resolved(reference("named"), platform_image(AMD64, config(user="app", created=None))),
    users=(NAMED,),
    steps=(STEPS,),
    contents_status=ContentsStatus.PENDING,
    problems=(
        Problem(
            Stage.INSPECTION,
            "inspection-pending",
            retryable=True,
            msg="the image is still being inspected; the work goes on in the background",
            pending=True,
        ),
    ),
    evidence=evidence(rejected=(attestation(reason="attestation-untrusted", message="no configured key signed it"),)),
)
VULNERABLE = replace(
    CLEAN,
    evidence=evidence(
        report(
            vulnerabilities=(finding("CVE-2026-0002", Severity.CRITICAL), finding("CVE-2026-0003", Severity.CRITICAL))
        )
    ),
)
STALE = replace(CLEAN, evidence=evidence(report(scanned_at=NOW - timedelta(days=8))))
SET_ASIDE = VexMark(
    status=VexStatus.NOT_AFFECTED,
    justification="vulnerable_code_not_in_execute_path",
    impact="The parser is never called.",
    signer=RELEASE,
    attestation=digest("vex"),
    issued_at=NOW - timedelta(days=3),
    expires_at=NOW + timedelta(days=27),
)
PRODUCT_SAYS = VexDocument(
    format="openvex",
    id="https://git.example/acme/web/vex/7",
    author="acme product security",
    version="2",
    issued_at=NOW - timedelta(days=3),
    statements=(
        VexStatement(
            ("CVE-2026-0004",),
            VexStatus.NOT_AFFECTED,
            SET_ASIDE.justification,
            SET_ASIDE.impact,
            (VexProduct(purl="pkg:oci/web"),),
            NOW - timedelta(days=3),
        ),
    ),
)
WITH_VEX = replace(
    CLEAN,
    components=True,
    evidence=evidence(
        report(
            platform=AMD64,
            vulnerabilities=(
                finding("CVE-2026-0004", Severity.CRITICAL, vex=SET_ASIDE, aliases=("GHSA-aaaa-bbbb-cccc",)),
                finding("CVE-2026-0001", Severity.LOW, available=NOW - timedelta(days=2), epss=0.02, exploited=False),
            ),
        ),
        rejected=(SIGNATURE,),
        vex=(
            AttestedVex(
                PRODUCT_SAYS,
                said(PredicateClass.VEX, VEX, signer=RELEASE, digest=digest("vex")),
                expires_at=NOW + timedelta(days=27),
                applied=1,
            ),
        ),
        evaluations=(
            Attested(
                Evaluation(
                    tool="anchore",
                    policy="2c53a13c-1765-11e8-82ef-23527761d060",
                    passed=True,
                    action="warn",
                    evaluated_at=NOW - timedelta(hours=20),
                    target_digests=(digest(f"manifest {AMD64}"),),
                    checks=(Check("dockerfile", "instruction", "warn", "Dockerfile directive HEALTHCHECK not found"),),
                ),
                attestation(seed="evaluation"),
            ),
        ),
        **ALSO,
    ),
)
SUPPRESSED = replace(
    CLEAN,
    evidence=evidence(
        report(
            platform=AMD64,
            suppressed=1,
            suppressions=(Suppression("CVE-2026-0005", "zlib1g", ".trivyignore"),),
            filters=("only-fixed",),
            complete=False,
            incomplete_because="the scanner was told to leave findings out: only-fixed",
            system=ScannedSystem("debian", "9", end_of_life=True),
        ),
        rejected=(SIGNATURE,),
        **ALSO,
    ),
)
MISSING = ImageFacts(
    written=str(reference("missing")),
    reference=reference("missing"),
    problems=(Problem(Stage.REGISTRY, "image-not-found", retryable=False, msg="the registry has no such tag"),),
)
NO_REFERENCE = ImageFacts(
    written="Not A Reference",
    reference=None,
    problems=(Problem(Stage.REFERENCE, "image-reference-invalid", retryable=False, msg="it has a blank"),),
)

# Those that look for something in layers, where it is or where nobody could look.
FINDING = frozenset(
    {
        "image-build-tools",
        "image-leftovers",
        "image-libc",
        "image-multi-stage",
        "image-ownership",
        "image-package-manager",
        "image-pip-cache",
        "image-secrets",
        "image-setuid",
        "image-shell",
    }
)
INSIDE = FINDING | {"image-bytecode", "image-size"}
# Those that ask for something signed: beside scans, and scans.
UNATTESTED = frozenset({"lint-required", "sbom-required", "provenance", "image-signed"})
UNSCANNED = frozenset({"scan-required"})
UNSIGNED = UNATTESTED | UNSCANNED
ALL = INSIDE | UNSIGNED | {"image-user", "image-numeric-user", "image-pinned", "image-age"}
UNCONFIGURED = frozenset({"image-exec-form", "image-history"})


UNSAID = frozenset(
    {
        "image-healthcheck",
        *("pss-drop-capabilities", "pss-non-root", "pss-privilege-escalation", "pss-seccomp-required"),
    }
)
"""What a plain pod does not say: a probe, and what level restricted of the Pod Security Standards wants to be said."""
UNLISTED = frozenset({"image-layer-order"})
"""Those that need the list of packages, which is in the input only for who reads it."""


def one(image: ImageFacts, user: ImageUser, violates: frozenset[str]) -> Sample:
    containers = (ContainerFacts(container(image.written), container_user(user)),)
    return Sample(containers, (image,), violates | UNSAID | (frozenset() if image is TOOLS else UNLISTED))


SAMPLES: Mapping[str, Sample] = {
    "clean": one(CLEAN, NUMERIC, frozenset()),
    "root-on-one-platform": one(
        ROOT_ON_ARM, UNSET, INSIDE | UNSIGNED | {"image-user", "image-numeric-user", "image-pinned"}
    ),
    "untrusted-scan": one(REJECTED, NAMED, ALL),
    "vulnerable": one(VULNERABLE, NUMERIC, UNATTESTED | {"scan-severity"}),
    "stale": one(STALE, NUMERIC, UNATTESTED | {"scan-fresh"}),
    "tools": one(TOOLS, NUMERIC, FINDING),
    "vex": one(WITH_VEX, NUMERIC, frozenset()),
    "suppressed": one(SUPPRESSED, NUMERIC, frozenset({"scan-required"})),
    "missing-image": one(MISSING, NAMED, ALL | UNCONFIGURED),
    "no-reference": one(NO_REFERENCE, NAMED, ALL | UNCONFIGURED | {"image-source"}),
    "privileged": Sample(
        (
            ContainerFacts(
                container(CLEAN.written, securityContext={"privileged": True, "runAsUser": 0}),
                ContainerUser(0, None, "", UserSource.CONTAINER, root=True, run_as_non_root=False),
            ),
            ContainerFacts(
                container(CLEAN.written, name="files", kind=ContainerKind.VOLUME),
                ContainerUser(None, None, "", UserSource.UNSET, root=False, run_as_non_root=None),
            ),
        ),
        (CLEAN,),
        UNSAID
        | UNLISTED
        | {"image-user", "pod-privileges", "pss-host-namespaces", "pss-host-path", "pss-non-root-user"}
        | {"pss-privileged", "pss-volume-types"},
        {
            "hostNetwork": True,
            "volumes": [
                {"name": "files", "image": {"reference": CLEAN.written}},
                {"name": "run", "hostPath": {"path": "/run"}},
            ],
        },
    ),
    "nothing-fetched": Sample(
        (ContainerFacts(container(PINNED_TEXT := str(PINNED)), container_user(NAMED)),),
        (ImageFacts(written=PINNED_TEXT, reference=PINNED),),
        INSIDE | UNSIGNED | UNSAID | UNLISTED | UNCONFIGURED | {"image-user", "image-numeric-user", "image-age"},
    ),
    "no-pod": Sample((), (), frozenset()),
}


def main(folder: str) -> None:
    for name, sample in SAMPLES.items():
        Path(folder, f"{name}.json").write_bytes(pretty(sample))


def pretty(sample: Sample) -> bytes:
    return (json.dumps(json.loads(sample.document()), indent=2, ensure_ascii=False) + "\n").encode()


if __name__ == "__main__":
    main(sys.argv[1])
