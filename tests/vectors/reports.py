"""Trivy reports of an image that does not exist, and cosign's predicate around them."""

from typing import Any

from vectors.attestations import SUBJECT


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
            "ImageID": "sha256:" + "11" * 32,
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
