"""The JSON Schema of what the policy input says about signed evidence; beside :mod:`portcullis.policy.attested`."""

from portcullis.model.evidence import CarrierKind, PredicateClass, Severity, VexStatus
from portcullis.policy.attested import LEVELS
from portcullis.policy.schemawords import (
    Schema,
    closed,
    digest,
    flag,
    hours,
    instant,
    listed,
    number,
    or_null,
    record,
    ref,
    text,
    texts,
    whole,
)

SEVERITIES = tuple(map(str, Severity))
ACTIONS = ("go", "warn", "stop")


def evidence_lists() -> dict[str, Schema]:
    """Fields of one image."""
    return {
        "attestations": listed("Everything found attached, verified or rejected.", ref("attestation")),
        "scans": listed("Scan reports of verified attestations.", ref("scan")),
        "evaluations": listed("Verdicts of scanners by policies of their own (Anchore).", ref("evaluation")),
        "lint": listed("Reports of linters about the Dockerfile.", ref("lint")),
        "sboms": listed("Software bills of materials.", ref("sbom")),
        "provenance": listed("SLSA provenance: who built it, from what.", ref("provenance")),
        "vex": listed("VEX documents; what they say of a finding stands there.", ref("vexDocument")),
    }


def evidence_definitions() -> dict[str, Schema]:
    return {
        "attestation": _attestation(),
        "signer": _signer(),
        "scan": _scan(),
        "vulnerability": _vulnerability(),
        "vexMark": _vex_mark(),
        "evaluation": _evaluation(),
        "lint": _lint(),
        "sbom": _sbom(),
        "provenance": _provenance(),
        "vexDocument": _vex_document(),
    }


def _origin(
    platform: str = "Platform of the image that it is about; null where it is the whole image.",
) -> dict[str, Schema]:
    return {
        "platform": text(platform, null=True),
        "signer": ref("signer", null=True),
        "attestation": digest("Digest of the attestation that carried it."),
    }


def _attestation() -> Schema:
    return record(
        "One attestation that was found. Only a verified one says anything about the image.",
        verified=flag("Signed by a trusted signer, who may say such things of this image, about this very digest."),
        reason=text('Stable reason code of the rejection; "" where verified.'),
        message=text('One sentence on the rejection; "" where verified.'),
        predicateType=text("As signed; of a rejected attestation possibly only claimed, or empty."),
        predicateClass=text("What it is about.", one_of=tuple(map(str, PredicateClass))),
        signer=ref("signer", null=True),
        carrier=text("Where it was found.", one_of=tuple(map(str, CarrierKind))),
        digest=digest("Digest of the attestation itself."),
        subject=digest("Digest of the image that it was found at."),
        platform=text("Platform of that image; null where it is the whole image.", null=True),
        signedAt=instant("When it was signed, by a time that can be trusted.", null=True),
        logged=flag("An entry in a transparency log was proven."),
        repository=text('Where it was found, "" for the repository of the image.'),
    )


def _signer() -> Schema:
    return record(
        "A signer of the `trust` configuration.",
        name=text("Its name there."),
        kind=text("How it signs.", one_of=("key", "keyless", "notation")),
        issuer=text('Who vouches for it: OpenID issuer, or issuer of the certificate; "" for keys.'),
        identity=text('Identity in the certificate; "" for keys.'),
    )


def _scan() -> Schema:
    counts = {severity: whole(f"Findings of severity {severity}.") for severity in SEVERITIES}
    return record(
        "One vulnerability scan, in one form for all scanners.",
        scanner=record(
            "What scanned.",
            name=text("In lower case, such as trivy."),
            version=text('"" where the report does not say.'),
            dbBuiltAt=instant("When its database was built.", null=True),
        ),
        format=text("The form it was read from, such as trivy-json."),
        scannedAt=instant("The oldest of the times that wrapper and report give.", null=True),
        ageHours=hours("Age of the scan,"),
        dbAgeHours=hours("Age of the scanner's database,"),
        **_origin("The one platform that was scanned; null where the report does not say."),
        suppressed=whole("Findings that the report itself marks as ignored."),
        suppressions=listed(
            "The first of them.",
            record(
                "One of them.",
                id=text("Such as CVE-2026-12345."),
                package=text("Package that has it."),
                why=text("The rule that left it out, as the report says."),
            ),
        ),
        filters=texts("Settings of the scanner that leave findings out, such as only-fixed."),
        complete=flag("Whether the report looked at the image and left nothing out, as far as it shows."),
        incompleteBecause=text('Why it is not complete; "" where it is.'),
        system=or_null(
            record(
                "The operating system that it saw.",
                family=text("Such as debian."),
                version=text("Such as 12."),
                endOfLife=flag("No longer supplied with fixes; null where the report does not say.", null=True),
            )
        ),
        packages=whole("How many packages the scanner saw; null where the report does not say.", null=True),
        newerSeen=instant(
            "When a newer scan by that scanner was made, which was seen once and is gone now; null without one.",
            null=True,
        ),
        markKnown=flag("Whether it could be looked up if there was a newer one."),
        counts=closed(
            "Number of findings.",
            {
                **counts,
                "fixable": whole("Findings with a fixed version."),
                "setAside": whole("Findings that a VEX statement in force calls not affected, or fixed."),
            },
        ),
        vulnerabilities=listed("The findings.", ref("vulnerability")),
    )


def _vulnerability() -> Schema:
    return record(
        "One finding.",
        id=text("Such as CVE-2026-12345."),
        aliases=texts("Other names of it."),
        package=text("Package that has it."),
        purl=text('Package URL; "" where not known.'),
        installed=text("Installed version."),
        fixed=text('Version that mends it; "" where there is none.'),
        severity=text("On one scale for all scanners.", one_of=SEVERITIES),
        score=number("CVSS base score.", null=True),
        state=text("The scanner's own word for its state."),
        path=text('Where the package lies in the image; "" where not known.'),
        exploited=flag("Exploited in the wild, by the report's own data; null where it has none.", null=True),
        epss=number("Probability of exploitation within 30 days, 0 to 1.", null=True),
        available=instant("When the fix was published; null where not known.", null=True),
        vex=ref("vexMark", null=True),
    )


def _vex_mark() -> Schema:
    return record(
        "What a VEX statement says of a finding. Of several statements the least favourable.",
        status=text("Its status.", one_of=tuple(map(str, VexStatus))),
        justification=text('Such as component_not_present; "" without one.'),
        impact=text("The impact statement."),
        signer=ref("signer"),
        attestation=digest("Digest of the attestation that carried it."),
        issuedAt=instant("When the statement was made.", null=True),
        ageHours=hours("Age of the statement,"),
        expiresAt=instant("When it ceases to count by the trust rule; null without an end.", null=True),
        expired=flag("Whether it has ceased to count."),
    )


def _evaluation() -> Schema:
    return record(
        "A scanner's verdict by a policy of its own.",
        tool=text("Such as anchore."),
        policy=text("Id of that policy."),
        passed=flag("Its status was pass."),
        action=text("Its final action.", one_of=ACTIONS),
        evaluatedAt=instant("When it was made.", null=True),
        ageHours=hours("Age of the verdict,"),
        **_origin(),
        checks=listed(
            "Its lines.",
            record(
                "One of them.",
                gate=text("Gate."),
                trigger=text("Trigger."),
                action=text("What it demands.", one_of=ACTIONS),
                message=text("In words."),
            ),
        ),
    )


def _lint() -> Schema:
    return record(
        "A linter's report about the Dockerfile.",
        tool=record("What looked.", name=text("Such as hadolint."), version=text('"" where not said.')),
        lintedAt=instant("When it looked.", null=True),
        ageHours=hours("Age of the report,"),
        **_origin(),
        dockerfile=text('sha256 of the Dockerfile; "" where not said.'),
        suppressed=whole("Findings that are marked as ignored."),
        complete=flag("Whether the file could be read as a whole."),
        incompleteBecause=text('Why not; "" where it could.'),
        counts=closed("Number of findings.", {level: whole(f"Those of level {level}.") for level in LEVELS}),
        findings=listed(
            "The findings.",
            record(
                "One of them.",
                rule=text("Such as DL3008."),
                level=text("How grave.", one_of=LEVELS),
                file=text("The file."),
                line=whole("The line, from 1; 0 where not said."),
                message=text("In words."),
            ),
        ),
    )


def _sbom() -> Schema:
    component = record(
        "One component.",
        name=text("Its name."),
        version=text('"" where not said.'),
        purl=text('Package URL; "" where not said.'),
        type=text("Such as library."),
        licenses=texts("Licences, as written."),
    )
    return record(
        "A software bill of materials.",
        format=text("Its form.", one_of=("cyclonedx", "spdx")),
        specVersion=text("Such as 1.6."),
        createdAt=instant("When it was made.", null=True),
        ageHours=hours("Its age,"),
        tools=texts("What made it."),
        **_origin(),
        componentCount=whole("Number of components."),
        components={
            "description": "The components, in the input only where a policy reads them.",
            "anyOf": [{"type": "array", "items": component}, {"type": "null"}],
        },
    )


def _provenance() -> Schema:
    return record(
        "SLSA provenance.",
        version=text("Version of the format, such as 1."),
        buildType=text("Type of the build, a URI."),
        builder=text("Id of the builder, a URI."),
        source=text('The repository that was built, without "git+" and ref; "" where not said.'),
        sourceRef=text("Such as refs/tags/v1."),
        sourceDigest=text("The commit, algorithm:hex."),
        entryPoint=text("Such as the path of the workflow."),
        invocation=text("Id of the run."),
        startedAt=instant("When the build began.", null=True),
        finishedAt=instant("When it ended.", null=True),
        ageHours=hours("Time since the build,"),
        complete=flag("The builder says that the materials are complete; null where it does not say.", null=True),
        **_origin(),
        materials=listed(
            "What went into the build.",
            record("One of them.", uri=text("Where it came from."), digest=text('algorithm:hex; "" where not said.')),
        ),
    )


def _vex_document() -> Schema:
    return record(
        "One VEX document.",
        format=text("Its form.", one_of=("openvex", "cyclonedx", "csaf")),
        id=text("Its id."),
        author=text("Who says that he wrote it; its signer is what counts."),
        version=text("Its version."),
        issuedAt=instant("The newest time that it gives itself.", null=True),
        ageHours=hours("Its age,"),
        expiresAt=instant("When it ceases to count by the trust rule; null without an end.", null=True),
        expired=flag("Whether it has ceased to count."),
        **_origin(),
        statements=whole("Number of its statements."),
        applied=whole("Number of findings of which it says something."),
    )
