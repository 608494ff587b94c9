"""Each command against a running gate and its registry."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from e2e.support import RunningDemo, portcullis

WEB = "acme/web:1.4.2"
ROOT = "acme/legacy:2.1.0"
UNSCANNED = "acme/model:0.3.0"


def pod(image: str, name: str = "p", **metadata: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, **metadata},
            "spec": {"containers": [{"name": "app", "image": image}]},
        }
    )


@pytest.fixture
def manifests(tmp_path: Path, running_demo: RunningDemo) -> Path:
    """A folder of mixed manifests: one admitted, one refused, one without a pod."""
    folder = tmp_path / "manifests"
    (folder / "base").mkdir(parents=True)
    registry = running_demo.registry
    (folder / "a.yaml").write_text(f"{pod(f'{registry}/{WEB}', 'good')}---\n{pod(f'{registry}/{ROOT}', 'bad')}")
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    (folder / "base" / "b.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [settings]}))
    return folder


def check(demo: RunningDemo, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = portcullis("check", "--config", str(demo.config), *arguments, stdin=stdin)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def verdicts(output: str) -> Sequence[tuple[str, str]]:
    return [(one["source"].rpartition("/")[2], one["verdict"]) for one in json.loads(output)["decisions"]]


def test_check_of_a_folder_has_the_documented_shape(running_demo: RunningDemo, manifests: Path) -> None:
    code, output, _ = check(running_demo, str(manifests), "--namespace", "shop", "-o", "json")
    tree = json.loads(output)
    assert code == 1
    assert (tree["apiVersion"], tree["kind"]) == ("portcullis.dev/v1", "DecisionList")
    assert tree["summary"] == {"admitted": 2, "refused": 1, "undecided": 0}
    assert verdicts(output) == [
        ("a.yaml#0", "admitted"),
        ("a.yaml#1", "refused"),
        ("b.json#0.items[0]", "admitted"),
    ]
    (violation,) = [one for one in tree["decisions"][1]["violations"] if one["mode"] == "deny"]
    assert violation["policy"] == "image-user"
    assert violation["container"] == "app"
    assert violation["digest"].startswith("sha256:")
    assert {one["namespace"] for one in tree["decisions"]} == {"shop"}
    assert len({one["policyRevision"] for one in tree["decisions"]}) == 1


def test_check_of_good_manifests_exits_0(running_demo: RunningDemo) -> None:
    manifest = pod(f"{running_demo.registry}/{WEB}").encode()
    code, output, _ = check(running_demo, "-", "-o", "json", stdin=manifest)
    assert (code, verdicts(output)) == (0, [("-#0", "admitted")])


@pytest.mark.parametrize(
    "manifest",
    [
        b"- not an object\n",
        b"a: [\n",
        pod("127.0.0.1:1/acme/web:1").encode(),
    ],
    ids=["no object", "no YAML", "an outage"],
)
def test_check_of_what_cannot_be_decided_exits_2(running_demo: RunningDemo, manifest: bytes, tmp_path: Path) -> None:
    config = tmp_path / "portcullis.yaml"
    loopback = {"127.0.0.1:1": {"insecure": True, "private": True}}
    config.write_text(yaml.safe_dump({"registries": {"hosts": loopback}}))
    done = portcullis("check", "--config", str(config), "-", "-o", "json", stdin=manifest)
    assert done.returncode == 2, done.stderr
    assert [verdict for _, verdict in verdicts(done.stdout)] == ["undecided"]
    assert json.loads(done.stdout)["decisions"][0]["problems"]


def test_check_takes_policies_of_ones_own(running_demo: RunningDemo, tmp_path: Path) -> None:
    folder = tmp_path / "policies" / "no-web"
    folder.mkdir(parents=True)
    (folder / "policy.rego").write_text(
        'package portcullis.policies.no_web\n\nimport rego.v1\n\ndeny contains "no pods today" if '
        'input.workload.kind == "Pod"\n'
    )
    manifest = pod(f"{running_demo.registry}/{WEB}").encode()
    code, output, _ = check(running_demo, "-", "--policies", str(tmp_path / "policies"), "-o", "json", stdin=manifest)
    assert code == 1
    said = [one["msg"] for one in json.loads(output)["decisions"][0]["violations"] if one["policy"] == "no-web"]
    assert said == ["no pods today"]


def test_check_of_a_policy_that_does_not_compile_names_the_place(running_demo: RunningDemo, tmp_path: Path) -> None:
    (tmp_path / "policy.rego").write_text("package portcullis.policies.bad\n\nimport rego.v1\n\ndeny contains x if y\n")
    code, output, errors = check(running_demo, "-", "--policies", str(tmp_path), stdin=b"a: 1")
    assert (code, output) == (2, "")
    assert "policy.rego:5" in errors


def test_check_prints_sarif_junit_and_a_table(running_demo: RunningDemo, manifests: Path) -> None:
    _, output, _ = check(running_demo, str(manifests), "-o", "sarif")
    run = json.loads(output)["runs"][0]
    assert "image-user" in [result["ruleId"] for result in run["results"]]
    assert "scan-required" in [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    _, output, _ = check(running_demo, str(manifests), "-o", "junit")
    assert ET.fromstring(output.partition("?>")[2]).get("failures") == "1"
    _, output, errors = check(running_demo, str(manifests))
    assert "2 admitted, 1 refused, 0 undecided" in output
    assert "→ set USER" in output
    assert errors == ""


def test_check_judges_reviews_as_they_are(running_demo: RunningDemo) -> None:
    review = (running_demo.config.parent / "review.json").read_bytes()
    code, output, _ = check(running_demo, "-", "-o", "json", stdin=review)
    decision = json.loads(output)["decisions"][0]
    assert (code, decision["kind"], decision["name"]) == (1, "Deployment", "legacy")


def test_inspect_shows_what_policies_see(running_demo: RunningDemo) -> None:
    image = f"{running_demo.registry}/acme/agent:3.0.1"
    done = portcullis("inspect", image, "--config", str(running_demo.config), "-o", "json")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    facts = tree["images"][image]
    assert facts["isIndex"] is True
    assert [(one["platform"], one["user"]["root"]) for one in facts["platforms"]] == [
        ("linux/amd64", False),
        ("linux/arm64", True),
    ]
    assert [one["verified"] for one in facts["attestations"]] == [True, True]
    assert tree["containers"][0]["user"]["root"] is True
    table = portcullis("inspect", image, "--config", str(running_demo.config)).stdout
    for words in ("linux/arm64", "✓ verified", "trivy 0.68.2", "1 low"):
        assert words in table


def test_inspect_says_why_evidence_is_rejected(running_demo: RunningDemo) -> None:
    image = f"{running_demo.registry}/acme/search:2.7.5"
    done = portcullis("inspect", image, "--config", str(running_demo.config))
    assert "✗ rejected" in done.stdout
    assert "attestation-subject-mismatch" in done.stdout


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("{registry}/acme/none:1", "image-not-found"),
        ("not a reference", "image-reference-invalid"),
        ("oci-layout:/none", "image-not-found"),
        ("docker.io/library/busybox", "registry-not-allowed"),
    ],
)
def test_inspect_of_what_is_not_there_exits_2(running_demo: RunningDemo, image: str, says: str) -> None:
    named = image.format(registry=running_demo.registry)
    done = portcullis("inspect", named, "--config", str(running_demo.config))
    assert done.returncode == 2
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def report_of(demo: RunningDemo, image: str, digest: str) -> dict[str, object]:
    return {
        "SchemaVersion": 2,
        "CreatedAt": "2100-01-01T00:00:00Z",
        "ArtifactName": image,
        "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "debian"}, "RepoDigests": [f"{image}@{digest}"]},
        "Results": [{"Target": "debian", "Class": "os-pkgs", "Type": "debian"}],
    }


def test_an_attested_scan_is_what_the_gate_then_believes(running_demo: RunningDemo, tmp_path: Path) -> None:
    """Without a scan the image is refused; a scan by a key that the configuration trusts changes that."""
    from datetime import UTC, datetime

    image = f"{running_demo.registry}/{UNSCANNED}"
    key = ec.generate_private_key(ec.SECP256R1())
    key_file = tmp_path / "me.pem"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    config = tmp_path / "portcullis.yaml"
    settings = yaml.safe_load(running_demo.config.read_text())
    settings = {name: settings[name] for name in ("registries", "policies")} | {
        "trust": {
            "signers": {"me": {"key": {"pem": public.decode()}}},
            "rules": [{"images": ["**"], "accept": [{"predicates": ["vulnerability"], "signers": ["me"]}]}],
        }
    }
    config.write_text(yaml.safe_dump(settings))

    def decided() -> str:
        done = portcullis("check", "--config", str(config), "-", "-o", "json", stdin=pod(image).encode())
        return str(json.loads(done.stdout)["decisions"][0]["verdict"])

    assert decided() == "refused"
    facts = json.loads(portcullis("inspect", image, "--config", str(config), "-o", "json").stdout)
    digest = facts["images"][image]["digest"]
    report = tmp_path / "report.json"
    report.write_text(
        json.dumps({**report_of(running_demo, image, digest), "CreatedAt": datetime.now(UTC).isoformat()})
    )
    arguments = ("--predicate", str(report), "--type", "vuln", "--key", str(key_file), "--config", str(config))
    done = portcullis("attest", image, *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    pushed = json.loads(done.stdout)
    assert pushed["subject"] == digest
    assert pushed["reference"].startswith(f"{running_demo.registry}/acme/model@sha256:")
    assert decided() == "admitted"


def test_attest_refuses_the_report_of_another_image(running_demo: RunningDemo, tmp_path: Path) -> None:
    image = f"{running_demo.registry}/{WEB}"
    report = tmp_path / "report.json"
    report.write_text(json.dumps(report_of(running_demo, image, "sha256:" + "0" * 64)))
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    arguments = ("--predicate", str(report), "--type", "vuln", "--key", str(key_file))
    done = portcullis("attest", image, *arguments, "--config", str(running_demo.config))
    assert done.returncode == 2
    assert "the report is of the image sha256:000" in done.stderr


def audit(demo: RunningDemo, *arguments: str) -> list[dict[str, object]]:
    done = portcullis("audit", "list", "--config", str(demo.config), "-o", "json", *arguments)
    assert done.returncode == 0, done.stderr
    items = json.loads(done.stdout)["items"]
    assert isinstance(items, list)
    return items


@pytest.mark.parametrize(
    ("arguments", "holds"),
    [
        (("--verdict", "undecided"), lambda item: item["verdict"] == "undecided"),
        (("--kind", "CronJob"), lambda item: item["kind"] == "CronJob"),
        (("--policy", "scan-required", "--verdict", "refused"), lambda item: "scan-required" in str(item)),
        (("--user", "dana@example.test"), lambda item: item["user"]["username"] == "dana@example.test"),
        (("--name", "checkout", "--namespace", "shop"), lambda item: item["name"] == "checkout"),
        (("--since", "1h", "--limit", "3"), lambda item: True),
    ],
)
def test_audit_list_filters(running_demo: RunningDemo, arguments: tuple[str, ...], holds: object) -> None:
    items = audit(running_demo, *arguments)
    assert items
    assert callable(holds)
    assert all(holds(item) for item in items)
    assert len(items) <= 3 or "--limit" not in arguments


def test_audit_list_is_newest_first_and_empty_outside_its_times(running_demo: RunningDemo) -> None:
    sequences = [int(str(item["sequence"])) for item in audit(running_demo)]
    assert sequences == sorted(sequences, reverse=True)
    assert audit(running_demo, "--until", "1h") == []


def test_audit_show_tells_the_whole_story(running_demo: RunningDemo) -> None:
    (item,) = audit(running_demo, "--kind", "DaemonSet")
    whole = str(item["id"])
    shown = portcullis("audit", "show", whole[:8], "--config", str(running_demo.config))
    assert shown.returncode == 0, shown.stderr
    for words in (whole, "dana@example.test", "DaemonSet shop/agent", "linux/arm64", "→ set USER"):
        assert words in shown.stdout
    tree = json.loads(portcullis("audit", "show", whole, "--config", str(running_demo.config), "-o", "json").stdout)
    assert tree["record"]["input"]["workload"]["kind"] == "DaemonSet"
    assert tree["record"]["policyRevision"] == item["policyRevision"]


def test_audit_show_of_what_is_not_there_exits_2(running_demo: RunningDemo) -> None:
    for name in ("00000000-0000-0000-0000-000000000000", "0000000f", "nonsense!"):
        done = portcullis("audit", "show", name, "--config", str(running_demo.config))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")


def test_without_opa_the_error_says_what_to_do(tmp_path: Path) -> None:
    manifest = tmp_path / "a.yaml"
    manifest.write_text(pod("busybox"))
    done = portcullis("check", str(manifest), env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "opa" in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_version_names_opa() -> None:
    tree = json.loads(portcullis("version", "-o", "json").stdout)
    assert tree["opaPath"] == shutil.which("opa")
    assert tree["opa"].startswith("1.")
