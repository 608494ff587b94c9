"""Moving Rego, against the trees of the real OPA."""

import json
import subprocess
from pathlib import Path

import pytest

from portcullis.policy.rerooting import Moves, RelocationError, bare, moved, relocate

pytestmark = pytest.mark.opa

MOVES: Moves = {("portcullis",): ("portcullis_1f",), ("inventory",): ("portcullis_1f", "inventory")}

MOVED = {
    "package": ("package portcullis.policies.a", "package portcullis_1f.policies.a"),
    "package with a bracket": ('package portcullis["p"].a', 'package portcullis_1f["p"].a'),
    "import": ("import data.portcullis.lib.a", "import data.portcullis_1f.lib.a"),
    "import with an alias": ("import data.portcullis.lib.a as b", "import data.portcullis_1f.lib.a as b"),
    "import of the root": (
        "import data.portcullis\np := portcullis.x",
        "import data.portcullis_1f as portcullis\np := portcullis.x",
    ),
    "import of another": (
        "import data.inventory\np := inventory.x",
        "import data.portcullis_1f.inventory\np := inventory.x",
    ),
    "other imports": ("import input.portcullis\nimport rego.v1", "import input.portcullis\nimport rego.v1"),
    "call": ("p := data.portcullis.lib.f(1)", "p := data.portcullis_1f.lib.f(1)"),
    "brackets": ('p := data["portcullis"].x', "p := data.portcullis_1f.x"),
    "brackets with blanks": ('p := data[ "portcullis" ].x', "p := data.portcullis_1f.x"),
    "raw string": ("p := data[`portcullis`].x", "p := data.portcullis_1f.x"),
    "longer": ('p := data.inventory["a"]', 'p := data.portcullis_1f.inventory["a"]'),
    "two in a row": (
        "p := [data.portcullis.a, data.inventory.b]",
        "p := [data.portcullis_1f.a, data.portcullis_1f.inventory.b]",
    ),
    "behind other characters": ('p := ["é𝄞", data.portcullis.a]', 'p := ["é𝄞", data.portcullis_1f.a]'),
    "within": ("p := data.x[data.portcullis.a]", "p := data.x[data.portcullis_1f.a]"),
    "with": (
        "p if data.portcullis.a with data.portcullis.b as data.portcullis.c",
        "p if data.portcullis_1f.a with data.portcullis_1f.b as data.portcullis_1f.c",
    ),
    "template": ('p := $"{data.portcullis.a} data.portcullis.b"', 'p := $"{data.portcullis_1f.a} data.portcullis.b"'),
    "head": ("p[data.portcullis.a] := 1", "p[data.portcullis_1f.a] := 1"),
    "by a variable below": (
        "p contains x if data.portcullis.policies[x]",
        "p contains x if data.portcullis_1f.policies[x]",
    ),
    "every": (
        "p if every x in data.portcullis.a { x == data.inventory.b }",
        "p if every x in data.portcullis_1f.a { x == data.portcullis_1f.inventory.b }",
    ),
    "texts and comments": (
        'p := "data.portcullis.a" # data.portcullis.a',
        'p := "data.portcullis.a" # data.portcullis.a',
    ),
    "no data": ("p := input.data.portcullis", "p := input.data.portcullis"),
    "rows": ("p := [\n\n  data.portcullis.a,\n]", "p := [\n\n  data.portcullis_1f.a,\n]"),
}


def parse(text: str, opa_binary: Path, folder: Path) -> dict[str, object]:
    path = folder / "a.rego"
    path.write_text(text, encoding="utf-8")
    arguments = ["parse", "--format", "json", "--json-include", "locations", str(path)]
    done = subprocess.run([str(opa_binary), *arguments], capture_output=True, check=True, timeout=60)
    tree: dict[str, object] = json.loads(done.stdout)
    return tree


def module(text: str) -> str:
    return text if text.startswith("package") else f"package other\n{text}"


@pytest.mark.parametrize("name", MOVED)
def test_moved(name: str, opa_binary: Path, tmp_path: Path) -> None:
    before, after = map(module, MOVED[name])
    tree = parse(before, opa_binary, tmp_path)
    result = relocate(before, tree, MOVES)
    assert result == after
    assert bare(parse(result, opa_binary, tmp_path)) == moved(tree, MOVES)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("p := data", 2),
        ("p := 1\nq contains x if data[x].y", 3),
        ("p := data[input.x]", 2),
        ('p := data[\n"portcullis"].x', 3),
        ('p := data["portcullis"\n].x', 2),
    ],
)
def test_what_cannot_be_moved_says_where(text: str, row: int, opa_binary: Path, tmp_path: Path) -> None:
    source = module(text)
    with pytest.raises(RelocationError) as caught:
        relocate(source, parse(source, opa_binary, tmp_path), MOVES)
    assert caught.value.row == row


def test_another_text(opa_binary: Path, tmp_path: Path) -> None:
    tree = parse(module("p := data.portcullis.a"), opa_binary, tmp_path)
    for other in ("package other", "package other\np := data_portcullis"):
        with pytest.raises(RelocationError, match="not that of the text"):
            relocate(other, tree, MOVES)


def test_the_longest_old_path_wins(opa_binary: Path, tmp_path: Path) -> None:
    text = module("p := [data.lib.a.x, data.lib.b]")
    moves = {("lib",): ("one",), ("lib", "a"): ("two", "three-four")}
    assert relocate(text, parse(text, opa_binary, tmp_path), moves) == module(
        'p := [data.two["three-four"].x, data.one.b]'
    )
