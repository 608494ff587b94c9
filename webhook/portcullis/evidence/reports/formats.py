"""Which form a report has: told by the keys at its root, as a file brings no media type with it and a predicate type
may be of the signer's own making."""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError
from portcullis.limits import Limits

_WHAT = "the report"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Format(StrEnum):
    """The forms that are read."""

    TRIVY = "trivy-json"
    GRYPE = "grype-json"
    ANCHORE = "anchore-json"
    CLAIR = "clair-json"
    SARIF = "sarif"
    GITLAB = "gitlab-json"
    COSIGN_VULN = "cosign-vuln"
    COSIGN_CUSTOM = "cosign-custom"
    IN_TOTO_VULNS = "in-toto-vulns"
    HADOLINT = "hadolint-json"
    LINT = "lint"
    CYCLONEDX = "cyclonedx-json"
    SPDX = "spdx-json"
    SLSA = "slsa-provenance"
    OPENVEX = "openvex"
    CSAF = "csaf"


READ = (
    "read are the reports of Trivy, Grype, Anchore, Clair v4, Docker Scout and Hadolint, SARIF, GitLab's container "
    "scanning, cosign's vuln and custom predicates, in-toto vulns, CycloneDX, SPDX, SLSA provenance, OpenVEX and CSAF"
)

Keys = Mapping[str, msgspec.Raw]


def detect(content: bytes, limits: Limits) -> Format:
    """The form of ``content``, by its root; the reader of that form says whether the rest fits.

    Args:
        limits: none of them is needed: nothing is built but the root's keys.

    Raises:
        EvidenceError: of no form that is read, or an empty list, which several tools write (attestation-unsupported);
            no JSON (attestation-invalid).
    """
    del limits
    refuse_utf16(content)
    if (first := _FIRST_KEY.match(content)) and first[1] in _FIRST:
        return _FIRST[first[1]]
    match content.lstrip()[:1]:
        case b"{":
            return _of_object(decode_typed(content, dict[str, msgspec.Raw], _WHAT))
        case b"[":
            return _of_list(decode_typed(content, list[msgspec.Raw], _WHAT))
        case b"n" if content.strip() == b"null":
            return Format.TRIVY  # Trivy before 0.20 wrote so what is clean.
        case _:
            decode_typed(content, msgspec.Raw, _WHAT)
            raise ReportError(f"the report is neither an object nor an array; {READ}", ATTESTATION_UNSUPPORTED)


def refuse_utf16(content: bytes) -> None:
    """
    Raises:
        ReportError: it is UTF-16, as PowerShell's redirection writes files.
    """
    if content.startswith(_UTF16_MARKS) or content[1:2] == b"\0" or content[:1] == b"\0":
        raise ReportError("the report is UTF-16; save it as UTF-8 (in PowerShell: ... | Set-Content -Encoding utf8)")


def _of_object(root: Keys) -> Format:
    for keys, others, form in _OBJECTS:
        if keys <= root.keys() and (not others or not others.isdisjoint(root.keys())):
            return form
    for test, form in _TESTS:
        if test(root):
            return form
    for key, what in _OTHERS.items():
        if key in root:
            raise ReportError(f"it is {what}, and no report", ATTESTATION_UNSUPPORTED)
    raise ReportError(f"the report is of no form that is known; {READ}", ATTESTATION_UNSUPPORTED)


_OBJECTS: Sequence[tuple[frozenset[str], frozenset[str], Format]] = (
    # All keys of the first set, and one of the second.
    (frozenset({"SchemaVersion"}), frozenset({"Results", "ArtifactType", "ArtifactName"}), Format.TRIVY),
    (frozenset({"matches"}), frozenset({"source", "distro", "descriptor", "ignoredMatches"}), Format.GRYPE),
    (frozenset({"manifest_hash"}), frozenset({"package_vulnerabilities", "vulnerabilities"}), Format.CLAIR),
    # The three old forms of Clair, which its reader refuses by name.
    (frozenset({"Layer"}), frozenset(), Format.CLAIR),
    (frozenset({"LayerCount"}), frozenset({"Vulnerabilities"}), Format.CLAIR),
    (frozenset({"image", "unapproved"}), frozenset(), Format.CLAIR),
    (frozenset({"imageDigest"}), frozenset({"vulnerabilities", "evaluations"}), Format.ANCHORE),
    (frozenset({"securityEvaluation"}), frozenset(), Format.ANCHORE),
    (frozenset({"runs"}), frozenset({"version", "$schema"}), Format.SARIF),
    (frozenset({"bomFormat"}), frozenset(), Format.CYCLONEDX),
    (frozenset({"spdxVersion"}), frozenset(), Format.SPDX),
    (frozenset({"buildDefinition"}), frozenset(), Format.SLSA),
    (frozenset({"builder"}), frozenset({"buildType", "invocation", "materials", "metadata"}), Format.SLSA),
    (frozenset({"scan", "vulnerabilities"}), frozenset({"version", "schema"}), Format.GITLAB),
    (frozenset({"Data"}), frozenset({"Timestamp"}), Format.COSIGN_CUSTOM),
    (frozenset({"report"}), frozenset({"tool", "lintedOn", "dockerfile"}), Format.LINT),
)
_FIRST_KEY = re.compile(rb'\s*{\s*"(\w+)"\s*:')
_FIRST: Mapping[bytes, Format] = {
    # The largest reports, of which the keys of the root alone take a fifth of the whole time: no other form begins so,
    # neither as the tools write them nor with sorted keys, as cosign does, and their readers ask for the rest.
    b"SchemaVersion": Format.TRIVY,
    b"ArtifactID": Format.TRIVY,
    b"ArtifactName": Format.TRIVY,
    b"matches": Format.GRYPE,
    b"descriptor": Format.GRYPE,
}
_OTHERS: Mapping[str, str] = {
    "payloadType": "a signed envelope",
    "_type": "an in-toto statement around a predicate",
    "verificationMaterial": "a Sigstore bundle",
    "ClusterName": "Trivy's report of a cluster",
}


def _has_context(part: bytes) -> Callable[[Keys], bool]:
    return lambda root: part in bytes(root.get("@context", b""))


def _is_csaf(root: Keys) -> bool:
    document = bytes(root.get("document", b""))
    return document[:1] == b"{" and "category" in decode_typed(document, dict[str, msgspec.Raw], "the document's head")


def _is_in_toto_vulns(root: Keys) -> bool:
    """Both predicates have a scanner with a result: cosign's is the report of a tool, in-toto's a list of ids."""
    scanner = _scanner(root)
    if scanner is None:
        return False
    result = bytes(scanner.get("result", b""))
    if result[:1] != b"[":
        return not result and "invocation" not in root
    rows = decode_typed(result, list[msgspec.Raw], "scanner.result")
    first = _first(rows)
    return not rows or "id" in first or "vulnerability" in first


def _scanner(root: Keys) -> Keys | None:
    scanner = bytes(root.get("scanner", b""))
    return decode_typed(scanner, dict[str, msgspec.Raw], "the predicate's scanner") if scanner[:1] == b"{" else None


_TESTS: Sequence[tuple[Callable[[Keys], bool], Format]] = (
    (_has_context(b"openvex.dev"), Format.OPENVEX),
    (_has_context(b"spdx.org"), Format.SPDX),
    (_is_csaf, Format.CSAF),
    (_is_in_toto_vulns, Format.IN_TOTO_VULNS),
    (lambda root: _scanner(root) is not None, Format.COSIGN_VULN),
)


def _of_list(rows: Sequence[msgspec.Raw]) -> Format:
    if not rows:
        raise ReportError(
            "the report is an empty array, as Hadolint, anchorectl and old versions of Trivy all write it: "
            "nothing says which tool found nothing",
            ATTESTATION_UNSUPPORTED,
        )
    first = _first(rows)
    if "Target" in first or "VulnerabilityID" in first:
        return Format.TRIVY
    if ("code" in first and "level" in first) or "check_name" in first:
        return Format.HADOLINT
    if "vuln" in first or {"digest", "status"} <= first.keys() or any(key.startswith("sha256:") for key in first):
        return Format.ANCHORE
    raise ReportError(f"the report is an array of no form that is known; {READ}", ATTESTATION_UNSUPPORTED)


def _first(rows: Sequence[msgspec.Raw]) -> Keys:
    """Keys of the first row; none where it is no object."""
    row = bytes(rows[0]) if rows else b""
    return decode_typed(row, dict[str, msgspec.Raw], "the first entry") if row[:1] == b"{" else {}
