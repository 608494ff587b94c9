"""The policy document: facts in, the JSON that Rego sees as ``input`` out.

``portcullis.policy.schema`` describes the same shape for authors; a test holds the two together. A fact that
could not be had is null, or an empty list, and has an entry in its image's ``problems``: absent facts never
read as good ones as long as policies name the good value and negate that (docs/authors.md).
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from portcullis.errors import TooLarge
from portcullis.limits import Limits
from portcullis.model.contents import Application, Contents, ContentsStatus, Finding, FindingClass, Package
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import BuildStep, ImageConfig, ImageUser, PlatformImage
from portcullis.model.place import NamespaceFacts
from portcullis.model.request import AdmissionRequest
from portcullis.model.workload import Workload
from portcullis.policy.attested import evidence_of
from portcullis.policy.plain import JSON, age_hours, optional_time, plain, time_text


def build_document(
    *,
    now: datetime,
    request: AdmissionRequest,
    workload: Workload,
    namespace: NamespaceFacts | None = None,
    containers: Sequence[ContainerFacts],
    images: Sequence[ImageFacts],
    limits: Limits,
) -> bytes:
    """The policy input of one decision as JSON.

    Args:
        now: the one instant of this decision, with its time zone.
        request: already redacted; ``raw`` becomes ``input.request`` as it is.
        workload: read from the redacted request.
        namespace: of the request, None where it is not known or nobody reads its labels.
        containers: every container and image volume, in the order of the object.
        images: facts per image as written; each key of ``input.images`` is such a text.
        limits: ``document_bytes`` bounds the result.

    Raises:
        TooLarge: the document is over ``document_bytes``.
        ValueError: a time without a zone, which would be a bug of ours.
    """
    known = {image.written: image for image in images}
    document = {
        "time": {"now": time_text(now)},
        "request": request.raw,
        "workload": _workload(workload),
        "namespace": _namespace(request.namespace, namespace),
        "containers": [_container(facts, known.get(facts.container.image)) for facts in containers],
        "images": {written: _image(image, now) for written, image in known.items()},
    }
    content = msgspec.json.encode(document, enc_hook=plain)
    if len(content) > limits.document_bytes:
        raise TooLarge(f"the policy input has {len(content)} bytes; the limit documentBytes is {limits.document_bytes}")
    return content


def _namespace(name: str, facts: NamespaceFacts | None) -> JSON:
    if facts is None:
        return {"name": name, "labels": None, "annotations": None}
    return {"name": name, "labels": dict(facts.labels), "annotations": dict(facts.annotations)}


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
    if image.recorded is not None:
        return dict(image.recorded)
    reference, resolved = image.reference, image.resolved
    return {
        "reference": str(reference) if reference is not None else None,
        "registry": reference.repository.registry if reference is not None else None,
        "repository": reference.repository.path if reference is not None else None,
        "tag": reference.tag if reference is not None else None,
        "digest": str(resolved.digest) if resolved is not None else None,
        "isIndex": resolved.is_index if resolved is not None else None,
        "staleSince": optional_time(image.stale_since),
        "platforms": _platforms(image, now),
        **evidence_of(image.evidence, resolved, now, components=image.components),
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
        "created": optional_time(image.config.created),
        "ageHours": age_hours(image.config.created, now),
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
