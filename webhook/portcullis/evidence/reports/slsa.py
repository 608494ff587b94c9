"""SLSA provenance, versions 0.2 and 1 (slsa.dev/spec/v0.2/provenance, slsa.dev/spec/v1.1/provenance).

What was built stands in different places, as each build type defines its own parameters. Read are those of GitHub
Actions (``workflow``), BuildKit (``configSource``), Google Cloud Build and Tekton (``buildConfigSource``), GitLab and
the generators of slsa-framework (``source``); where none of them is there, the first resolved dependency (version 1)
or material (version 0.2), if it is a git repository. All of these are what the builder says: a policy that trusts them
pins the builder and the build type, too.

Of BuildKit neither that is read, nor what it copies from the caller's working copy (``vcs``): a Dockerfile of a local
folder names as its first dependency whatever it likes by ``ADD``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, ReportError, shown
from portcullis.evidence.reports.given import is_given
from portcullis.evidence.times import parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import Material, Provenance

_BEST_FIRST = ("sha256", "sha512", "sha1", "gitCommit")
_COMMITS = ("gitCommit", "sha1", "sha256")
"""Names under which the digest of a commit stands; some builders write a SHA-1 under the name sha256."""
_WITHOUT_FIRST = ("https://mobyproject.org/buildkit", "https://github.com/moby/buildkit/")
"""Beginnings of build types whose first dependency says nothing of the source."""
_WHAT = "the provenance"


class _Resource(msgspec.Struct, gc=False):
    """A ResourceDescriptor (in-toto), or one of the places where a build type names its source."""

    uri: str | None = None
    digest: dict[str, str] | None = None
    entry_point: str | None = msgspec.field(default=None, name="entryPoint")
    repository: str | None = None
    ref: str | None = None
    path: str | None = None


class _Value(msgspec.Struct, gc=False):
    value: str | None = None


class _NestedSource(msgspec.Struct, gc=False):
    """``source`` as the draft of version 1 writes it, and as the later one does."""

    uri: str | None = None
    digest: dict[str, str] | None = None
    artifact: _Resource | None = None


class _Builder(msgspec.Struct, gc=False):
    id: str | None = None


class _Completeness(msgspec.Struct, gc=False):
    materials: bool | None = None
    dependencies: bool | None = msgspec.field(default=None, name="resolvedDependencies")


class _Metadata(msgspec.Struct, gc=False):
    """Both versions. Go's types spell the invocation's id otherwise than the specification."""

    invocation: str | None = msgspec.field(default=None, name="invocationId")
    invocation_go: str | None = msgspec.field(default=None, name="invocationID")
    build_invocation: str | None = msgspec.field(default=None, name="buildInvocationId")
    build_invocation_go: str | None = msgspec.field(default=None, name="buildInvocationID")
    started: str | None = msgspec.field(default=None, name="startedOn")
    finished: str | None = msgspec.field(default=None, name="finishedOn")
    build_started: str | None = msgspec.field(default=None, name="buildStartedOn")
    build_finished: str | None = msgspec.field(default=None, name="buildFinishedOn")
    completeness: _Completeness | None = None
    buildkit: _Completeness | None = msgspec.field(default=None, name="buildkit_completeness")


class _Invocation(msgspec.Struct, gc=False):
    config_source: _Resource | None = msgspec.field(default=None, name="configSource")


class _Predicate02(msgspec.Struct, gc=False):
    builder: _Builder | None = None
    build_type: str | None = msgspec.field(default=None, name="buildType")
    invocation: _Invocation | None = None
    metadata: _Metadata | None = None
    materials: list[_Resource] | None = None


class _Definition(msgspec.Struct, gc=False):
    build_type: str | None = msgspec.field(default=None, name="buildType")
    external: dict[str, msgspec.Raw] | None = msgspec.field(default=None, name="externalParameters")
    dependencies: list[_Resource] | None = msgspec.field(default=None, name="resolvedDependencies")


class _Run(msgspec.Struct, gc=False):
    builder: _Builder | None = None
    metadata: _Metadata | None = None


class _Predicate1(msgspec.Struct, gc=False):
    definition: _Definition = msgspec.field(name="buildDefinition")
    run: _Run | None = msgspec.field(default=None, name="runDetails")


class _Probe(msgspec.Struct, gc=False):
    definition: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw, name="buildDefinition")
    builder: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class _Source:
    """``uri`` as written; ``ref`` "" where it stands in the URI, or nowhere."""

    uri: str = ""
    ref: str = ""
    digest: Mapping[str, str] | None = None
    entry_point: str = ""


def read_provenance(predicate: bytes, predicate_type: str, limits: Limits) -> Provenance:
    """The provenance in ``predicate``.

    ``materials`` are as written; ``source`` is without "git+", user name, ref, query, ".git" and "/" at its end, its
    scheme and host in lower case, so that policies can compare it. A field that the builder left out is "".

    Args:
        predicate_type: of the signed statement; one that is not SLSA's (mapped by the operator, or "") is told by the
            predicate's shape.

    Raises:
        EvidenceError: of another version (attestation-unsupported), of another shape (attestation-invalid), or with
            more materials than ``provenance_materials`` (too-large).
    """
    version = _version(predicate, predicate_type)
    if version == "0.2":
        return _read_02(decode_typed(predicate, _Predicate02, _WHAT), limits)
    return _read_1(decode_typed(predicate, _Predicate1, _WHAT), limits)


def _version(predicate: bytes, predicate_type: str) -> str:
    prefix, separator, version = predicate_type.partition("slsa.dev/provenance/")
    if separator and prefix in {"https://", "http://", ""}:
        if version == "v0.2":
            return "0.2"
        # Drafts and release candidates: v1.0?draft, v1-rc1.
        if re.fullmatch(r"v1(?:[.?-].*)?", version, re.ASCII):
            return "1"
        raise ReportError(
            f"SLSA provenance of version {shown(version)} is not read; v0.2 and v1 are", ATTESTATION_UNSUPPORTED
        )
    probe = decode_typed(predicate, _Probe, _WHAT)
    if is_given(probe.definition):
        return "1"
    if is_given(probe.builder):
        return "0.2"
    raise ReportError("the predicate is no SLSA provenance: it has neither buildDefinition nor builder")


def _read_02(predicate: _Predicate02, limits: Limits) -> Provenance:
    materials = _materials(predicate.materials, limits)
    metadata = predicate.metadata or _Metadata()
    config = (predicate.invocation or _Invocation()).config_source
    source = (
        _of_resource(config)
        if config is not None and config.uri
        else _first_git(predicate.build_type, predicate.materials)
    )
    completeness = metadata.completeness
    return _provenance(
        version="0.2",
        build_type=predicate.build_type or "",
        builder=predicate.builder,
        source=source,
        entry_point=(config.entry_point or "") if config is not None else "",
        metadata=metadata,
        resources=predicate.materials or (),
        materials=materials,
        complete=None if completeness is None else completeness.materials,
    )


def _read_1(predicate: _Predicate1, limits: Limits) -> Provenance:
    definition, run = predicate.definition, predicate.run or _Run()
    materials = _materials(definition.dependencies, limits)
    metadata = run.metadata or _Metadata()
    external = definition.external or {}
    source = _external_source(external) or _first_git(definition.build_type, definition.dependencies)
    completeness = metadata.buildkit
    return _provenance(
        version="1",
        build_type=definition.build_type or "",
        builder=run.builder,
        source=source,
        entry_point=source.entry_point or _external_entry_point(external),
        metadata=metadata,
        resources=definition.dependencies or (),
        materials=materials,
        complete=None if completeness is None else completeness.dependencies,
    )


def _provenance(
    *,
    version: str,
    build_type: str,
    builder: _Builder | None,
    source: _Source,
    entry_point: str,
    metadata: _Metadata,
    resources: Sequence[_Resource],
    materials: tuple[Material, ...],
    complete: bool | None,
) -> Provenance:
    repository, ref = split_source(source.uri)
    return Provenance(
        version=version,
        build_type=build_type,
        builder=(builder.id or "") if builder is not None else "",
        source=repository,
        source_ref=source.ref or ref,
        source_digest=_commit(source.digest) or _commit_of(repository, resources),
        entry_point=entry_point,
        invocation=(
            metadata.invocation
            or metadata.invocation_go
            or metadata.build_invocation
            or metadata.build_invocation_go
            or ""
        ),
        started_at=parse_time(metadata.started or metadata.build_started, "the start of the build"),
        finished_at=parse_time(metadata.finished or metadata.build_finished, "the end of the build"),
        materials=materials,
        complete=complete,
    )


def split_source(uri: str) -> tuple[str, str]:
    """``(repository, ref)`` of a source's URI: as pip and SPDX write it (``git+https://host/path@ref``) or as
    BuildKit does (``https://host/path.git#ref:folder``); normalised as :func:`read_provenance` says. What is no URL
    with a host (``git@host:path``) loses only its prefix and its fragment."""
    text, _, fragment = uri.removeprefix("git+").partition("#")
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2].lower()
    except ValueError:
        return text, ""
    if not host:
        return text.removesuffix(".git"), fragment.partition(":")[0]
    # The first "@": refs may hold more of them (refs/tags/@scope/package@1.0), paths of repositories none.
    path, _, ref = parts.path.partition("@")
    path = path.rstrip("/").removesuffix(".git")
    return f"{parts.scheme.lower()}://{host}{path}", ref or fragment.partition(":")[0]


def _external_source(external: Mapping[str, msgspec.Raw]) -> _Source | None:
    """From the parameters that known build types define; None where none of them is there."""
    for key in ("workflow", "configSource", "buildConfigSource", "sourceToBuild"):
        resource = _typed(external, key, _Resource)
        if resource is not None and (resource.repository or resource.uri):
            return _of_resource(resource)
    source = _typed(external, "source", str | _NestedSource)
    if isinstance(source, str):
        return _Source(uri=source)
    if source is not None:
        named = source.artifact or _Resource(uri=source.uri, digest=source.digest)
        if named.uri:
            return _of_resource(named)
    return None


def _external_entry_point(external: Mapping[str, msgspec.Raw]) -> str:
    path = _typed(external, "workflowPath", str | _Value)
    if path is None:
        path = _typed(external, "entryPoint", str | _Value)
    if path is None:
        # BuildKit, where the context was not a repository.
        config = _typed(external, "configSource", _Resource)
        return "" if config is None else config.path or ""
    return path if isinstance(path, str) else path.value or ""


def _typed(external: Mapping[str, msgspec.Raw], key: str, kind: Any) -> Any:
    """The parameter as ``kind``; None where it is unset or of another shape: each build type has its own."""
    raw = external.get(key)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=kind | None)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _of_resource(resource: _Resource) -> _Source:
    return _Source(
        uri=resource.repository or resource.uri or "",
        ref=resource.ref or "",
        digest=resource.digest,
        entry_point=resource.path or resource.entry_point or "",
    )


def _first_git(build_type: str | None, resources: Sequence[_Resource] | None) -> _Source:
    if (build_type or "").startswith(_WITHOUT_FIRST):
        return _Source()
    first = resources[0] if resources else _Resource()
    uri, digest = first.uri or "", first.digest or {}
    is_git = uri.startswith(("git+", "git://")) or "gitCommit" in digest or uri.partition("#")[0].endswith(".git")
    return _Source(uri=uri, digest=digest) if is_git else _Source()


def _commit_of(repository: str, resources: Sequence[_Resource]) -> str:
    """The commit of the dependency that is the source."""
    if not repository:
        return ""
    of_source = (one.digest for one in resources if one.uri and split_source(one.uri)[0] == repository)
    return next((commit for digest in of_source if (commit := _commit(digest))), "")


def _commit(digest: Mapping[str, str] | None) -> str:
    return next((f"{name}:{digest[name]}" for name in _COMMITS if digest.get(name)), "") if digest else ""


def _materials(resources: Sequence[_Resource] | None, limits: Limits) -> tuple[Material, ...]:
    found = resources or ()
    if len(found) > limits.provenance_materials:
        raise ReportError(
            f"the provenance has {len(found)} materials; the limit provenanceMaterials is "
            f"{limits.provenance_materials}",
            TOO_LARGE,
        )
    return tuple(Material(uri=one.uri or "", digest=_best(one.digest or {})) for one in found)


def _best(digest: Mapping[str, str]) -> str:
    name = next((name for name in _BEST_FIRST if name in digest), next(iter(digest), None))
    return "" if name is None else f"{name}:{digest[name]}"
