"""Every command that the documentation shows is run, in the order in which it stands there.

What stands in a block marked ``sh`` is a command. ``registry.example/acme/web:1.4`` stands for an image of the
demo's registry. Programs that are not ours are only known by name.
"""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from e2e.support import RunningDemo, clean_report, portcullis
from fakes.disk import saved_files, tar_of
from fakes.remoteopa import AUTHORIZATION
from portcullis.evidence.attest import attest
from portcullis.model.image import Digest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/authors.md",
    "docs/coming-from-gatekeeper.md",
    "docs/coming-from-kyverno.md",
    "docs/coming-from-policy-controller.md",
    "docs/evidence.md",
    "docs/explaining.md",
    "docs/keys.md",
    "docs/linting.md",
    "docs/operators.md",
    "docs/operators-air-gap.md",
    "docs/operators-audit-log.md",
    "docs/operators-break-glass.md",
    "docs/operators-policies.md",
    "docs/operators-readers.md",
    "docs/operators-registries.md",
    "docs/policies.md",
    "docs/reasons.md",
    "docs/remote-opa.md",
    "docs/replay.md",
    "docs/reviewing-by-command.md",
    "docs/testing.md",
)
RUN = frozenset({"portcullis", "opa", "cosign", "openssl"})
OTHERS = frozenset({"trivy", "curl", "docker", "kubectl", "helm"})
"""Programs of others, whose use is shown but not tested here. Those of a cluster are in test_install.py."""

LOG = "webhook.log"
"""What a gate has written, where a page takes it for granted."""
EXAMPLE = "registry.example/acme/web:1.4"


def commands(page: str) -> list[list[str]]:
    """The commands of a page; a backslash at the end of a line continues it."""
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def rego_blocks(page: str) -> list[str]:
    return re.findall(r"^```rego\n(.*?)^```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, running_demo: RunningDemo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader of the pages has: manifests, policies, a key, a configuration, a scan report, a saved image."""
    image = f"{running_demo.registry}/acme/web:1.4.2"
    hosts = json.dumps({running_demo.registry: {"insecure": True, "private": True}})
    monkeypatch.setenv("PORTCULLIS_REGISTRIES__HOSTS", hosts)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }
    (tmp_path / "deploy").mkdir()
    for name in ("deploy.yaml", "deploy/web.yaml"):
        (tmp_path / name).write_text(json.dumps(pod))
    _write_policies(tmp_path)
    (tmp_path / "web.tar").write_bytes(tar_of(saved_files((tar_of({"app/web": b"hello"}),), "acme/web:1.4")))
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "ci.pem").write_bytes(pem)
    (tmp_path / "portcullis.yaml").write_text(
        "server: {port: 0, healthPort: 0, stopDelaySeconds: 0, tls: {selfManaged: {directory: tls}}}\n"
        "audit: {database: 'sqlite:///audit.db'}\n"
    )
    inspected = portcullis("inspect", image, "-o", "json")
    assert inspected.returncode == 0, inspected.stderr
    digest = re.search(r"sha256:[0-9a-f]{64}", inspected.stdout)
    assert digest is not None
    (tmp_path / "report.json").write_text(json.dumps(clean_report(image, digest[0])))
    _write_evidence(tmp_path, key)
    return tmp_path


def _write_evidence(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Reports of Grype and Hadolint, a Dockerfile, and an attestation with the key that signed it."""
    found = {"id": "CVE-2024-3094", "severity": "Critical", "fix": {"state": "fixed", "versions": ["5.6.1"]}}
    artifact = {"name": "xz-utils", "version": "5.6.0", "type": "deb", "purl": "pkg:deb/debian/xz-utils@5.6.0"}
    descriptor = {"name": "grype", "version": "0.104.0", "timestamp": "2026-11-24T12:00:00Z"}
    report = {
        "matches": [{"vulnerability": found, "artifact": artifact}],
        "source": {"type": "image", "target": {"userInput": EXAMPLE, "architecture": "amd64", "os": "linux"}},
        "distro": {"name": "debian", "version": "12"},
        "descriptor": descriptor,
    }
    (folder / "grype.json").write_text(json.dumps(report))
    lint = {
        "code": "DL3008",
        "column": 1,
        "file": "Dockerfile",
        "level": "warning",
        "line": 2,
        "message": "Pin versions",
    }
    (folder / "hadolint.json").write_text(json.dumps([lint]))
    (folder / "Dockerfile").write_text("FROM debian:12.8\nCOPY web /web\nUSER 10001\n")
    subject = re.search(r"--subject (sha256:[0-9a-f]{64})", (ROOT / "README.md").read_text("utf-8"))
    assert subject is not None
    made = attest(
        predicate={"approved": True},
        predicate_type="https://acme.example/review/v1",
        subject=Digest(subject[1]),
        name="registry.example/acme/web",
        key=key,
    )
    (folder / "bundle.json").write_bytes(made)
    pem = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "ci.pub").write_bytes(key.public_key().public_bytes(*pem))


def _write_policies(folder: Path) -> None:
    first, tests, *_ = rego_blocks("docs/authors.md")
    for name, text in (("policy", first), ("policy_test", tests)):
        path = folder / "my-policies" / "image-labelled" / f"{name}.rego"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _write_examples(folder: Path, page: str) -> None:
    """The policy of the page with its tests, and the files that it shows under their names."""
    text = (ROOT / page).read_text("utf-8")
    for name, source in zip(("policy", "policy_test"), rego_blocks(page), strict=True):
        path = folder / "my-policies" / "example" / f"{name}.rego"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    for name, content in re.findall(r"^`(\w+/[\w.]+)`:\n\n```yaml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


@pytest.mark.timeout(1800)  # a page shows up to twenty commands
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works(page: str, folder: Path, running_demo: RunningDemo) -> None:
    image = f"{running_demo.registry}/acme/web:1.4.2"
    if page == "README.md":
        (first,) = rego_blocks(page)
        path = folder / "my-policies" / "team-label" / "policy.rego"
        path.parent.mkdir()
        path.write_text(first)
    elif page.startswith("docs/coming-from-"):
        _write_examples(folder, page)
    elif page in ("docs/replay.md", "docs/reviewing-by-command.md"):
        _copy_log(running_demo.config.with_name("audit.db"), folder / "audit.db")
    elif page == "docs/testing.md":
        (fixture,) = re.findall(
            r"^```yaml\n(apiVersion: portcullis.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
        (folder / "fixtures").mkdir()
        (folder / "fixtures" / "root.yaml").write_text(fixture.replace(EXAMPLE, image))
    elif page == "docs/operators-audit-log.md":
        serve(("serve", "--config", "portcullis.yaml"), folder)
    for words in commands(page):
        run([word.replace(EXAMPLE, image) for word in words], folder, anew=page == "README.md")


def _copy_log(source: Path, target: Path) -> None:
    """The log of the demo, which runs meanwhile."""
    with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as running, sqlite3.connect(target) as copy:
        running.backup(copy)
    running.close()
    copy.close()


def test_the_authorization_that_is_shown_is_the_one_that_is_tested() -> None:
    (shown,) = rego_blocks("docs/remote-opa.md")
    assert shown == AUTHORIZATION.replace("TOKEN", "the token")


def test_the_pages_do_show_commands() -> None:
    assert {words[0] for page in PAGES for words in commands(page)} >= {"make", "portcullis", "opa"}


def test_the_refusal_at_the_top_is_what_the_policies_say(running_demo: RunningDemo) -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    shown = re.findall(rf'^\[([a-z-]+)\] container "web" \({re.escape(EXAMPLE)}\): (.+)$', page, re.MULTILINE)
    said = set()
    # A copy in a repository of its own: other tests may attach a scan to the original meanwhile.
    unscanned = [f"{running_demo.registry}/acme/{name}" for name in ("model:0.3.0", "unscanned:1")]
    subprocess.run(["crane", "copy", "--insecure", *unscanned], check=True, capture_output=True, timeout=120)
    for image in ("acme/legacy:2.1.0", "acme/unscanned:1"):  # the one runs as root, the other has no scan
        container = {"name": "web", "image": f"{running_demo.registry}/{image}"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}
        arguments = ("check", "-", "--config", str(running_demo.config), "-o", "json")
        done = portcullis(*arguments, stdin=json.dumps(pod).encode())
        for found in json.loads(done.stdout)["decisions"][0]["violations"]:
            said.add((found["policy"], f"{found['msg']}. {found['fix'][:1].upper()}{found['fix'][1:]}."))
    assert [policy for policy, _ in shown] == ["image-user", "scan-required"]
    assert set(shown) <= said


def run(words: Sequence[str], folder: Path, *, anew: bool) -> None:
    """What a reader types; ``anew`` has commands of ours import the program each by itself."""
    target = ""
    if ">" in words:
        *words, _, target = words
    program, *arguments = words
    if LOG in words and not (folder / LOG).exists():
        serve(("serve", "--config", "portcullis.yaml"), folder)
    if program == "make":
        done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    elif program == "portcullis" and arguments[0] == "serve":
        serve(arguments, folder)
    elif program in RUN:
        command = [sys.executable, "-m", "portcullis"] if program == "portcullis" else [program]
        place = ROOT if any(word.split("/")[0] == "policies" for word in arguments) else folder
        if program == "portcullis" and not anew:
            done = portcullis(*arguments, place=place)
        else:
            done = subprocess.run([*command, *arguments], cwd=place, capture_output=True, text=True, timeout=120)
        # 1 is a refusal, which is an answer; the example's image is not scanned by anyone this folder trusts.
        allowed = {0, 1} if arguments[0] in ("check", "dockerfile", "replay") else {0}
        assert done.returncode in allowed, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        if target:
            (folder / target).write_text(done.stdout)
    elif program in ("cosign", "openssl"):
        environment = {**os.environ, "COSIGN_PASSWORD": ""}
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    else:
        assert program in OTHERS, f"{program} is neither ours nor known here: {shlex.join(words)}"


def serve(arguments: Sequence[str], folder: Path) -> None:
    """Starts it, waits until it serves, and ends it as a cluster would."""
    process = subprocess.Popen(
        [sys.executable, "-m", "portcullis", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if '"serving"' in line:
            process.send_signal(signal.SIGTERM)
            break
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, "".join(seen)
    (folder / LOG).write_text("".join(seen) + rest)
