"""What cosign signs with a key, the gate believes; what it signs with another key, the gate does not."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.registry import UNSCANNED, SampleRegistry
from e2e.support import clean_report, portcullis

SIGNING = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
TRUSTED = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
"""Neither names a service: nothing is logged or time-stamped, and nobody outside is asked."""


class Cosign:
    def __init__(self, folder: Path, registry: SampleRegistry) -> None:
        self.folder = folder
        self.image = registry.image(UNSCANNED)
        self.digest = self.run("crane", "digest", "--insecure", self.image)
        for name, content in (("signing.json", SIGNING), ("trusted.json", TRUSTED), ("vuln.json", self.predicate())):
            (folder / name).write_text(json.dumps(content))
        for name in ("ci", "stranger"):
            self.run("cosign", "generate-key-pair", f"--output-key-prefix={name}")

    def run(self, *command: str) -> str:
        environment = {**os.environ, "COSIGN_PASSWORD": "", "HOME": str(self.folder)}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=self.folder, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attest(self, key: str) -> None:
        self.run(
            *("cosign", "attest", f"--key={key}.key", "--type=vuln", "--predicate=vuln.json", "--yes"),
            *("--signing-config=signing.json", "--trusted-root=trusted.json", "--allow-http-registry"),
            f"{self.image.rpartition(':')[0]}@{self.digest}",
        )

    def predicate(self) -> dict[str, Any]:
        """https://cosign.sigstore.dev/attestation/vuln/v1, with Trivy's report in it."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        report = clean_report(self.image, self.digest)
        scanner = {"uri": "pkg:github/aquasecurity/trivy", "version": "0.60.0", "db": {"lastUpdate": now}}
        return {
            "scanner": {**scanner, "result": report},
            "metadata": {"scanStartedOn": now, "scanFinishedOn": now},
        }


@pytest.mark.parametrize(("key", "reason"), [("ci", ""), ("stranger", "attestation-untrusted")])
def test_an_attestation_of_cosigns(tmp_path: Path, sample_registry: SampleRegistry, key: str, reason: str) -> None:
    cosign = Cosign(tmp_path, sample_registry)
    cosign.attest(key)
    rules = [
        {"images": [f"{sample_registry.host}/**"], "accept": [{"predicates": ["vulnerability"], "signers": ["ci"]}]}
    ]
    configuration = {
        "registries": {"hosts": {sample_registry.host: {"insecure": True, "private": True}}},
        "trust": {"signers": {"ci": {"key": {"file": "ci.pub"}}}, "rules": rules},
    }
    (tmp_path / "portcullis.yaml").write_text(json.dumps(configuration))
    done = portcullis("inspect", cosign.image, "--config", str(tmp_path / "portcullis.yaml"), "-o", "json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["images"][cosign.image]
    newest = [one for one in facts["attestations"] if one["reason"] == reason]
    assert newest, facts["attestations"]
    assert bool(facts["scans"]) is (key == "ci")
