"""CycloneDX documents (cyclonedx.org/docs, 1.2 to 1.7 as JSON): their types, and what both readers need of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

import msgspec

from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, ReportError, shown
from portcullis.evidence.reports.imagenames import digests_in
from portcullis.limits import Limits
from portcullis.model.image import Digest

_VERSION = re.compile(r"1\.[2-9]|1\.[1-9][0-9]", re.ASCII)
_CONTAINER = "container"
_REPO_DIGEST = "aquasecurity:trivy:RepoDigest"
_IMAGE_ID = "aquasecurity:trivy:ImageID"


class Hash(msgspec.Struct, gc=False):
    alg: str | None = None
    content: str | None = None


class Property(msgspec.Struct, gc=False):
    name: str | None = None
    value: str | None = None


class License(msgspec.Struct, gc=False):
    id: str | None = None
    name: str | None = None


class LicenseChoice(msgspec.Struct, gc=False):
    license: License | None = None
    expression: str | None = None


class CdxComponent(msgspec.Struct, gc=False):
    """A component, with others in it."""

    type: str | None = None
    group: str | None = None
    name: str | None = None
    version: str | None = None
    purl: str | None = None
    ref: str | None = msgspec.field(default=None, name="bom-ref")
    hashes: list[Hash] | None = None
    licenses: list[LicenseChoice] | None = None
    properties: list[Property] | None = None
    components: "list[CdxComponent] | None" = None

    @property
    def full_name(self) -> str:
        """With its group in front, as package URLs write it: ``@babel/core``."""
        return f"{self.group}/{self.name or ''}" if self.group else self.name or ""

    def property_values(self, name: str) -> Iterator[str]:
        return (one.value for one in self.properties or () if one.name == name and one.value)


class Tool(msgspec.Struct, gc=False):
    vendor: str | None = None
    group: str | None = None
    name: str | None = None
    version: str | None = None


class Tools(msgspec.Struct, gc=False):
    """As of 1.5."""

    components: list[Tool] | None = None
    services: list[Tool] | None = None


class Metadata(msgspec.Struct, gc=False):
    timestamp: str | None = None
    tools: list[Tool] | Tools | None = None
    component: CdxComponent | None = None

    @property
    def all_tools(self) -> Sequence[Tool]:
        if isinstance(self.tools, Tools):
            return [*(self.tools.components or ()), *(self.tools.services or ())]
        return self.tools or ()


class Bom(msgspec.Struct, gc=False):
    format: str = msgspec.field(name="bomFormat")
    spec_version: str = msgspec.field(name="specVersion")
    serial: str | None = msgspec.field(default=None, name="serialNumber")
    version: int | None = None
    metadata: Metadata | None = None
    components: list[CdxComponent] | None = None


def require_version(bom: Bom) -> None:
    """
    Raises:
        ReportError: it is no CycloneDX (attestation-invalid), or of a version that is not read
            (attestation-unsupported).
    """
    if bom.format != "CycloneDX":
        raise ReportError(f"the document's bomFormat is {shown(bom.format)}, not CycloneDX")
    if _VERSION.fullmatch(bom.spec_version) is None:
        raise ReportError(
            f"the CycloneDX document is of version {shown(bom.spec_version)}; 1.2 and later are read",
            ATTESTATION_UNSUPPORTED,
        )


def all_components(bom: Bom, limits: Limits) -> Sequence[CdxComponent]:
    """Its components and those in them, in the document's order.

    Raises:
        ReportError: more than ``sbom_components`` (too-large).
    """
    root = bom.metadata.component if bom.metadata is not None else None
    nested = (root.components or []) if root is not None else []
    found: list[CdxComponent] = []
    # The stack holds what is to come, the next one last.
    stack = [*nested, *(bom.components or ())][::-1]
    while stack:
        component = stack.pop()
        found.append(component)
        if len(found) > limits.sbom_components:
            raise ReportError(
                f"the document has more components than the limit sbomComponents ({limits.sbom_components})", TOO_LARGE
            )
        stack.extend(reversed(component.components or ()))
    return found


def target_digests(component: CdxComponent | None) -> tuple[Digest, ...]:
    """Digests of the image that the document describes."""
    if component is None:
        return ()
    names = [component.purl, component.version, *component.property_values(_REPO_DIGEST)]
    if component.type == _CONTAINER:
        hashes = (one.content or "" for one in component.hashes or () if one.alg == "SHA-256")
        names += [f"sha256:{content.lower()}" for content in hashes]
    return digests_in(names)


def image_id(component: CdxComponent | None) -> str:
    """The digest of the image's configuration, where Trivy wrote it; else ""."""
    values = () if component is None else digests_in(component.property_values(_IMAGE_ID))
    return next(iter(values), "")


def local_ref(ref: str, bom: Bom) -> str:
    """``ref``, or what it names in ``bom`` where it is a BOM-Link to that very document
    (``urn:cdx:<serial>/<version>#<ref>``; cyclonedx.org/capabilities/bomlink)."""
    link, separator, fragment = ref.partition("#")
    serial = (bom.serial or "").removeprefix("urn:uuid:")
    if separator and serial and link == f"urn:cdx:{serial}/{bom.version or 1}":
        return unquote(fragment)
    return ref


def by_ref(components: Sequence[CdxComponent], root: CdxComponent | None) -> Mapping[str, CdxComponent]:
    """Components by their bom-ref; of two with one ref the first."""
    found: dict[str, CdxComponent] = {}
    for component in components if root is None else (*components, root):
        if component.ref:
            found.setdefault(component.ref, component)
    return found
