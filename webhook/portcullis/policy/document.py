"""The policy document: facts in, the JSON that Rego sees as ``input`` out.

``portcullis.policy.schema`` describes the same shape for authors; a test holds the two together. A fact that
could not be had is null, or an empty list, and has an entry in its image's ``problems``: absent facts never
read as good ones as long as policies name the good value and negate that (docs/authors.md).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from portcullis.errors import TooLarge
from portcullis.limits import Limits
from portcullis.model.contents import Application, Contents, ContentsStatus, Finding, FindingClass, Package
from portcullis.model.evidence import Attestation, AttestedScan, ScanReport, Signer, Vulnerability
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import BuildStep, ImageConfig, ImageUser, Platform, PlatformImage, ResolvedImage
from portcullis.model.request import AdmissionRequest
from portcullis.model.workload import Workload

JSON = dict[str, Any]

SECONDS_PER_HOUR = 3600


def build_document(
    *,
    now: datetime,
    request: AdmissionRequest,
    workload: Workload,
    containers: Sequence[ContainerFacts],
    images: Sequence[ImageFacts],
    limits: Limits,
) -> bytes:
    """The policy input of one decision as JSON.

    Args:
        now: the one instant of this decision, with its time zone.
        request: already redacted; ``raw`` becomes ``input.request`` as it is.
        workload: read from the redacted request.
        containers: every container and image volume, in the order of the object.
        images: facts per image as written; each key of ``input.images`` is such a text.
        limits: ``document_bytes`` bounds the result.

    Raises:
        TooLarge: the document is over ``document_bytes``.
        ValueError: a time without a zone, which would be a bug of ours.
    """
    known = {image.written: image for image in images}
    document = {
        "time": {"now": _time(now)},
        "request": request.raw,
        "workload": _workload(workload),
        "namespace": {"name": request.namespace},
        "containers": [_container(facts, known.get(facts.container.image)) for facts in containers],
        "images": {written: _image(image, now) for written, image in known.items()},
    }
    content = msgspec.json.encode(document, enc_hook=_plain)
    if len(content) > limits.document_bytes:
        raise TooLarge(f"the policy input has {len(content)} bytes; the limit documentBytes is {limits.document_bytes}")
    return content


def _plain(value: object) -> object:
    """JSON objects may be any Mapping, and digests are a kind of str; msgspec knows dict and str only."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _time(instant: datetime) -> str:
    """RFC 3339 in UTC with microseconds, which ``time.parse_rfc3339_ns`` reads."""
    if instant.tzinfo is None:
        raise ValueError("a time without a zone")
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:  # an image may claim any year; the zone is nothing to the years 1 and 9999
        utc = instant.replace(tzinfo=UTC)
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _optional_time(instant: datetime | None) -> str | None:
    return None if instant is None else _time(instant)


def _age_hours(instant: datetime | None, now: datetime) -> float | None:
    """Hours from ``instant`` to ``now``; negative for a time in the future, which policies must refuse."""
    return None if instant is None else round((now - instant).total_seconds() / SECONDS_PER_HOUR, 6)


def _tri_state(root: bool | None) -> bool | str:
    return "unknown" if root is None else root


def _workload(workload: Workload) -> JSON:
    return {
        "kind": workload.kind,
        "apiVersion": workload.api_version,
        "namespace": workload.namespace,
        "name": workload.name,
        "labels": workload.labels,
        "annotations": workload.annotations,
        "podMetadata": workload.pod_metadata,
        "podSpec": workload.pod_spec,
    }


def _container(facts: ContainerFacts, image: ImageFacts | None) -> JSON:
    container, user = facts.container, facts.user
    resolved = image.resolved if image is not None else None
    reference = image.reference if image is not None else None
    return {
        "name": container.name,
        "kind": str(container.kind),
        "path": container.path,
        "image": container.image,
        "digest": str(resolved.digest) if resolved is not None else None,
        "pinned": reference is not None and reference.pinned,
        "user": {
            "uid": user.uid,
            "gid": user.gid,
            "name": user.name,
            "source": str(user.source),
            "root": _tri_state(user.root),
            "runAsNonRoot": user.run_as_non_root,
        },
        "spec": container.spec,
    }


def _image(image: ImageFacts, now: datetime) -> JSON:
    reference, resolved, evidence = image.reference, image.resolved, image.evidence
    return {
        "reference": str(reference) if reference is not None else None,
        "registry": reference.repository.registry if reference is not None else None,
        "repository": reference.repository.path if reference is not None else None,
        "tag": reference.tag if reference is not None else None,
        "digest": str(resolved.digest) if resolved is not None else None,
        "isIndex": resolved.is_index if resolved is not None else None,
        "staleSince": _optional_time(image.stale_since),
        "platforms": _platforms(image, now),
        "attestations": [_attestation(one) for one in (evidence.attestations if evidence is not None else ())],
        "scans": [_scan(one, resolved, now) for one in (evidence.scans if evidence is not None else ())],
        "sboms": [],
        "vex": [],
        "provenance": [],
        "lint": [],
        "problems": [
            {
                "stage": str(problem.stage),
                "reason": problem.reason,
                "retryable": problem.retryable,
                "msg": problem.msg,
            }
            for problem in image.problems
        ],
    }


def _platforms(image: ImageFacts, now: datetime) -> list[JSON]:
    if image.resolved is None:
        return []
    platforms = image.resolved.platforms
    steps: Sequence[Sequence[BuildStep]] = image.steps or [()] * len(platforms)
    contents: Sequence[Contents | None] = image.contents or [None] * len(platforms)
    return [
        _platform(platform, user, lines, _contents(image.contents_status, inside), now)
        for platform, user, lines, inside in zip(platforms, image.users, steps, contents, strict=True)
    ]


def _platform(image: PlatformImage, user: ImageUser, steps: Sequence[BuildStep], contents: JSON, now: datetime) -> JSON:
    return {
        "platform": str(image.platform),
        "digest": str(image.digest),
        "created": _optional_time(image.config.created),
        "ageHours": _age_hours(image.config.created, now),
        "compressedBytes": image.compressed_bytes,
        "layers": len(image.layers),
        "layerList": _layers(image, steps),
        "config": _config(image.config, steps),
        "user": {
            "raw": user.raw,
            "uid": user.uid,
            "gid": user.gid,
            "name": user.name,
            "source": str(user.source),
            "root": _tri_state(user.root),
        },
        "contents": contents,
    }


def _layers(image: PlatformImage, steps: Sequence[BuildStep]) -> list[JSON]:
    lines = {step.layer_index: step.created_by for step in steps if step.layer_index is not None}
    diff_ids = image.config.diff_ids if len(image.config.diff_ids) == len(image.layers) else ()
    return [
        {
            "digest": str(layer.digest),
            "diffId": str(diff_ids[index]) if diff_ids else None,
            "mediaType": layer.media_type,
            "compressedBytes": layer.size,
            "createdBy": lines.get(index, ""),
        }
        for index, layer in enumerate(image.layers)
    ]


def _config(config: ImageConfig, steps: Sequence[BuildStep]) -> JSON:
    return {
        "user": config.user,
        "entrypoint": list(config.entrypoint),
        "cmd": list(config.cmd),
        "workingDir": config.working_dir,
        "envNames": list(config.env_names),
        "exposedPorts": list(config.exposed_ports),
        "volumes": list(config.volumes),
        "labels": config.labels,
        "healthcheck": list(config.healthcheck),
        "history": [
            {
                "createdBy": step.created_by,
                "emptyLayer": step.empty_layer,
                "instruction": step.instruction,
                "arguments": step.arguments,
                "layerIndex": step.layer_index,
            }
            for step in steps
        ],
    }


def _contents(status: ContentsStatus, contents: Contents | None) -> JSON:
    """Without a look into the layers: empty lists, which a policy must not take for clean; the status says so."""
    if contents is None:
        nothing: JSON = {name: [] for name in FindingClass}
        return {
            "status": str(status),
            "files": None,
            "bytes": None,
            "os": {"id": None, "versionId": None, "idLike": [], "name": None, "distroless": None, "libc": None},
            "layers": [],
            **nothing,
            "libcMismatches": [],
            "application": None,
            "packages": None,
        }
    system = contents.os
    return {
        "status": str(status),
        "files": contents.files,
        "bytes": contents.bytes,
        "os": {
            "id": system.id,
            "versionId": system.version_id,
            "idLike": list(system.id_like),
            "name": system.name,
            "distroless": system.distroless,
            "libc": system.libc,
        },
        "layers": [
            {"digest": str(layer.digest), "bytes": layer.bytes, "files": layer.files} for layer in contents.layers
        ],
        **{name: [_finding(one) for one in contents.findings.get(name, ())] for name in FindingClass},
        "libcMismatches": [_finding(one) for one in contents.libc_mismatches],
        "application": _application(contents.application),
        "packages": None if contents.packages is None else [_package(one) for one in contents.packages],
    }


def _finding(finding: Finding) -> JSON:
    return {
        "path": finding.path,
        "what": finding.what,
        "rule": finding.rule,
        "layer": str(finding.layer),
        "layerIndex": finding.layer_index,
        "createdBy": finding.created_by,
        "deleted": finding.deleted,
        "mode": f"{finding.mode:04o}",
        "uid": finding.uid,
        "gid": finding.gid,
        "size": finding.size,
        "count": finding.count,
    }


def _application(application: Application) -> JSON:
    return {
        "roots": list(application.roots),
        "files": application.files,
        "ownedByRoot": application.owned_by_root,
        "ownedByUser": application.owned_by_user,
        "ownedByOthers": application.owned_by_others,
        "writable": [_finding(one) for one in application.writable],
        "foreign": [_finding(one) for one in application.foreign],
        "rewrittenBytes": application.rewritten_bytes,
    }


def _package(package: Package) -> JSON:
    return {
        "manager": package.manager,
        "name": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "layerIndex": package.layer_index,
    }


def _signer(signer: Signer | None) -> JSON | None:
    if signer is None:
        return None
    return {"name": signer.name, "kind": signer.kind, "issuer": signer.issuer, "identity": signer.identity}


def _attestation(attestation: Attestation) -> JSON:
    return {
        "verified": attestation.verified,
        "reason": attestation.reason,
        "message": attestation.message,
        "predicateType": attestation.predicate_type,
        "predicateClass": str(attestation.predicate_class),
        "signer": _signer(attestation.signer),
        "carrier": str(attestation.carrier),
        "digest": str(attestation.digest),
        "subject": str(attestation.subject),
        "platform": str(attestation.platform) if attestation.platform is not None else None,
        "signedAt": _optional_time(attestation.signed_at),
    }


def _scan(scan: AttestedScan, image: ResolvedImage | None, now: datetime) -> JSON:
    report = scan.report
    platform, conflict = _scanned_platform(report, image)
    return {
        "scanner": {
            "name": report.scanner,
            "version": report.scanner_version,
            "dbBuiltAt": _optional_time(report.db_built_at),
        },
        "scannedAt": _optional_time(report.scanned_at),
        "ageHours": _age_hours(report.scanned_at, now),
        "dbAgeHours": _age_hours(report.db_built_at, now),
        "platform": str(platform) if platform is not None else None,
        "signer": _signer(scan.attestation.signer),
        "attestation": str(scan.attestation.digest),
        "suppressed": report.suppressed,
        "complete": report.complete and not conflict,
        "incompleteBecause": conflict or report.incomplete_because,
        "counts": dict(report.counts()),
        "vulnerabilities": [_vulnerability(finding) for finding in report.vulnerabilities],
    }


def _scanned_platform(report: ScanReport, image: ResolvedImage | None) -> tuple[Platform | None, str]:
    """The one platform that a report is about (None: it does not say), and why the report cannot clear the image
    ("" where it can).

    Scanners look at one platform even where they are given an index. Which one, the digests in the report say
    best, then its architecture; the variant is often left out. A platform that is among those of the image is
    returned in the image's own spelling, so that policies can compare texts.
    """
    platforms = image.platforms if image is not None else ()
    named = {
        one.platform
        for one in platforms
        if one.digest in report.target_digests or one.config_digest == report.target_image_id
    }
    if len(named) == 1:
        (platform,) = named
        if report.platform is None or _alike(report.platform, platform):
            return platform, _shared(platform, platforms)
        return platform, f"it names the image of {platform} and says that it looked at {report.platform}"
    if report.platform is None:
        several = len({one.digest for one in platforms}) > 1
        return None, f"it does not say at which of {len(platforms)} platforms it looked" if several else ""
    alike = {one.platform for one in platforms if _alike(report.platform, one.platform)}
    platform = next(iter(alike)) if len(alike) == 1 else report.platform
    return platform, _shared(platform, platforms)


def _shared(platform: Platform, platforms: Sequence[PlatformImage]) -> str:
    """An index may list several images for one platform; runtimes choose one, and the scanner perhaps another."""
    count = len({one.digest for one in platforms if one.platform == platform})
    return f"there are {count} images for {platform}, and it looked at one of them" if count > 1 else ""


def _alike(one: Platform, other: Platform) -> bool:
    same = (one.os, one.architecture) == (other.os, other.architecture)
    return same and (one.variant == other.variant or not one.variant or not other.variant)


def _vulnerability(finding: Vulnerability) -> JSON:
    return {
        "id": finding.id,
        "aliases": list(finding.aliases),
        "package": finding.package,
        "purl": finding.purl,
        "installed": finding.installed,
        "fixed": finding.fixed,
        "severity": str(finding.severity),
        "score": finding.score,
        "state": finding.state,
        "vex": finding.vex,
    }
