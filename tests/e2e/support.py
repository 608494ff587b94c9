"""The program as people and CI systems run it: by its commands."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """``lines`` are what it printed last, by their names; ``registry`` has the samples."""

    lines: dict[str, str]
    output: str

    @property
    def config(self) -> Path:
        return Path(self.lines["config"])

    @property
    def registry(self) -> str:
        found = re.search(r"127\.0\.0\.1:\d+(?=/)", self.lines["inspect"])
        assert found is not None
        return found[0]


def portcullis(
    *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs the command as people do; stdout and stderr as text."""
    done = subprocess.run(
        [sys.executable, "-m", "portcullis", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "120", **(env or {})},
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def clean_report(image: str, digest: str) -> dict[str, object]:
    """Trivy's report of just now on an image of one platform, without any finding."""
    return {
        "SchemaVersion": 2,
        "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ArtifactName": image,
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12"},
            "RepoDigests": [f"{image.rpartition(':')[0]}@{digest}"],
            "ImageConfig": {"os": "linux", "architecture": "amd64"},
        },
        "Results": [{"Target": image, "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": []}],
    }
