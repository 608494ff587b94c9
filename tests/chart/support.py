"""Helm and kubeconform as programs, and what they render as Python values."""

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "portcullis"
CI_FILES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "portcullis-system"
RELEASE = "portcullis"

Object = dict[str, Any]


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not on PATH: run the tests through `make chart`, or `make tools` and add its folders"
    return found


def run(*command: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """As long as it takes, within pytest's time-out: the first time Go may have to fetch the Kubernetes module."""
    return subprocess.run(command, input=stdin, capture_output=True, text=True)


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> "subprocess.CompletedProcess[str]":
    """The values go through a file, as an operator's would."""
    if values is None:
        return run(tool("helm"), *arguments)
    return run(tool("helm"), *arguments, "--values", "-", stdin=json.dumps(values))


def template(*arguments: str, values: Mapping[str, Any], release: str = RELEASE) -> "subprocess.CompletedProcess[str]":
    return helm("template", release, str(CHART), "--namespace", NAMESPACE, *arguments, values=values)


def values_of(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text("utf-8")) or {}


def rendered(values: Mapping[str, Any] | None = None, release: str = RELEASE) -> str:
    return _rendered(json.dumps(values or {}, sort_keys=True), release)


@functools.cache
def _rendered(values: str, release: str) -> str:
    done = template(values=json.loads(values), release=release)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(values: Mapping[str, Any] | None = None, release: str = RELEASE) -> dict[str, Object]:
    """What is installed, by kind: there is never more than one of a kind, but for parts, such as the Service
    ``Service/audit-pages``, and for what lies in other namespaces, such as ``Role/pull-secrets/shop``."""
    documents = [document for document in yaml.load_all(rendered(values, release), Loader=yaml.CSafeLoader) if document]
    by_kind = {_key(document): document for document in documents}
    assert len(by_kind) == len(documents)
    return by_kind


def _key(document: Object) -> str:
    metadata = document["metadata"]
    elsewhere = metadata.get("namespace", NAMESPACE) != NAMESPACE
    parts = [metadata["labels"].get("app.kubernetes.io/component"), metadata["namespace"] if elsewhere else None]
    return "/".join([str(document["kind"]), *filter(None, parts)])


def pod_of(values: Mapping[str, Any] | None = None) -> Object:
    return dict(objects(values)["Deployment"]["spec"]["template"]["spec"])


def container_of(values: Mapping[str, Any] | None = None) -> Object:
    (container,) = pod_of(values)["containers"]
    return dict(container)


def webhook_of(values: Mapping[str, Any] | None = None) -> Object:
    """The one that judges workloads."""
    return webhooks_of(values)["gate.portcullis.dev"]


def webhooks_of(values: Mapping[str, Any] | None = None) -> dict[str, Object]:
    """By name."""
    found = objects(values)["ValidatingWebhookConfiguration"]["webhooks"]
    return {webhook["name"]: dict(webhook) for webhook in found}


def configuration_of(values: Mapping[str, Any] | None = None, release: str = RELEASE) -> Object:
    data = objects(values, release)["ConfigMap"]["data"]
    assert data.keys() - {"ca.crt"} == {"portcullis.yaml"}
    return dict(yaml.load(data["portcullis.yaml"], Loader=yaml.CSafeLoader))


@functools.cache
def schema_location() -> str:
    """Of kubeconform: the schemas that tests/tools/schemas.py makes."""
    done = run(sys.executable, str(ROOT / "tests" / "tools" / "schemas.py"))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CRDS = Path(__file__).with_name("crds")
"""Schemas of kinds that Kubernetes has not itself, with the fields that the chart uses, strict as the others are."""


def kubeconform(manifests: str, location: str = "") -> "subprocess.CompletedProcess[str]":
    """Against the newest Kubernetes, or that of ``location``."""
    places = (location or schema_location(), f"{CRDS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json")
    options = [word for place in places for word in ("-schema-location", place)]
    return run(tool("kubeconform"), "-strict", "-summary", *options, "-", stdin=manifests)
