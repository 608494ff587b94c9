"""What ``inspect -o json`` and ``audit show -o json`` print is a fixture's facts as it is."""

import json
from pathlib import Path

import pytest
import yaml

from e2e.support import RunningDemo, portcullis


def recorded(demo: RunningDemo, image: str, path: Path) -> None:
    done = portcullis("inspect", image, "--config", str(demo.config), "-o", "json")
    assert done.returncode == 0, done.stderr
    path.write_text(done.stdout)


def written(folder: Path, **said: object) -> None:
    fixture = {"apiVersion": "portcullis.dev/v1", "kind": "PolicyFixture", "name": "recorded", **said}
    (folder / "fixture.yaml").write_text(yaml.safe_dump(fixture))


def pod(image: str) -> dict[str, object]:
    spec = {"containers": [{"name": "app", "image": image}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("name", "expect"),
    [
        ("acme/web:1.4.2", {"violations": []}),
        ("acme/legacy:2.1.0", {"verdict": "refused", "violations": [{"policy": "image-user", "container": "app"}]}),
    ],
)
def test_facts_of_inspect(running_demo: RunningDemo, tmp_path: Path, name: str, expect: dict[str, object]) -> None:
    image = f"{running_demo.registry}/{name}"
    recorded(running_demo, image, tmp_path / "facts.json")
    written(tmp_path, manifest=pod(image), facts=["facts.json"], policies=["image-user"], expect=expect)
    done = portcullis("test", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    written(tmp_path, manifest=pod("other:1"), facts=["facts.json"], policies=["image-user"], expect=expect)
    done = portcullis("test", str(tmp_path))
    assert done.returncode == 2
    assert "no facts are recorded of other:1" in done.stdout


def test_a_decision_of_the_audit_log(running_demo: RunningDemo, tmp_path: Path) -> None:
    config = str(running_demo.config)
    listed = portcullis("audit", "list", "--config", config, "--verdict", "refused", "-o", "json")
    parameters = yaml.safe_load(running_demo.config.read_text())["policies"]["parameters"]
    (tmp_path / "deeper").mkdir()
    judged = 0
    for record in json.loads(listed.stdout)["items"][:5]:
        shown = portcullis("audit", "show", record["id"], "--config", config, "-o", "json")
        (tmp_path / "deeper" / "decision.json").write_text(shown.stdout)
        policies = sorted({one["policy"] for one in record["violations"] if one["mode"] == "deny"})
        if not policies:
            continue
        judged += 1
        expected = [{"policy": policy, "mode": "deny"} for policy in policies]
        # Of the configuration nothing counts, so what the policies were asked with is said.
        asked = {policy: parameters[policy] for policy in policies if policy in parameters}
        said = {"decision": "deeper/decision.json", "policies": policies, "parameters": asked}
        written(tmp_path, **said, expect={"verdict": "refused", "code": 403, "violations": expected})
        done = portcullis("test", str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        written(tmp_path, **said, expect={"verdict": "admitted"})
        done = portcullis("test", str(tmp_path))
        assert done.returncode == 1
        assert f"deny {policies[0]}" in done.stdout
    assert judged
