"""SARIF, GitLab, CycloneDX, SPDX and SLSA documents of no real image. A field that is None is left out."""

import json
from typing import Any

from vectors.attestations import SUBJECT

IMAGE_ID = "sha256:" + "11" * 32
PURL = "pkg:deb/debian/openssl@3.0.1?arch=amd64"


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}


# -- SARIF ---------------------------------------------------------------------------------------------------


def sarif(*runs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return without_none({"version": "2.1.0", "runs": list(runs), **fields})


def run(
    name: str, results: list[dict[str, Any]] | None, rules: list[dict[str, Any]] | None = None, **fields: Any
) -> dict[str, Any]:
    driver = without_none({"name": name, "version": "1.2.3", "rules": rules})
    return without_none({"tool": {"driver": driver}, "results": results, **fields})


def result(
    rule_id: str | None = "CVE-2026-0001", level: str | None = "error", text: str = "", **fields: Any
) -> dict[str, Any]:
    place = {"physicalLocation": {"artifactLocation": {"uri": "usr/lib/x"}, "region": {"startLine": 7}}}
    row = {"ruleId": rule_id, "level": level, "message": {"text": text}, "locations": [place]}
    return without_none({**row, **fields})


def scout_rule(**properties: Any) -> dict[str, Any]:
    usual = {
        "affected_version": "<3.0.2",
        "cvssV3": 7.5,
        "cvssV3_severity": "HIGH",
        "fixed_version": "3.0.2",
        "purl": PURL,
        "security-severity": "7.5",
        "tags": ["HIGH"],
    }
    return {"id": "CVE-2026-0001", "properties": without_none({**usual, **properties})}


def scout_text(purl: str = PURL, severity: str = "HIGH", fixed: str = "3.0.2", cve: str = "CVE-2026-0001") -> str:
    rows = {
        "Vulnerability": cve,
        "Severity": severity,
        "Package": purl,
        "Affected range": "<3.0.2",
        "Fixed version": fixed,
    }
    return "".join(f"  {label.ljust(14)} : {value.ljust(40)}\n" for label, value in rows.items())


def trivy_rule(severity: str = "HIGH", kind: str = "OsPackageVulnerability", **properties: Any) -> dict[str, Any]:
    bag = {"precision": "very-high", "security-severity": "3.1", "tags": ["vulnerability", "security", severity]}
    return {"id": "CVE-2026-0001", "name": kind, "properties": {**bag, **properties}}


def trivy_text(package: str = "openssl", severity: str = "HIGH", installed: str = "3.0.1", fixed: str = "3.0.2") -> str:
    return (
        f"Package: {package}\nInstalled Version: {installed}\nVulnerability CVE-2026-0001\nSeverity: {severity}\n"
        f"Fixed Version: {fixed}\nLink: [CVE-2026-0001](https://links.example/CVE-2026-0001)"
    )


def grype_rule(severity: str = "high", fixed: str = "3.0.2,3.1.0", **properties: Any) -> dict[str, Any]:
    text = (
        f"Vulnerability CVE-2026-0001\nSeverity: {severity}\nPackage: openssl\nVersion: 3.0.1\nFix Version: {fixed}\n"
        "Type: deb\nLocation: /var/lib/dpkg/status\nData Namespace: debian\nLink: CVE-2026-0001"
    )
    bag = {"security-severity": "2.0", "purls": [PURL], **properties}
    return {"id": "CVE-2026-0001-openssl", "help": {"text": text}, "properties": without_none(bag)}


def grype_text(severity: str = "high", version: str = "3.0.1") -> str:
    return f"A {severity} vulnerability in deb package: openssl, version {version} was found in image web at: /x"


# -- GitLab --------------------------------------------------------------------------------------------------


def gitlab_row(severity: str = "High", **fields: Any) -> dict[str, Any]:
    row = {
        "id": "5b1f",
        "severity": severity,
        "solution": "Upgrade openssl to version 3.0.2",
        "identifiers": [
            {"type": "cwe", "name": "CWE-79", "value": "79"},
            {"type": "ghsa", "name": "GHSA-x", "value": "GHSA-x"},
            {"type": "cve", "name": "CVE-2026-0001", "value": "CVE-2026-0001"},
        ],
        "location": {
            "dependency": {"package": {"name": "openssl"}, "version": "3.0.1"},
            "operating_system": "debian 12.5",
            "image": f"registry.example/acme/web@{SUBJECT}",
        },
    }
    return without_none({**row, **fields})


def gitlab(*rows: dict[str, Any], scan: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    usual = {
        "type": "container_scanning",
        "status": "success",
        "start_time": "2026-11-20T10:00:00",
        "end_time": "2026-11-20T10:01:00",
        "scanner": {"id": "docker-scout", "name": "Docker Scout", "version": "1.18.3"},
    }
    document = {"version": "15.0.6", "scan": without_none({**usual, **(scan or {})}), "vulnerabilities": list(rows)}
    return without_none({**document, **fields})


# -- CycloneDX -----------------------------------------------------------------------------------------------

SERIAL = "3e671687-395b-41f5-a30f-a58921a69b79"


def cdx_component(name: str = "openssl", **fields: Any) -> dict[str, Any]:
    row = {
        "bom-ref": f"ref-{name}",
        "type": "library",
        "name": name,
        "version": "3.0.1",
        "purl": f"pkg:deb/debian/{name}@3.0.1",
        "licenses": [{"license": {"id": "Apache-2.0"}}, {"expression": "MIT OR BSD-2-Clause"}],
    }
    return without_none({**row, **fields})


def cdx_vulnerability(severity: str | None = "high", **fields: Any) -> dict[str, Any]:
    row = {
        "id": "CVE-2026-0001",
        "references": [{"id": "CVE-2026-0001"}, {"id": "GHSA-x"}],
        "ratings": [without_none({"severity": severity, "score": 7.5, "method": "CVSSv31"})],
        "affects": [{"ref": "ref-openssl"}],
    }
    return without_none({**row, **fields})


def cyclonedx(*components: dict[str, Any], tool: str | None = "grype", **fields: Any) -> dict[str, Any]:
    """A bill of materials; ``vulnerabilities`` makes it a scanner's report, ``metadata`` is added to the usual one."""
    metadata = {
        "timestamp": "2026-11-20T10:00:00Z",
        "tools": None if tool is None else {"components": [{"type": "application", "name": tool, "version": "0.94.0"}]},
        "component": {"type": "container", "name": "web", "version": str(SUBJECT)},
        **fields.pop("metadata", {}),
    }
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{SERIAL}",
        "version": 1,
        "metadata": without_none(metadata),
        "components": list(components),
    }
    return without_none({**document, **fields})


# -- SPDX ----------------------------------------------------------------------------------------------------


def spdx_package(package: str = "openssl", **fields: Any) -> dict[str, Any]:
    row = {
        "SPDXID": f"SPDXRef-{package}",
        "name": package,
        "versionInfo": "3.0.1",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "Apache-2.0",
        "externalRefs": [
            {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:x"},
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": PURL},
        ],
    }
    return without_none({**row, **fields})


def spdx_image(**fields: Any) -> dict[str, Any]:
    purl = {"referenceType": "purl", "referenceLocator": "pkg:oci/web?arch=amd64"}
    row = {"primaryPackagePurpose": "CONTAINER", "versionInfo": "latest", "externalRefs": [purl], **fields}
    return spdx_package("web", **row)


def spdx(*packages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    described = {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-web",
    }
    document = {
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "creationInfo": {"created": "2026-11-20T10:00:00Z", "creators": ["Organization: Acme", "Tool: syft-1.2.3"]},
        "packages": list(packages),
        "relationships": [described],
    }
    return without_none({**document, **fields})


def spdx3(*elements: dict[str, Any], root: str = "urn:web", **fields: Any) -> dict[str, Any]:
    document = {
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [
            {
                "type": "CreationInfo",
                "@id": "_:creation",
                "created": "2026-11-20T10:00:00Z",
                "createdUsing": ["urn:tool"],
            },
            {"type": "Tool", "spdxId": "urn:tool", "name": "syft 1.2.3", "creationInfo": "_:creation"},
            {"type": "SpdxDocument", "spdxId": "urn:document", "rootElement": ["urn:sbom"]},
            {"type": "software_Sbom", "spdxId": "urn:sbom", "rootElement": [root]},
            *elements,
        ],
    }
    return without_none({**document, **fields})


def spdx3_package(package: str = "openssl", **fields: Any) -> dict[str, Any]:
    row = {
        "type": "software_Package",
        "spdxId": f"urn:{package}",
        "creationInfo": "_:creation",
        "name": package,
        "software_packageVersion": "3.0.1",
        "software_packageUrl": PURL,
        "software_primaryPurpose": "library",
    }
    return without_none({**row, **fields})


# -- SLSA ----------------------------------------------------------------------------------------------------

COMMIT = "4b220de5058abfd01ff619c9d2ff6b09a049bea0"


def slsa1(
    external: dict[str, Any] | None = None, dependencies: list[dict[str, Any]] | None = None, **fields: Any
) -> dict[str, Any]:
    """As GitHub writes it, unless said otherwise."""
    workflow = {"ref": "refs/tags/v1", "repository": "https://github.com/acme/web", "path": ".github/workflows/ci.yaml"}
    source = {"uri": "git+https://github.com/acme/web@refs/tags/v1", "digest": {"gitCommit": COMMIT}}
    definition = {
        "buildType": "https://actions.github.io/buildtypes/workflow/v1",
        "externalParameters": {"workflow": workflow} if external is None else external,
        "resolvedDependencies": [source] if dependencies is None else dependencies,
        **fields.pop("definition", {}),
    }
    details = {
        "builder": {"id": "https://github.com/acme/web/.github/workflows/ci.yaml@refs/tags/v1"},
        "metadata": {
            "invocationId": "https://github.com/acme/web/actions/runs/1/attempts/1",
            "startedOn": "2026-11-20T10:00:00Z",
            "finishedOn": "2026-11-20T10:05:00Z",
            **fields.pop("metadata", {}),
        },
    }
    return without_none({"buildDefinition": without_none(definition), "runDetails": details, **fields})


def slsa02(**fields: Any) -> dict[str, Any]:
    document = {
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/generic@v1",
        "builder": {"id": "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/g.yml@v1"},
        "invocation": {
            "configSource": {
                "uri": "git+https://github.com/acme/web@refs/heads/main",
                "digest": {"sha1": COMMIT},
                "entryPoint": ".github/workflows/ci.yaml",
            }
        },
        "metadata": {
            "buildInvocationId": "1-1",
            "buildStartedOn": "2026-11-20T10:00:00Z",
            "buildFinishedOn": "2026-11-20T10:05:00Z",
            "completeness": {"parameters": True, "materials": False},
        },
        "materials": [{"uri": "pkg:docker/alpine@3.20", "digest": {"sha256": "aa" * 32}}],
    }
    return without_none({**document, **fields})
