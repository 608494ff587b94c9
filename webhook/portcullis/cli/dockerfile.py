"""``portcullis dockerfile``: what Hadolint finds in a Dockerfile, and what the policies say of it."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from portcullis.cli.output import (
    API_VERSION,
    EXIT_FAILED,
    EXIT_REFUSED,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    progress,
    reported,
    stdout,
)

if TYPE_CHECKING:
    from portcullis.cli.decisions import Judged
    from portcullis.model.decision import Decision
    from portcullis.model.evidence import Evidence, LintReport
    from portcullis.model.facts import ImageFacts
    from portcullis.model.image import Access, ResolvedImage
    from portcullis.model.request import AdmissionRequest
    from portcullis.ports import Gatherer
    from portcullis.server.compose import Parts
    from portcullis.server.settings import Settings

LINT_POLICY = "lint-required"
"""The policy that reads the report of a linter alone, and so can be asked without an image."""

NO_IMAGE = "image-of-this-dockerfile"
NO_DIGEST = f"sha256:{'0' * 64}"


@reported
def dockerfile(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A Dockerfile, a folder that has one, or -.")],
    image: Annotated[
        str, typer.Option("--image", help="The image that was built from it: all policies judge it as well.")
    ] = "",
    hadolint: Annotated[
        Path | None, typer.Option("--hadolint", help="The program; without it, the one on PATH.")
    ] = None,
    policies: Annotated[
        list[Path] | None, typer.Option("--policies", help="A folder of policies beside the others; repeatable.")
    ] = None,
    config: ConfigOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=600, help="Seconds for the image.")] = 60.0,
    output: FormatOption = Format.TABLE,
) -> None:
    """Lint a Dockerfile with Hadolint, and ask the policies.

    The report counts as if a trusted signer had attested it. Without --image only the policy lint-required is asked,
    for the others need an image. Exits 1 if a policy refuses, 2 if one could not decide.
    """
    from portcullis.cli.hadolint import DOCKERFILE_BYTES, run_hadolint
    from portcullis.cli.report import read_input
    from portcullis.model.decision import Verdict
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    if policies:
        settings = settings.with_policy_folders(policies)
    file = path / "Dockerfile" if path.is_dir() else path
    with progress("hadolint looks at it"):
        report = run_hadolint(read_input(file, DOCKERFILE_BYTES), str(file), hadolint, settings.bounds())
    judged = asyncio.run(_judge(settings, report, image, timeout))
    _print(report, judged, output)
    if judged.verdict is not Verdict.ADMITTED:
        raise typer.Exit(EXIT_REFUSED if judged.verdict is Verdict.REFUSED else EXIT_FAILED)


async def _judge(settings: "Settings", report: "LintReport", image: str, seconds: float) -> "Judged":
    """The decision on a pod with the image, its evidence being what is attached to it and the report."""
    from portcullis.cli.decisions import Judged
    from portcullis.cli.manifests import Manifest
    from portcullis.cli.requests import local_user, request_of
    from portcullis.server.compose import compose

    spec = {"containers": [{"name": "image", "image": image or NO_IMAGE}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dockerfile"}, "spec": spec}
    with progress("asking the policies"):
        async with compose(
            settings, with_audit=False, user=os.environ, around=lambda real: _WithReport(real, report)
        ) as parts:
            request = request_of(Manifest("", "", 1, pod), namespace="", user=local_user(), limits=parts.limits)
            deadline = parts.clock.monotonic() + seconds
            if image:
                decision = await parts.gate.decide(request, deadline)
            else:
                decision = await _lint_policy(parts, request, report, deadline)
    return Judged("", "", 1, "Pod", "", "dockerfile", decision)


async def _lint_policy(
    parts: "Parts", request: "AdmissionRequest", report: "LintReport", deadline: float
) -> "Decision":
    """What that one policy says of the report; nothing where it is not in use."""
    from portcullis.admission.workloads import WorkloadReader
    from portcullis.case import Case
    from portcullis.collecting import container_facts
    from portcullis.policy.document import build_document

    case = Case(request, standing=parts.current(), clock=parts.clock, limits=parts.limits)
    asked = [policy for policy in parts.compiled.policies if policy.name == LINT_POLICY]
    workload = WorkloadReader(limits=parts.limits).read(request)
    case.workload = workload
    facts = _facts_of_no_image(report)
    document = build_document(
        now=case.now,
        request=request,
        workload=workload,
        containers=container_facts(workload, [facts]),
        images=[facts],
        limits=parts.limits,
    )
    if asked:
        case.take(asked, await parts.engine.evaluate(parts.compiled, [LINT_POLICY], document, deadline))
    return case.conclude()


def _facts_of_no_image(report: "LintReport") -> "ImageFacts":
    """Those of an image of one platform of which nothing is known but the report."""
    from portcullis.inspection.config import image_user
    from portcullis.limits import DEFAULT_LIMITS
    from portcullis.model.facts import ImageFacts
    from portcullis.model.image import Digest, ImageConfig, Platform, PlatformImage, ResolvedImage
    from portcullis.reference.parse import parse_reference

    digest = Digest(NO_DIGEST)
    config = ImageConfig("", None, (), (), "", (), (), (), {}, (), ())
    platform = PlatformImage(Platform("linux", "amd64"), digest, digest, config, ())
    reference = parse_reference(NO_IMAGE, limits=DEFAULT_LIMITS)
    return ImageFacts(
        written=NO_IMAGE,
        reference=reference,
        resolved=ResolvedImage(reference, digest, "", is_index=False, platforms=(platform,)),
        users=(image_user(config),),
        evidence=_as_evidence(report, NO_DIGEST),
    )


class _WithReport:
    """A Gatherer that adds the report to what is really attached."""

    def __init__(self, real: "Gatherer", report: "LintReport") -> None:
        self._real = real
        self._report = report

    async def gather(self, image: "ResolvedImage", access: "Access") -> "Evidence":
        found = await self._real.gather(image, access)
        mine = _as_evidence(self._report, image.digest)
        return replace(found, attestations=(*found.attestations, *mine.attestations), lint=(*found.lint, *mine.lint))


def _as_evidence(report: "LintReport", subject: str) -> "Evidence":
    """As if whoever runs the command were a trusted signer."""
    from portcullis.evidence.attest import PREDICATE_TYPES
    from portcullis.model.evidence import Attestation, Attested, CarrierKind, Evidence, PredicateClass, Signer
    from portcullis.model.image import Digest

    attestation = Attestation(
        verified=True,
        reason="",
        message="",
        predicate_type=PREDICATE_TYPES["lint"],
        predicate_class=PredicateClass.LINT,
        signer=Signer("local", "key"),
        carrier=CarrierKind.REFERRER,
        digest=Digest(f"sha256:{report.dockerfile}"),
        subject=Digest(subject),
        platform=None,
        signed_at=None,
    )
    return Evidence(attestations=(attestation,), lint=(Attested(report, attestation),))


def _print(report: "LintReport", judged: "Judged", output: Format) -> None:
    from datetime import UTC, datetime

    from portcullis.cli.decisions import verdict_text, why_text
    from portcullis.cli.reportview import fact_view, fields_of, plain_json
    from portcullis.server.recordjson import decision_json

    fields = fields_of(report, datetime.now(UTC))
    assert judged.decision is not None
    if output is Format.JSON:
        decision = decision_json(judged.decision)
        print_json({"apiVersion": API_VERSION, "kind": "DockerfileReport", "lint": plain_json(fields), **decision})
        return
    console = stdout()
    console.print(fact_view(report, fields, every=True))
    console.print(Text("\nPolicies", "bold"))
    console.print(verdict_text(judged.decision.verdict))
    if why := why_text(judged.decision):
        console.print(why)
