"""What cosign signs with a key, the gate believes, in its present form and in its old one, in registries with the
Referrers API and without; what it signs with another key, the gate does not."""

import base64
import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.registry_cases import DISTRIBUTION
from e2e.cluster.registry import UNSCANNED, SampleRegistry
from e2e.support import clean_report, portcullis

SIGNING = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
TRUSTED = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
"""Neither names a service: nothing is logged or time-stamped, and nobody outside is asked."""


@contextlib.contextmanager
def program(command: list[str], ready: str) -> Iterator[str]:
    """A registry, started; yields its host. ``ready`` finds its port in what it writes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = next(found for line in process.stderr if (found := re.search(ready, line)))
        # What it writes on must go somewhere, or it stands still when the pipe is full.
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        yield f"127.0.0.1:{found[1]}"
    finally:
        process.kill()
        drain.join()
        process.stderr.close()
        process.wait()


@contextlib.contextmanager
def with_referrers(_: Path) -> Iterator[str]:
    with program(["referrers-registry"], r"serving on port (\d+)") as host:
        yield host


@contextlib.contextmanager
def without_referrers(folder: Path) -> Iterator[str]:
    """The registry of the distribution project."""
    (folder / "registry.yml").write_text(DISTRIBUTION)
    with program(["registry", "serve", str(folder / "registry.yml")], r"listening on 127\.0\.0\.1:(\d+)") as host:
        yield host


REGISTRIES = {"with-referrers": with_referrers, "without-referrers": without_referrers}


class Cosign:
    """An image in a registry, and cosign with the keys of two signers."""

    def __init__(self, folder: Path, host: str, source: str) -> None:
        self.folder = folder
        self.host = host
        self.image = f"{host}/acme/model:0.3.0"
        self.run("crane", "copy", "--insecure", source, self.image)
        self.digest = self.run("crane", "digest", "--insecure", self.image)
        for name, content in (("signing.json", SIGNING), ("trusted.json", TRUSTED), ("vuln.json", self.predicate())):
            (folder / name).write_text(json.dumps(content))
        for name in ("ci", "stranger"):
            self.run("cosign", "generate-key-pair", f"--output-key-prefix={name}")

    @property
    def pinned(self) -> str:
        return f"{self.image.rpartition(':')[0]}@{self.digest}"

    def run(self, *command: str) -> str:
        environment = {**os.environ, "COSIGN_PASSWORD": "", "HOME": str(self.folder)}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=180, cwd=self.folder, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attest(self, key: str, *more: str) -> None:
        self.run(
            *("cosign", "attest", f"--key={key}.key", "--type=vuln", "--predicate=vuln.json", "--yes"),
            *("--signing-config=signing.json", "--trusted-root=trusted.json", "--allow-http-registry", *more),
            self.pinned,
        )

    def attest_as_before(self, key: str) -> None:
        """Into the tag ``sha256-<hex>.att``, as cosign did before version 3."""
        self.attest(key, "--no-upload", "--bundle=bundle.json")
        bundle = json.loads((self.folder / "bundle.json").read_text())
        (self.folder / "envelope.json").write_text(json.dumps(bundle["dsseEnvelope"]))
        self.run("cosign", "attach", "attestation", "--attestation=envelope.json", "--allow-http-registry", self.pinned)

    def sign_as_before(self, key: str) -> None:
        """Into the tag ``sha256-<hex>.sig``."""
        payload = self.run("cosign", "generate", "--allow-http-registry", self.pinned)
        (self.folder / "payload.json").write_text(payload)
        self.run(
            *("cosign", "sign-blob", f"--key={key}.key", "--yes", "--bundle=blob.json"),
            *("--signing-config=signing.json", "--trusted-root=trusted.json", "payload.json"),
        )
        signature = json.loads((self.folder / "blob.json").read_text())["messageSignature"]["signature"]
        assert base64.b64decode(signature)
        (self.folder / "payload.sig").write_text(signature)
        self.run(
            *("cosign", "attach", "signature", "--payload=payload.json", "--signature=payload.sig"),
            *("--allow-http-registry", self.pinned),
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

    def seen(self, **trust: Any) -> dict[str, Any]:
        """What the gate sees of the image, if ``ci`` may sign scans, and signatures of images."""
        accept = [{"predicates": ["vulnerability", "signature"], "signers": ["ci"]}]
        configuration = {
            "registries": {"hosts": {self.host: {"insecure": True, "private": True}}},
            "trust": {
                "signers": {"ci": {"key": {"file": "ci.pub"}}},
                "rules": [{"images": [f"{self.host}/**"], "accept": accept}],
                **trust,
            },
        }
        (self.folder / "portcullis.yaml").write_text(json.dumps(configuration))
        config = str(self.folder / "portcullis.yaml")
        done = portcullis("inspect", self.image, "--config", config, "-o", "json")
        assert done.returncode == 0, done.stderr
        facts: dict[str, Any] = json.loads(done.stdout)["images"][self.image]
        return facts


@pytest.fixture(params=REGISTRIES)
def cosign(request: pytest.FixtureRequest, tmp_path: Path, sample_registry: SampleRegistry) -> Iterator[Cosign]:
    with REGISTRIES[request.param](tmp_path) as host:
        yield Cosign(tmp_path, host, sample_registry.image(UNSCANNED))


def test_a_bundle(cosign: Cosign) -> None:
    cosign.attest("ci")
    facts = cosign.seen()
    (found,) = facts["attestations"]
    assert (found["verified"], found["signer"]["name"]) == (True, "ci"), found
    assert found["carrier"] in ("referrer", "fallback-tag")
    assert [scan["scanner"]["name"] for scan in facts["scans"]] == ["trivy"]


def test_an_attestation_in_the_old_place(cosign: Cosign) -> None:
    cosign.attest_as_before("ci")
    facts = cosign.seen()
    (found,) = facts["attestations"]
    assert (found["verified"], found["carrier"]) == (True, "cosign-tag"), found
    assert len(facts["scans"]) == 1
    (without,) = [cosign.seen(carriers=["referrer", "fallback-tag"])]
    assert (without["attestations"], without["scans"]) == ([], [])


def test_a_signature_in_the_old_place(cosign: Cosign) -> None:
    cosign.sign_as_before("ci")
    facts = cosign.seen()
    (found,) = facts["attestations"]
    assert (found["verified"], found["predicateClass"]) == (True, "signature"), found
    assert facts["scans"] == []


def test_all_of_them_and_those_of_a_stranger(cosign: Cosign) -> None:
    cosign.attest("stranger")
    cosign.attest_as_before("stranger")
    cosign.sign_as_before("stranger")
    facts = cosign.seen()
    assert [one["reason"] for one in facts["attestations"]] == ["attestation-untrusted"] * 3, facts["attestations"]
    assert facts["scans"] == []
    cosign.attest("ci")
    cosign.attest_as_before("ci")
    facts = cosign.seen()
    assert sorted(one["verified"] for one in facts["attestations"]) == [False, False, False, True, True]
    assert len(facts["scans"]) == 1  # the same words of the same signer, in two places
