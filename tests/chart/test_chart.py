"""The chart as a whole: it lints, renders the same twice, is valid Kubernetes, and its papers agree with it."""

import functools
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import portcullis
from chart import oldest
from chart.generate_schema import TARGET, render
from chart.support import (
    CHART,
    CI_FILES,
    ROOT,
    container_of,
    helm,
    kubeconform,
    objects,
    rendered,
    run,
    schema_location,
    template,
    tool,
    values_of,
)

DOCUMENT = "helm-docs --chart-search-root charts/portcullis --sort-values-order file"
GENERATE = "uv run --frozen --no-sync python tests/chart/generate_schema.py"

ci_file = pytest.mark.parametrize("file", CI_FILES, ids=lambda file: file.stem)


def test_the_ci_files() -> None:
    """One for each way to install it; each says in its first line which."""
    assert len(CI_FILES) > 10
    for file in CI_FILES:
        assert file.read_text("utf-8").startswith("# ")
        assert values_of(file) or file.stem == "default-values"


@ci_file
def test_lint(file: Path) -> None:
    done = helm("lint", "--strict", str(CHART), "--values", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@ci_file
def test_renders_the_same_twice(file: Path) -> None:
    values = values_of(file)
    again = template(values=values)
    assert again.stdout == rendered(values)
    assert again.stdout


@ci_file
def test_is_valid_in_the_newest_and_in_the_oldest_kubernetes(file: Path) -> None:
    """What is stable in both is in those between them."""
    count = len(objects(values_of(file)))
    for location in (schema_location(), oldest.location()):
        done = kubeconform(rendered(values_of(file)), location)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{count} resources found parsing stdin - Valid: {count}," in done.stdout


def test_the_oldest_is_the_one_that_the_chart_asks_for() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["kubeVersion"] == f">={oldest.version().removeprefix('v').rpartition('.')[0]}.0-0"


def test_the_oldest_knows_its_kinds() -> None:
    """A field that came later is seen."""
    later = rendered().replace("      enableServiceLinks: false\n", "      hostnameOverride: x\n")
    done = kubeconform(later, oldest.location())
    assert done.returncode == 1
    assert "additional properties 'hostnameOverride' not allowed" in done.stdout
    assert kubeconform(later).returncode == 0


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("failurePolicy: ", "failurePolcy: ", "additional properties 'failurePolcy' not allowed"),
        ("readOnlyRootFilesystem: ", "readonlyRootFilesystem: ", "'readonlyRootFilesystem' not allowed"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: on1", "got string, want boolean"),
        ("periodSeconds: 10", "periodSeconds: null", "got null, want integer"),
        ("  accessModes:\n", "  accessMode:\n", "'accessMode' not allowed"),
        ("  name: portcullis\n", "  nam: portcullis\n", "'nam' not allowed"),
        ("roleRef:", "roleReference:", "missing property 'roleRef'"),
        ("kind: ClusterRole\n", "kind: ClusterRoll\n", "could not find schema for ClusterRoll"),
    ],
)
def test_kubeconform_sees_a_slip(right: str, wrong: str, complaint: str) -> None:
    assert right in rendered()
    done = kubeconform(rendered().replace(right, wrong))
    assert done.returncode == 1
    assert complaint in done.stdout


def test_every_object_is_in_its_place() -> None:
    cluster_wide = {
        "ClusterRole",
        "ClusterRole/break-glass",
        "ClusterRole/break-glass-reader",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "FlowSchema",
        "ValidatingWebhookConfiguration",
    }
    found = objects()
    for kind, item in found.items():
        assert ("namespace" in item["metadata"]) == (kind not in cluster_wide), kind
        part = kind.partition("/")[2]
        name = f"portcullis-{part}" if part else "portcullis"
        assert item["metadata"]["name"] == (
            "breakglasses.portcullis.dev" if kind == "CustomResourceDefinition" else name
        )
    assert found.keys() - cluster_wide == {
        "ConfigMap",
        "Deployment",
        "Lease/recheck",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "ResourceQuota",
        "Role",
        "RoleBinding",
        "Secret/shared",
        "Service",
        "ServiceAccount",
    }


def test_versions_are_those_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (portcullis.__version__, portcullis.__version__)


def test_what_artifact_hub_shows() -> None:
    """As https://artifacthub.io/docs/topics/annotations/helm/ wants it."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    shown = {key.removeprefix("artifacthub.io/"): value for key, value in chart["annotations"].items()}
    assert shown["category"] == "security"
    assert shown["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["license"]
    assert {shown["prerelease"], shown["containsSecurityUpdates"]} <= {"true", "false"}
    (image,) = yaml.safe_load(shown["images"])
    assert image["image"] == container_of()["image"]
    kinds = {"added", "changed", "deprecated", "removed", "fixed", "security"}
    changes = yaml.safe_load(shown["changes"])
    assert changes
    assert all(change.keys() == {"kind", "description"} and change["kind"] in kinds for change in changes)
    for link in yaml.safe_load(shown["links"]):
        page = link["url"].partition("/blob/main/")[2]
        assert not page or (ROOT / page).is_file(), link


def test_labels_of_ones_own_are_on_every_object() -> None:
    values = values_of(CHART / "ci" / "autoscaling-values.yaml")
    for kind, item in objects(values).items():
        assert item["metadata"]["labels"].items() >= values["extraLabels"].items(), kind


def test_the_schema_is_the_one_that_is_made() -> None:
    assert TARGET.read_text("utf-8") == render(), f"values.schema.json is stale: {GENERATE}"


def test_the_page_is_made_of_the_values() -> None:
    """README.md as helm-docs makes it, which leaves it where it is."""
    made = run(tool("helm-docs"), "--chart-search-root", str(CHART), "--sort-values-order", "file", "--dry-run")
    assert made.returncode == 0, made.stderr
    assert (CHART / "README.md").read_text("utf-8").strip() == made.stdout.strip(), f"README.md is stale: {DOCUMENT}"


def test_every_value_is_described() -> None:
    readme = (CHART / "README.md").read_text("utf-8").partition("\n## Values\n")[2]
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| (.*) \|$", readme, flags=re.MULTILINE)
    assert len(rows) == readme.count("\n|") - 1
    assert [key for key, _, words in rows if len(words) < 8] == []
    values = values_of(CHART / "values.yaml")
    assert {key.partition(".")[0] for key, _, _ in rows} == values.keys()
    for key, default, _ in rows:
        found = functools.reduce(lambda node, part: node[part], key.split("."), values)
        assert found == json.loads(default), key


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads(TARGET.read_text("utf-8"))
    assert schema["properties"].keys() - {"global"} == values_of(CHART / "values.yaml").keys()


@pytest.mark.parametrize("word", ["lookup", "genCA", "genSelfSignedCert", "rand", "uuidv4", "now", "getHostByName"])
def test_no_template_asks_chance_or_the_cluster(word: str) -> None:
    for file in (CHART / "templates").iterdir():
        actions = re.findall(r"\{\{(?!-? ?/\*)(.*?)\}\}", file.read_text("utf-8"), flags=re.DOTALL)
        assert actions or file.suffix == ".txt"
        for action in actions:
            assert not re.search(rf"\b{word}", re.sub(r'"[^"]*"', "", action)), (file.name, action)
