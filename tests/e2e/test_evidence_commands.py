"""Commands that look at evidence before a gate does: report, verify, dockerfile."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from e2e.support import RunningDemo, clean_report, portcullis
from portcullis.evidence.attest import attest
from portcullis.model.image import Digest

SUBJECT = Digest("sha256:" + "ab" * 32)
OTHER = "sha256:" + "cd" * 32
IMAGE = "registry.example/acme/web:1.4"

GRYPE: dict[str, Any] = {
    "matches": [
        {
            "vulnerability": {
                "id": "CVE-2024-3094",
                "severity": "Critical",
                "fix": {"state": "fixed", "versions": ["5.6.1"]},
            },
            "artifact": {"name": "xz-utils", "version": "5.6.0", "type": "deb"},
        }
    ],
    "source": {"type": "image", "target": {"userInput": IMAGE, "manifestDigest": SUBJECT}},
    "descriptor": {"name": "grype", "version": "0.104.0", "timestamp": "2026-11-24T12:00:00Z"},
}

BAD = "FROM debian:latest\nRUN apt-get update && apt-get install curl\nRUN sudo true\n"
SILENCED = "FROM debian:12\n# hadolint ignore=DL3004\nRUN sudo true\nUSER 10001\n"


# -- report -----------------------------------------------------------------------------------------------------


def test_a_report_in_the_normal_form(tmp_path: Path) -> None:
    (tmp_path / "grype.json").write_text(json.dumps(GRYPE))
    done = portcullis("report", str(tmp_path / "grype.json"), "-o", "json")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert (read["apiVersion"], read["kind"], read["scanner"]["name"]) == ("portcullis.dev/v1", "ScanReport", "grype")
    assert read["target"]["digests"] == [SUBJECT]
    (finding,) = read["vulnerabilities"]
    assert (finding["id"], finding["severity"], finding["fixed"]) == ("CVE-2024-3094", "critical", "5.6.1")
    shown = portcullis("report", str(tmp_path / "grype.json"))
    for words in ("grype 0.104.0", "1 critical; 1 can be fixed", "CVE-2024-3094", "xz-utils", "5.6.1"):
        assert words in shown.stdout


def test_a_report_from_standard_input() -> None:
    done = portcullis("report", "-", "-o", "json", stdin=json.dumps(clean_report(IMAGE, SUBJECT)).encode())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"].startswith("trivy")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"{}", "of no form that is known", id="unknown"),
        pytest.param(b"not json", "JSON", id="no-json"),
        pytest.param(json.dumps(GRYPE).encode("utf-16"), "UTF-16", id="utf-16"),
        pytest.param(b'{"matches": [], "matches": []}', "twice", id="a-key-twice"),
        pytest.param(b"[" * 100_000, "nested", id="deep"),
    ],
)
def test_what_is_no_report(content: bytes, words: str) -> None:
    done = portcullis("report", "-", stdin=content)
    assert done.returncode == 2
    assert words in done.stderr
    assert "standard input cannot be read as a report" in done.stderr
    assert "Traceback" not in done.stderr


# -- verify -----------------------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa": rsa.generate_private_key(65537, 2048),
}


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    for name, key in KEYS.items():
        bundle = attest(
            predicate={"ok": True}, predicate_type="https://a.example/v1", subject=SUBJECT, name="x", key=key
        )
        (tmp_path / f"{name}.json").write_bytes(bundle)
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(key.public_key().public_bytes(*form))
    return tmp_path


@pytest.mark.parametrize("name", KEYS)
def test_a_bundle_of_each_kind_of_key(signed: Path, name: str) -> None:
    arguments = ("verify", str(signed / f"{name}.json"), "--subject", SUBJECT, "--key", str(signed / f"{name}.pub"))
    done = portcullis(*arguments, "-o", "json")
    assert done.returncode == 0, done.stdout
    read = json.loads(done.stdout)
    assert (read["verified"], read["predicateType"]) == (True, "https://a.example/v1")
    assert "✓ verified" in portcullis(*arguments).stdout


@pytest.mark.parametrize(
    ("subject", "key", "reason"),
    [
        pytest.param(OTHER, "p256", "attestation-subject-mismatch", id="another-image"),
        pytest.param(SUBJECT, "p384", "attestation-untrusted", id="another-key"),
    ],
)
def test_what_is_rejected(signed: Path, subject: str, key: str, reason: str) -> None:
    arguments = ("verify", str(signed / "p256.json"), "--subject", subject, "--key", str(signed / f"{key}.pub"))
    done = portcullis(*arguments, "-o", "json")
    assert done.returncode == 1
    assert (json.loads(done.stdout)["verified"], json.loads(done.stdout)["reason"]) == (False, reason)
    shown = portcullis(*arguments)
    assert (shown.returncode, reason in shown.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--subject", SUBJECT), "say who must have signed it", id="nobody"),
        pytest.param(("--subject", "sha256:ab", "--key", "p256.pub"), "--subject", id="no-digest"),
        pytest.param(("--subject", SUBJECT, "--issuer", "https://a"), "go together", id="no-identity"),
        pytest.param(("--subject", SUBJECT, "--key", "none.pub"), "cannot be read", id="no-file"),
        pytest.param(("--subject", SUBJECT, "--key", "p256.json"), "PEM", id="no-key"),
    ],
)
def test_wrong_use(signed: Path, arguments: tuple[str, ...], words: str) -> None:
    placed = [str(signed / one) if one.startswith(("p256.", "none.")) else one for one in arguments]
    done = portcullis("verify", str(signed / "p256.json"), *placed)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_signers_of_the_configuration(signed: Path) -> None:
    (signed / "portcullis.yaml").write_text("trust: {signers: {ci: {key: {file: p256.pub}}}}")
    config = ("--config", str(signed / "portcullis.yaml"), "-o", "json")
    done = portcullis("verify", str(signed / "p256.json"), "--subject", SUBJECT, *config)
    assert json.loads(done.stdout)["signers"][0]["name"] == "ci"
    assert portcullis("verify", str(signed / "p384.json"), "--subject", SUBJECT, *config).returncode == 1


# -- dockerfile -------------------------------------------------------------------------------------------------


def test_a_dockerfile_alone(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(BAD)
    done = portcullis("dockerfile", str(tmp_path), "-o", "json")
    read = json.loads(done.stdout)
    assert {finding["rule"] for finding in read["lint"]["findings"]} >= {"DL3007", "DL3014", "DL3004"}
    assert read["lint"]["tool"]["version"]
    assert read["lint"]["dockerfile"] == sha256(BAD.encode()).hexdigest()
    assert {violation["policy"] for violation in read["violations"]} == {"lint-required"}
    shown = portcullis("dockerfile", str(tmp_path / "Dockerfile"))
    for words in ("hadolint", "DL3004", "lint-required"):
        assert words in shown.stdout


def test_what_is_silenced_is_counted(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(SILENCED)
    read = json.loads(portcullis("dockerfile", str(tmp_path), "-o", "json").stdout)
    assert read["lint"]["suppressed"] == 1


def test_a_dockerfile_with_its_image(tmp_path: Path, running_demo: RunningDemo) -> None:
    (tmp_path / "Dockerfile").write_text(BAD)
    image = f"{running_demo.registry}/acme/legacy:2.1.0"
    arguments = ("--image", image, "--config", str(running_demo.config), "-o", "json")
    done = portcullis("dockerfile", str(tmp_path), *arguments)
    assert done.returncode == 1, done.stderr
    assert {"image-user", "lint-required"} <= {one["policy"] for one in json.loads(done.stdout)["violations"]}


def test_without_hadolint(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(BAD)
    done = portcullis("dockerfile", str(tmp_path), "--hadolint", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "is no program" in done.stderr
