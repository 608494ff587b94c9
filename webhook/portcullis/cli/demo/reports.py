"""Scan reports as Trivy writes them (SchemaVersion 2), small but with the fields that real ones have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portcullis.cli.demo.images import Image
from portcullis.model.image import Platform
from portcullis.times import rfc3339


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerability in a package; ``fixed`` is "" where no version mends it."""

    id: str
    package: str
    installed: str
    fixed: str
    severity: str
    title: str
    score: float


CRITICAL = Finding(
    id="CVE-2024-3094",
    package="xz-utils",
    installed="5.6.0-0.2",
    fixed="5.6.1+really5.4.5-1",
    severity="CRITICAL",
    title="xz: malicious code in distributed source",
    score=10.0,
)
LOW = Finding(
    id="CVE-2011-3374",
    package="apt",
    installed="2.6.1",
    fixed="",
    severity="LOW",
    title="apt-key does not verify gpg keys with the master keyring",
    score=3.7,
)


def trivy_report(
    reference: str, image: Image, *, platform: Platform, image_id: str, created: datetime, findings: Sequence[Finding]
) -> Mapping[str, Any]:
    """What ``trivy image -f json --platform …`` would have said at ``created``.

    Args:
        reference, image: what was scanned, and the reference that it was pushed as.
        platform, image_id: the platform that was looked at, and the digest of its configuration.
    """
    repository = reference.rpartition(":")[0]
    return {
        "SchemaVersion": 2,
        "Trivy": {"Version": "0.68.2"},
        "CreatedAt": rfc3339(created),
        "ArtifactName": reference,
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.8"},
            "ImageID": image_id,
            "RepoTags": [reference],
            "RepoDigests": [f"{repository}@{image.digest}"],
            "ImageConfig": {"architecture": platform.architecture, "os": platform.os},
        },
        "Results": [
            {
                "Target": f"{reference} (debian 12.8)",
                "Class": "os-pkgs",
                "Type": "debian",
                "Packages": [
                    {"Name": "apt", "Version": "2.6.1", "Arch": platform.architecture},
                    {"Name": "xz-utils", "Version": "5.6.0-0.2", "Arch": platform.architecture},
                ],
                **(
                    {"Vulnerabilities": [_vulnerability(finding, platform) for finding in findings]} if findings else {}
                ),
            }
        ],
    }


def openvex(identifier: str, vulnerabilities: Sequence[str], *, issued: datetime) -> Mapping[str, Any]:
    """What ``vexctl create`` writes (OpenVEX 0.2.0); without products it is about what it is attached to."""
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": identifier,
        "author": "acme product security",
        "timestamp": rfc3339(issued),
        "version": 1,
        "statements": [
            {
                "vulnerability": {"name": vulnerability},
                "status": "not_affected",
                "justification": "vulnerable_code_not_in_execute_path",
                "impact_statement": "The library is installed with the base and never loaded.",
            }
            for vulnerability in vulnerabilities
        ],
    }


def _vulnerability(finding: Finding, platform: Platform) -> dict[str, Any]:
    name = f"{finding.package}@{finding.installed}"
    return {
        "VulnerabilityID": finding.id,
        "PkgID": name,
        "PkgName": finding.package,
        "PkgIdentifier": {"PURL": f"pkg:deb/debian/{name}?arch={platform.architecture}&distro=debian-12.8"},
        "InstalledVersion": finding.installed,
        **({"FixedVersion": finding.fixed} if finding.fixed else {}),
        "Status": "fixed" if finding.fixed else "affected",
        "SeveritySource": "nvd",
        "PrimaryURL": f"https://avd.aquasec.com/nvd/{finding.id.lower()}",
        "Title": finding.title,
        "Severity": finding.severity,
        "CVSS": {"nvd": {"V3Score": finding.score}},
    }
