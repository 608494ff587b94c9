"""Scanners' reports of an image that does not exist, and predicates around them."""

import json
from typing import Any

from vectors.attestations import SUBJECT

IMAGE_ID = "sha256:" + "11" * 32


def text(document: object) -> bytes:
    return json.dumps(document).encode()


def finding(cve: str = "CVE-2026-0001", severity: str = "HIGH", **fields: Any) -> dict[str, Any]:
    row = {
        "VulnerabilityID": cve,
        "PkgName": "openssl",
        "PkgIdentifier": {"PURL": "pkg:deb/debian/openssl@3.0.1"},
        "InstalledVersion": "3.0.1",
        "FixedVersion": "3.0.2",
        "Status": "fixed",
        "Severity": severity,
    }
    return {key: value for key, value in {**row, **fields}.items() if value is not None}


def trivy(*findings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A report of SUBJECT for linux/amd64. A field that is None is left out."""
    document = {
        "SchemaVersion": 2,
        "Trivy": {"Version": "0.69.1"},
        "CreatedAt": "2026-11-20T10:00:00.123456789Z",
        "ArtifactName": "registry.example/acme/web",
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.5"},
            "ImageID": IMAGE_ID,
            "RepoDigests": [f"registry.example/acme/web@{SUBJECT}"],
            "ImageConfig": {"architecture": "amd64", "os": "linux"},
        },
        "Results": [{"Target": "web", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": list(findings)}],
    }
    return {key: value for key, value in {**document, **fields}.items() if value is not None}


def vuln(result: object, *, started: object = None, finished: object = None, **scanner: Any) -> dict[str, Any]:
    """Cosign's vulnerability predicate."""
    return {
        "invocation": {"parameters": None, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {"uri": "pkg:github/aquasecurity/trivy", "version": "0.69.0", "result": result, **scanner},
        "metadata": {"scanStartedOn": started, "scanFinishedOn": finished},
    }


def custom(data: object, **fields: Any) -> dict[str, Any]:
    """Cosign's custom predicate: a file as text."""
    held = data if isinstance(data, str) else json.dumps(data)
    return {"Data": held, "Timestamp": "2026-11-21T10:00:00Z", **fields}


def match(cve: str = "CVE-2026-0001", *, artifact: Any = None, related: Any = None, **fields: Any) -> dict[str, Any]:
    """One of Grype's matches. A field of the vulnerability that is None is left out."""
    vulnerability = {
        "id": cve,
        "severity": "High",
        "fix": {"versions": ["3.0.2"], "state": "fixed"},
        "cvss": [{"version": "3.1", "metrics": {"baseScore": 7.5}}],
        **fields,
    }
    return {
        "vulnerability": {key: value for key, value in vulnerability.items() if value is not None},
        "relatedVulnerabilities": related or [],
        "artifact": {
            "name": "openssl",
            "version": "3.0.1",
            "purl": "pkg:deb/debian/openssl@3.0.1",
            "locations": [{"path": "/var/lib/dpkg/status"}],
            **(artifact or {}),
        },
    }


def rule(*, package: dict[str, str] | None = None, **fields: str) -> dict[str, Any]:
    """One of Grype's rules to ignore, with all its keys as Grype writes them."""
    empty = ("vulnerability", "reason", "namespace", "fix-state", "vex-status", "vex-justification", "match-type")
    parts = ("name", "version", "language", "type", "location", "upstream-name")
    return {
        **dict.fromkeys(empty, ""),
        "package": {**dict.fromkeys(parts, ""), **(package or {})},
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }


KERNEL_HEADERS = [
    rule(package={"name": name, "type": kind, "upstream-name": upstream}, match_type="exact-indirect-match")
    for name, kind, upstream in (
        ("kernel-headers", "rpm", "kernel"),
        ("linux(-.*)?-headers-.*", "deb", "linux.*"),
        ("linux-libc-dev", "deb", "linux"),
        ("linux-kbuild-.*", "deb", "linux.*"),
    )
]
"""Rules that Grype always has."""


def grype(*matches: dict[str, Any], configuration: Any = None, db: Any = None, **fields: Any) -> dict[str, Any]:
    """A report of SUBJECT for linux/amd64, by Grype with a database of schema 6. A field that is None is left out."""
    document = {
        "matches": list(matches),
        "source": {
            "type": "image",
            "target": {
                "userInput": "registry.example/acme/web",
                "imageID": IMAGE_ID,
                "manifestDigest": SUBJECT,
                "repoDigests": [],
                "architecture": "amd64",
                "os": "linux",
            },
        },
        "distro": {"name": "debian", "version": "12", "idLike": []},
        "descriptor": {
            "name": "grype",
            "version": "0.94.0",
            "configuration": {
                "only-fixed": False,
                "only-notfixed": False,
                "ignore-wontfix": "",
                "search": {"scope": "squashed"},
                "ignore": KERNEL_HEADERS,
                "exclude": [],
                "vex-documents": [],
                **(configuration or {}),
            },
            "db": db or {"status": {"schemaVersion": "v6.0.2", "built": "2026-11-19T08:00:00Z", "valid": True}},
            "timestamp": "2026-11-20T10:00:00.5+01:00",
        },
        **fields,
    }
    return {key: value for key, value in document.items() if value is not None}


def engine_row(cve: str = "CVE-2026-0001", **fields: Any) -> dict[str, Any]:
    """A vulnerability as anchore-cli lists it."""
    return {
        "vuln": cve,
        "severity": "High",
        "fix": "3.0.2",
        "package": "openssl-3.0.1",
        "package_name": "openssl",
        "package_version": "3.0.1",
        "package_path": "None",
        "package_type": "dpkg",
        "url": "https://links.example",
        **fields,
    }


def engine(*rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"imageDigest": SUBJECT, "vulnerability_type": "all", "vulnerabilities": list(rows), **fields}


def anchorectl_row(cve: str = "CVE-2026-0001", **fields: Any) -> dict[str, Any]:
    return {
        "vuln": cve,
        "severity": "High",
        "fix": "None",
        "package": "openssl-3.0.1",
        "packageName": "openssl",
        "packageVersion": "3.0.1",
        "packagePath": "/usr/lib",
        **fields,
    }


def exported_row(cve: str = "CVE-2026-0001", **fields: Any) -> dict[str, Any]:
    """A row of Anchore Enterprise's export."""
    return {
        "vulnerabilityId": cve,
        "cves": cve,
        "severity": "High",
        "package": "openssl-3.0.1",
        "path": "/usr/lib",
        "fixAvailable": "3.0.2,3.1.0",
        "fixObservedAt": "2026-11-01T00:00:00Z",
        "nvdCvssBaseScore": 7.5,
        **fields,
    }


def exported(*rows: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    about = {"imageDigest": SUBJECT, "timestamp": "2026-11-20T10:00:00.971Z", **metadata}
    return {"metadata": about, "securityEvaluation": list(rows)}


def evaluated(status: str = "pass", action: str = "go", at: str | None = None, **fields: Any) -> dict[str, Any]:
    """An entry of anchorectl's list of evaluations."""
    line = {"gate": "vulnerabilities", "triggerName": "package", "status": action, "description": "words"}
    return {
        "digest": SUBJECT,
        "policyId": "policy-1",
        "status": status,
        "finalAction": action,
        "lastEvaluation": at,
        "detail": [line],
        **fields,
    }


def clair_vulnerability(name: str = "CVE-2026-0001 openssl", **fields: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "updater": "debian",
        "name": name,
        "links": "https://links.example/CVE-2026-0001",
        "issued": "0001-01-01T00:00:00Z",
        "severity": "",
        "normalized_severity": "High",
        "package": {"name": "openssl-source", "version": ""},
        "fixed_in_version": "3.0.2",
        **fields,
    }


def clair(*vulnerabilities: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A report of SUBJECT with one package, which has all ``vulnerabilities``; their keys are v0, v1 ..."""
    keyed = {f"v{number}": one for number, one in enumerate(vulnerabilities)}
    return {
        "manifest_hash": SUBJECT,
        "packages": {"p": {"id": "p", "name": "openssl", "version": "3.0.1"}},
        "distributions": {"d": {"did": "debian", "version_id": "12"}},
        "environments": {"p": [{"package_db": "var/lib/dpkg/status"}]},
        "vulnerabilities": keyed,
        "package_vulnerabilities": {"p": list(keyed)},
        "enrichments": {},
        **fields,
    }


def vulns(*results: object, **scanner: Any) -> dict[str, Any]:
    """in-toto's vulnerability predicate, version 0.2."""
    return {
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@0.69.1",
            "version": "0.69.1",
            "db": {"uri": "", "version": "", "lastUpdate": "2026-11-19T08:00:00Z"},
            "result": list(results),
            **scanner,
        },
        "metadata": {"scanStartedOn": "2026-11-20T10:00:00Z", "scanFinishedOn": "2026-11-20T10:05:00Z"},
    }
