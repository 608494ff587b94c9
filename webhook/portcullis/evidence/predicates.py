"""What a predicate type is about: the one table of types that are known, and how they are matched."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from portcullis.evidence.mediatypes import SIMPLE_SIGNING
from portcullis.model.evidence import PredicateClass

COSIGN_SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
"""The predicate type of ``cosign sign`` in its new format."""
NOTARY_PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
LINT_V1 = "https://portcullis.dev/attestation/lint/v1"

Classes = tuple[PredicateClass, ...]

_Said = TypeVar("_Said")

_SCAN: Classes = (PredicateClass.VULNERABILITY,)
_SBOM: Classes = (PredicateClass.SBOM,)
_VEX: Classes = (PredicateClass.VEX,)
_SIGNATURE: Classes = (PredicateClass.SIGNATURE,)
# A bill of materials may hold findings, and an analysis of each: three things, which may need three signers.
_BILL: Classes = (PredicateClass.SBOM, PredicateClass.VULNERABILITY, PredicateClass.VEX)

_TYPES: Mapping[str, Classes] = MappingProxyType(
    {
        "https://cosign.sigstore.dev/attestation/vuln": _SCAN,
        "cosign.sigstore.dev/attestation/vuln": _SCAN,
        "https://in-toto.io/attestation/vulns": _SCAN,
        "https://scout.docker.com/vulnerabilities": _SCAN,
        LINT_V1: (PredicateClass.LINT,),
        "https://cyclonedx.org/bom": _BILL,
        "https://spdx.dev/Document": _SBOM,
        "https://openvex.dev/ns": _VEX,
        "text/vex": _VEX,  # as OpenVEX's ATTESTING.md writes it
        "https://slsa.dev/provenance": (PredicateClass.PROVENANCE,),
        COSIGN_SIGNATURE: _SIGNATURE,
        SIMPLE_SIGNING: _SIGNATURE,
        NOTARY_PAYLOAD: _SIGNATURE,
    }
)

_REPORTS: Mapping[str, Classes] = MappingProxyType(
    {
        "application/sarif+json": (PredicateClass.VULNERABILITY, PredicateClass.LINT),
        "application/vnd.aquasec.trivy.report+json": _SCAN,
        "application/vnd.aquasec.trivy.report.v1+json": _SCAN,
        "application/vnd.aquasecurity.trivy.report.sarif.v1": _SCAN,
        "application/vnd.clair.vulnerability_report.v1+json": _SCAN,
        "application/spdx+json": _SBOM,
        "text/spdx+json": _SBOM,
        "application/vnd.cyclonedx+json": _BILL,
        "application/vnd.cyclonedx": _BILL,
        "application/openvex+json": _VEX,
        "application/vnd.openvex+json": _VEX,
        "application/csaf+json": _VEX,
    }
)
"""Media types of reports that are attached as they are, without a statement around them."""


def classes_of(predicate_type: str, own: Mapping[str, PredicateClass]) -> Classes:
    """What a predicate type is about, the most specific first; a Cyclone DX bill is several things at once.

    A known type matches whole, or up to a "/" (its versions), so that ``…/bom/v1.6`` is a bill and ``…/bom-evil`` is
    not.

    Args:
        predicate_type: from the signed statement; or the media type of a report that has no statement.
        own: what the operator says of types. It wins over what is built in, however short its match is.
    """
    declared = _longest(predicate_type, own)
    if declared is not None:
        return (declared,)
    return _longest(predicate_type, _TYPES) or _REPORTS.get(predicate_type) or (PredicateClass.OTHER,)


def is_report(media_type: str, own: Mapping[str, PredicateClass]) -> bool:
    """Whether something of that media type is a report that is attached as it is."""
    return media_type in _REPORTS or media_type in own


def _longest(predicate_type: str, known: Mapping[str, _Said]) -> _Said | None:
    prefix = predicate_type
    while prefix:
        if prefix in known:
            return known[prefix]
        prefix = prefix.rpartition("/")[0]
    return None
