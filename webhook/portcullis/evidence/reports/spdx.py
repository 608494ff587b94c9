"""SPDX as a bill of materials: 2.2 and 2.3 as JSON, 3 as JSON-LD in the form of its own schema (a flat ``@graph``).

Field names are those of the JSON schemas of spdx.github.io/spdx-spec (2.3) and spdx.org/schema/3.0.1. Files and
snippets are no components.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, ReportError, shown
from portcullis.evidence.reports.following import TextBudget
from portcullis.evidence.reports.imagenames import digests_in
from portcullis.evidence.times import oldest, parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import Component, Sbom
from portcullis.model.image import Digest

_WHAT = "the SPDX document"
_VERSION_2 = re.compile(r"SPDX-(2\.[0-9]+)")
_CONTEXT_3 = re.compile(r"https?://spdx\.org/rdf/(3\.[0-9.]+)/")
_NO_LICENSE = frozenset({"NOASSERTION", "NONE", ""})
_CONTAINER = "container"


class _Probe(msgspec.Struct, gc=False):
    version: Any = msgspec.field(default=None, name="spdxVersion")
    context: Any = msgspec.field(default=None, name="@context")


class _Hash(msgspec.Struct, gc=False):
    """A checksum of SPDX 2, or an integrity method of SPDX 3."""

    algorithm: str | None = None
    value: str | None = msgspec.field(default=None, name="checksumValue")
    value_3: str | None = msgspec.field(default=None, name="hashValue")


class _Reference(msgspec.Struct, gc=False):
    type: str | None = msgspec.field(default=None, name="referenceType")
    locator: str | None = msgspec.field(default=None, name="referenceLocator")


class _Annotation(msgspec.Struct, gc=False):
    comment: str | None = None


class _Package(msgspec.Struct, gc=False):
    id: str | None = msgspec.field(default=None, name="SPDXID")
    name: str | None = None
    package_name: str | None = msgspec.field(default=None, name="packageName")
    """Not in the schema; some converters of tag-value documents write it."""
    version: str | None = msgspec.field(default=None, name="versionInfo")
    references: list[_Reference] | None = msgspec.field(default=None, name="externalRefs")
    checksums: list[_Hash] | None = None
    purpose: str | None = msgspec.field(default=None, name="primaryPackagePurpose")
    concluded: str | None = msgspec.field(default=None, name="licenseConcluded")
    declared: str | None = msgspec.field(default=None, name="licenseDeclared")
    attributions: list[str] | None = msgspec.field(default=None, name="attributionTexts")
    annotations: list[_Annotation] | None = None


class _Creation2(msgspec.Struct, gc=False):
    created: str | None = None
    creators: list[Any] | None = None


class _Relationship2(msgspec.Struct, gc=False):
    subject: str | None = msgspec.field(default=None, name="spdxElementId")
    type: str | None = msgspec.field(default=None, name="relationshipType")
    object: str | None = msgspec.field(default=None, name="relatedSpdxElement")


class _Document2(msgspec.Struct, gc=False):
    version: str = msgspec.field(name="spdxVersion")
    id: str | None = msgspec.field(default=None, name="SPDXID")
    creation: _Creation2 | None = msgspec.field(default=None, name="creationInfo")
    describes: list[str] | None = msgspec.field(default=None, name="documentDescribes")
    packages: list[_Package] | None = None
    relationships: list[_Relationship2] | None = None


class _Identifier(msgspec.Struct, gc=False):
    type: str | None = msgspec.field(default=None, name="externalIdentifierType")
    identifier: str | None = None


class _Element(msgspec.Struct, gc=False):
    """Any element of a graph of SPDX 3. What may be an id or an object in its place is not typed."""

    type: str | None = None
    id: str | None = msgspec.field(default=None, name="spdxId")
    node: str | None = msgspec.field(default=None, name="@id")
    name: str | None = None
    version: str | None = msgspec.field(default=None, name="software_packageVersion")
    purl: str | None = msgspec.field(default=None, name="software_packageUrl")
    purpose: str | None = msgspec.field(default=None, name="software_primaryPurpose")
    identifiers: list[_Identifier | str] | None = msgspec.field(default=None, name="externalIdentifier")
    hashes: list[_Hash | str] | None = msgspec.field(default=None, name="verifiedUsing")
    roots: Any = msgspec.field(default=None, name="rootElement")
    created: str | None = None
    created_using: Any = msgspec.field(default=None, name="createdUsing")
    relationship: str | None = msgspec.field(default=None, name="relationshipType")
    source: Any = msgspec.field(default=None, name="from")
    targets: Any = msgspec.field(default=None, name="to")
    license: str | None = msgspec.field(default=None, name="simplelicensing_licenseExpression")

    @property
    def key(self) -> str:
        return self.id or self.node or ""


class _Document3(msgspec.Struct, gc=False):
    graph: list[_Element] = msgspec.field(name="@graph")


def read_spdx(content: bytes, limits: Limits) -> Sbom:
    """The bill of materials in ``content``.

    The one package that the document describes is the image, not a component of it; a document that describes several
    lists them as components. Its digests are those that it has as checksums, package URL, version, or (Trivy) in a
    remark.

    Raises:
        EvidenceError: tag-value text, or another version (attestation-unsupported); another shape
            (attestation-invalid); more components than ``sbom_components`` (too-large).
    """
    if content.lstrip()[:1] == b'"' or content.lstrip().startswith((b"SPDXVersion:", b"#")):
        raise ReportError("SPDX as tag-value text is not read; write it as JSON (spdx-json)", ATTESTATION_UNSUPPORTED)
    probe = decode_typed(content, _Probe, _WHAT)
    if probe.version is not None:
        return _read_2(content, limits)
    context = probe.context
    for text in context if isinstance(context, list) else [context]:
        found = _CONTEXT_3.match(text) if isinstance(text, str) else None
        if found is not None:
            return _read_3(content, found[1], limits)
    raise ReportError("the document is no SPDX: it has neither spdxVersion nor the @context of SPDX 3")


def _read_2(content: bytes, limits: Limits) -> Sbom:
    document = decode_typed(content, _Document2, _WHAT)
    version = _VERSION_2.fullmatch(document.version)
    if version is None:
        raise ReportError(
            f"the SPDX document is of version {shown(document.version)}; 2.2, 2.3 and 3 are read",
            ATTESTATION_UNSUPPORTED,
        )
    packages = document.packages or []
    _require_few(len(packages), limits)
    root = _root_2(document)
    creation = document.creation or _Creation2()
    creators = [creator for creator in creation.creators or () if isinstance(creator, str)]
    return Sbom(
        format="spdx",
        spec_version=version[1],
        created_at=parse_time(creation.created, "the document's creationInfo.created"),
        tools=tuple(text.removeprefix("Tool:").strip() for text in creators if text.startswith("Tool:")),
        target_digests=() if root is None else _digests_2(root),
        components=tuple(_component_2(package) for package in packages if package is not root),
    )


def _root_2(document: _Document2) -> _Package | None:
    """The only package that the document describes, by ``documentDescribes`` or relationships either way round."""
    described = set(document.describes or ())
    itself = document.id or "SPDXRef-DOCUMENT"
    for relationship in document.relationships or ():
        if relationship.type == "DESCRIBES" and relationship.subject == itself and relationship.object:
            described.add(relationship.object)
        if relationship.type == "DESCRIBED_BY" and relationship.object == itself and relationship.subject:
            described.add(relationship.subject)
    roots = [package for package in document.packages or () if package.id in described]
    return roots[0] if len(roots) == 1 and len(described) == 1 else None


def _digests_2(root: _Package) -> tuple[Digest, ...]:
    purl = _purl_2(root)
    names = [purl, root.version]
    if (root.purpose or "").lower() == _CONTAINER or purl.startswith(("pkg:oci/", "pkg:docker/")):
        names += _hash_names(root.checksums or ())
    remarks = [*(root.attributions or ()), *(annotation.comment or "" for annotation in root.annotations or ())]
    # As Trivy writes them: "RepoDigest: registry/repository@sha256:...".
    names += [remark.removeprefix("RepoDigest:").strip() for remark in remarks if remark.startswith("RepoDigest:")]
    return digests_in(names)


def _component_2(package: _Package) -> Component:
    licenses = (package.concluded or "", package.declared or "")
    return Component(
        name=package.name or package.package_name or package.id or "",
        version=package.version or "",
        purl=_purl_2(package),
        type=(package.purpose or "").lower(),
        licenses=tuple(dict.fromkeys(one for one in licenses if one not in _NO_LICENSE)),
    )


def _purl_2(package: _Package) -> str:
    return next((one.locator for one in package.references or () if one.type == "purl" and one.locator), "")


def _read_3(content: bytes, version: str, limits: Limits) -> Sbom:
    graph = decode_typed(content, _Document3, _WHAT).graph
    packages = [element for element in graph if element.type == "software_Package"]
    _require_few(len(packages), limits)
    licenses = _licenses_3(graph)
    budget = TextBudget(limits)
    for package in packages:
        budget.spend(*licenses.get(package.key, ()))
    root = _root_3(graph, packages)
    names = {element.key: element.name or "" for element in graph if element.type == "Tool"}
    used = (key for element in graph for key in _keys(element.created_using))
    times = (element.created for element in graph if element.type == "CreationInfo")
    return Sbom(
        format="spdx",
        spec_version=version,
        created_at=oldest(*(parse_time(time, "the document's CreationInfo.created") for time in times)),
        tools=tuple(dict.fromkeys(name for key in used if (name := names.get(key)))),
        target_digests=() if root is None else _digests_3(root),
        components=tuple(
            _component_3(package, licenses.get(package.key, ())) for package in packages if package is not root
        ),
    )


def _root_3(graph: Sequence[_Element], packages: Sequence[_Element]) -> _Element | None:
    """The only package that is a root of the document, or of the bills of materials in it."""
    roots = {
        key
        for element in graph
        if element.type in {"SpdxDocument", "software_Sbom", "Bom"}
        for key in _keys(element.roots)
    }
    found = [package for package in packages if package.key in roots]
    return found[0] if len(found) == 1 else None


def _digests_3(root: _Element) -> tuple[Digest, ...]:
    purl = _purl_3(root)
    names = [purl, root.version]
    if root.purpose == _CONTAINER or purl.startswith(("pkg:oci/", "pkg:docker/")):
        names += _hash_names(one for one in root.hashes or () if isinstance(one, _Hash))
    return digests_in(names)


def _component_3(package: _Element, licenses: Sequence[str]) -> Component:
    return Component(
        name=package.name or package.key,
        version=package.version or "",
        purl=_purl_3(package),
        type=package.purpose or "",
        licenses=tuple(licenses),
    )


def _purl_3(package: _Element) -> str:
    if package.purl:
        return package.purl
    identifiers = (one for one in package.identifiers or () if isinstance(one, _Identifier))
    return next((one.identifier for one in identifiers if one.type == "packageUrl" and one.identifier), "")


def _licenses_3(graph: Sequence[_Element]) -> Mapping[str, Sequence[str]]:
    """Licence expressions by the key of their package."""
    texts = {element.key: element.license for element in graph if element.license}
    found: dict[str, dict[str, None]] = {}
    for element in graph:
        if element.relationship in {"hasConcludedLicense", "hasDeclaredLicense"} and isinstance(element.source, str):
            of_package = found.setdefault(element.source, {})
            of_package.update((text, None) for key in _keys(element.targets) if (text := texts.get(key)))
    return {package: tuple(of_package) for package, of_package in found.items()}


def _keys(value: object) -> Iterator[str]:
    """Ids of elements: one, or a list; elements that stand in the place of their id are passed over."""
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, str):
            yield one


def _hash_names(hashes: Iterable[_Hash]) -> list[str]:
    return [
        f"sha256:{(one.value or one.value_3 or '').lower()}"
        for one in hashes
        if (one.algorithm or "").lower() == "sha256"
    ]


def _require_few(count: int, limits: Limits) -> None:
    if count > limits.sbom_components:
        raise ReportError(
            f"the document has {count} packages; the limit sbomComponents is {limits.sbom_components}", TOO_LARGE
        )
