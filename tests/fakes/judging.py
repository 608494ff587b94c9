"""The library of policies, asked in one run of OPA about many documents; and documents with junk in them."""

import copy
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "policies"
POLICIES = sorted(path.parent.name for path in FOLDER.glob("*/policy.rego"))
SOURCES = sorted(path for path in FOLDER.rglob("*.rego") if not path.name.endswith("_test.rego"))
JUNK: tuple[object, ...] = (None, True, -7, "junk", [], [None], {})


def opa(binary: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([binary, *arguments], cwd=FOLDER, input=stdin, capture_output=True, timeout=280, check=False)


def judge(
    binary: Path, documents: Mapping[str, Any], parameters: Mapping[str, Any], policies: Sequence[str] = POLICIES
) -> dict[str, dict[str, Any]]:
    """Violations per document and policy, in one run, strict about failing builtins as the gate is.

    A policy that is undefined for a document is missing in the answer.
    """
    query = (
        "{name: rulings | some name, document in input.documents; "
        "parameters := input.parameters; policies := input.policies; "
        "rulings := {policy: found | some policy in policies; found := data.portcullis.policies[policy].deny} "
        "  with input as document with data.portcullis.parameters as parameters}"
    )
    sources = [argument for path in SOURCES for argument in ("--data", str(path))]
    done = opa(
        binary,
        "eval",
        "--strict-builtin-errors",
        "--stdin-input",
        "--format",
        "json",
        *sources,
        query,
        stdin=json.dumps(
            {
                "documents": documents,
                "parameters": parameters,
                "policies": [name.replace("-", "_") for name in policies],
            }
        ).encode(),
    )
    assert done.returncode == 0, [
        (error.get("message"), error.get("location")) for error in json.loads(done.stdout)["errors"]
    ]
    answer: dict[str, dict[str, Any]] = json.loads(done.stdout)["result"][0]["expressions"][0]["value"]
    return {
        name: {policy.replace("_", "-"): found for policy, found in rulings.items()} for name, rulings in answer.items()
    }


def mutants(document: Any) -> Iterator[tuple[str, Any]]:
    """The document with one value replaced by junk, or left out, each in turn."""
    for path in list(places(document)):
        for junk in (*JUNK, ...):
            changed = copy.deepcopy(document)
            parent = changed
            for step in path[:-1]:
                parent = parent[step]
            if junk is ...:
                del parent[path[-1]]
            else:
                parent[path[-1]] = junk
            yield f"{'/'.join(map(str, path))} := {junk!r}", changed


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*at, key)
        yield from places(child, (*at, key))
