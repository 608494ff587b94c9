"""Makes JSON Schemas of the pinned Kubernetes for kubeconform, offline; standard library only.

    python3 tests/tools/schemas.py

They are made from the OpenAPI document in the Go module that tests/tools/kubernetes pins, one file per kind, whole
and strict: a key that Kubernetes does not know is an error, and so is null. Written once into the cache (install.py);
prints what kubeconform takes as -schema-location.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from install import HERE, cache, say

MODULE = "k8s.io/kubernetes"
DOCUMENT = "api/openapi-spec/swagger.json"
TEMPLATE = "{{.ResourceKind}}{{.KindSuffix}}.json"
PREFIX = "#/definitions/"

INT_OR_STRING = {"type": ["integer", "string"]}
REPLACED: Mapping[str, Mapping[str, Any]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["number", "string"]},
}
"""OpenAPI v2 has one type only for each; the API server takes both."""

KEPT = (
    "type",
    "required",
    "enum",
    "items",
    "properties",
    "additionalProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
)

Definitions = Mapping[str, Mapping[str, Any]]


def module() -> Path:
    """The folder of the pinned Go module."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("schemas: there is no Go, which fetches and checks the OpenAPI document. Install Go 1.26.")
    command = [go, "mod", "download", "-json", MODULE]
    done = subprocess.run(command, cwd=HERE / "kubernetes", capture_output=True, text=True, check=False)
    try:
        return Path(json.loads(done.stdout)["Dir"])
    except (ValueError, KeyError):
        raise SystemExit(f"schemas: {MODULE} cannot be had: {done.stdout}{done.stderr}") from None


def version() -> str:
    lines = (HERE / "kubernetes" / "go.mod").read_text().splitlines()
    (found,) = (words[1] for line in lines if (words := line.removeprefix("require ").split())[:1] == [MODULE])
    return found


def folder() -> Path:
    """Where the schemas of this version lie, as this file makes them."""
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return cache() / "schemas" / f"kubernetes-{version()}-{made_by}"


def strict(node: Mapping[str, Any]) -> dict[str, Any]:
    """One schema node as JSON Schema."""
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if node.get("format") == "int-or-string":
        return dict(INT_OR_STRING)
    result = {key: node[key] for key in KEPT if key in node}
    if isinstance(result.get("items"), dict):
        result["items"] = strict(result["items"])
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(result["additionalProperties"])
    if "properties" in result:
        result["properties"] = {key: strict(value) for key, value in result["properties"].items()}
        result.setdefault("additionalProperties", False)
    return result


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(found := node.get("$ref"), str):
            yield found.removeprefix(PREFIX)
        for value in node.values():
            yield from references(value)


def complete(name: str, definitions: Definitions) -> dict[str, Any]:
    """The schema ``name`` with every definition that it leads to."""
    needed: dict[str, Mapping[str, Any]] = {}
    queue = [name]
    while queue:
        current = queue.pop()
        if current not in needed:
            needed[current] = definitions[current]
            queue += references(definitions[current])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": f"{PREFIX}{name}",
        "definitions": {key: needed[key] for key in sorted(needed)},
    }


def kinds(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """File name and definition of each kind. DeleteOptions and its like, which are of every group, are left out."""
    for name, definition in document["definitions"].items():
        found = definition.get("x-kubernetes-group-version-kind", ())
        if len(found) == 1:
            group, kind = found[0]["group"].split(".")[0], found[0]["kind"]
            parts = [kind, *([group] if group else []), found[0]["version"]]
            yield f"{'-'.join(parts).lower()}.json", name


def make(target: Path) -> None:
    """Writes all schemas; the last step is a rename, so that a broken run leaves nothing."""
    document = json.loads((module() / DOCUMENT).read_text(encoding="utf-8"))
    definitions = {**{name: strict(node) for name, node in document["definitions"].items()}, **REPLACED}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        for file, name in kinds(document):
            text = json.dumps(complete(name, definitions), sort_keys=True)
            (made / file).write_text(text, encoding="utf-8")
        try:
            made.rename(target)
        except OSError:
            # Another run was faster.
            if not target.is_dir():
                raise
    say(f"schemas of Kubernetes {version()}: ready")


def main() -> None:
    target = folder()
    if not target.is_dir():
        make(target)
    print(f"{target}/{TEMPLATE}")


if __name__ == "__main__":
    main()
