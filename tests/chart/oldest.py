"""JSON Schemas of the oldest Kubernetes that the chart is for, as schemas.py makes them of the newest.

They are made of the types that client-go brings for server-side apply, in a module of 4 MB (tests/tools/oldest pins
it); the OpenAPI document, which says what is required as well, is in one of 20. A field that a version between the two
took away again would have to be one that the oldest has and the newest has not: none that was ever stable.
"""

import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from chart.support import ROOT
from tools import schemas

PINS = ROOT / "tests" / "tools" / "oldest"
MODULE = "k8s.io/client-go"
TYPES = "applyconfigurations/internal/internal.go"
SCALARS: Mapping[str, Mapping[str, Any]] = {
    "string": {"type": "string"},
    "numeric": {"type": "number"},
    "boolean": {"type": "boolean"},
    "untyped": {},
}


def version() -> str:
    (found,) = re.findall(rf"^require {MODULE} v0\.(\d+\.\d+)$", (PINS / "go.mod").read_text(), flags=re.MULTILINE)
    return f"v1.{found}"


def location() -> str:
    """What kubeconform takes as -schema-location; made where it is not there."""
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    target = schemas.cache() / "schemas" / f"kubernetes-{version()}-{made_by}"
    if not target.is_dir():
        _make(target)
    return f"{target}/{schemas.TEMPLATE}"


def _make(target: Path) -> None:
    definitions = {**dict(_definitions()), **schemas.REPLACED}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        for name, definition in definitions.items():
            # io.k8s.api.apps.v1.Deployment; only kinds have these two fields of their own.
            if not definition.get("properties", {}).keys() >= {"apiVersion", "kind", "metadata"}:
                continue
            group, released, kind = name.split(".")[-3:]
            parts = [kind, *([group] if group != "core" else []), released]
            file = made / f"{'-'.join(parts).lower()}.json"
            file.write_text(json.dumps(schemas.complete(name, definitions), sort_keys=True), encoding="utf-8")
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # another run was faster
                raise


def _definitions() -> Iterator[tuple[str, dict[str, Any]]]:
    command = ["go", "mod", "download", "-json", MODULE]
    done = subprocess.run(command, cwd=PINS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (Path(json.loads(done.stdout)["Dir"]) / TYPES).read_text("utf-8")
    (document,) = re.findall(r"typed\.YAMLObject\(`(.*?)`\)", text, flags=re.DOTALL)
    for entry in yaml.load(document, Loader=yaml.CSafeLoader)["types"]:
        yield entry["name"], _schema(entry)


def _schema(node: Mapping[str, Any]) -> dict[str, Any]:
    """One type: a scalar, a reference, a list, a map, or an object with fields."""
    if "namedType" in node:
        return {"$ref": f"{schemas.PREFIX}{node['namedType']}"}
    if "list" in node:
        return {"type": "array", "items": _schema(node["list"]["elementType"])}
    if "map" in node and "fields" in node["map"]:
        fields = {field["name"]: _schema(field["type"]) for field in node["map"]["fields"]}
        return {"type": "object", "properties": fields, "additionalProperties": False}
    if "map" in node:
        return {"type": "object", "additionalProperties": _schema(node["map"]["elementType"])}
    return dict(SCALARS[node["scalar"]])
