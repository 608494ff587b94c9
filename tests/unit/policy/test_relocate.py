"""Moving Rego by the positions that OPA reports."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from portcullis.policy.relocate import ImmovableError, Move, relocate, tree_below

pytestmark = pytest.mark.opa

MOVE = Move('p.main["K-1"]', 'p.lib["K-1"]')


def parsed(binary: Path, folder: Path, text: str, *, old: bool) -> Any:
    path = folder / "a.rego"
    path.write_text(text)
    command = [str(binary), "parse", "--format", "json", "--json-include", "locations,-comments", str(path)]
    done = subprocess.run([*command, *(["--v0-compatible"] if old else [])], capture_output=True, check=True)
    return json.loads(done.stdout)


# `@` stands where the package gets its prefix, `~` where a reference does.
MOVED: dict[str, tuple[bool, str]] = {
    "package": (False, "package @a.b"),
    "package-brackets": (False, 'package @a["b-c"].d'),
    "package-comment": (False, "# package a\npackage @a # a"),
    "import": (False, "package @a\nimport data~.lib.x as y"),
    "import-others": (True, "package @a\nimport future.keywords.in\nimport input.b"),
    "inventory": (False, "package @a\nx := data.inventory.b"),
    "inventory-brackets": (False, 'package @a\nx := data["inventory"]'),
    "body": (True, 'package @a\nd[m] { m := data~.lib.x[data~.y]; "data.lib" == data~["lib"].z } # data.lib'),
    "calls": (True, "package @a\nf(x) = data~.g(x) { data~.h(data~.i) } else = data~.j { true }"),
    "characters": (
        False,
        'package @a\nx if {\n\t"é\U0001f600" == "y"; data~.lib.z }\r\n# ü\nq := `data.lib`\nz := data~.lib.z',
    ),
    "templates": (False, 'package @a\nx := $"{data~.lib.x} data.lib.x {input.y}"'),
    "with": (False, "package @a\nx if data~.y with data~.z as 1 with input as data~.q"),
    "else-braces": (False, "package @a\nx if input.a else := 2 if { data~.lib.y }"),
    "names-alike": (True, "package @a\ndata_x = 1\nmy_data = 2\nx { input.data.y; data_x == my_data }"),
    "every": (False, "package @a\nx if { every k, v in data~.y { v == {z | some z in data~.q} } }"),
}


@pytest.mark.parametrize("name", MOVED)
def test_moved(opa_binary: Path, tmp_path: Path, name: str) -> None:
    old, marked = MOVED[name]
    text = marked.replace("@", "").replace("~", "")
    moved = relocate(text, parsed(opa_binary, tmp_path, text, old=old), MOVE)
    assert moved.text == marked.replace("@", f"{MOVE.package}.").replace("~", f".{MOVE.data}")
    assert parsed(opa_binary, tmp_path, moved.text, old=old)


ROOT = "portcullis_1f"
# `~` stands where the root is inserted, of which nothing is left out.
ROOTED: dict[str, str] = {
    "inventory": 'package ~a\np := [data~.inventory.b, data~["inventory"]]',
    "import of the root": "package ~a\nimport data~.portcullis\np := portcullis.x",
    "import of the inventory": "package ~a\nimport data~.inventory\np := inventory.x",
    "import with an alias": "package ~a\nimport data~.portcullis.lib.a as b\np := b.x",
    "package with a bracket": 'package ~portcullis["p"].a',
    "brackets with blanks": 'package ~a\np := data~[ "portcullis" ].x',
    "raw string": "package ~a\np := data~[`portcullis`].x",
    "by a variable": "package ~a\np contains x if data~[x].y\nq := data~[input.x]",
    "within": "package ~a\np := data~.x[data~.portcullis.a]",
    "head": "package ~a\np[data~.portcullis.a] := 1",
    "several rows": 'package ~a\np := [\n\n  data~.portcullis.a,\n  data~[\n"portcullis"].b,\n]',
}


@pytest.mark.parametrize("name", [*ROOTED, *(name for name, (old, _) in MOVED.items() if not old)])
def test_moved_below_a_root_the_tree_is_the_same_but_for_it(opa_binary: Path, tmp_path: Path, name: str) -> None:
    text = ROOTED[name].replace("~", "") if name in ROOTED else MOVED[name][1].replace("@", "").replace("~", "")
    tree = parsed(opa_binary, tmp_path, text, old=False)
    moved = relocate(text, tree, Move(ROOT, ROOT), kept=())
    if name in ROOTED:
        package, *rest = ROOTED[name].split("\n")
        assert moved.text == "\n".join(
            [package.replace("~", f"{ROOT}."), *(row.replace("~", f".{ROOT}") for row in rest)]
        )
    after = parsed(opa_binary, tmp_path, moved.text, old=False)
    assert tree_below(after, "") == tree_below(tree, ROOT)
    assert tree_below(after, "") != tree_below(tree, "")


IMMOVABLE: dict[str, tuple[bool, str, int, int]] = {
    "whole": (False, "package a\nx := data", 2, 6),
    "argument": (True, "package a\n\nf(data) = data.x { true }", 3, 3),
    "walked": (False, "package a\nx if walk(data, [p, v])", 2, 11),
    "assigned": (True, "package a\nx { data := 1 }", 2, 5),
    "else-without-braces": (False, "package a\nx if input.a else := 2 if data.lib.y", 2, 14),
}


@pytest.mark.parametrize("name", IMMOVABLE)
def test_what_cannot_be_moved_is_refused_with_its_place(opa_binary: Path, tmp_path: Path, name: str) -> None:
    old, text, row, column = IMMOVABLE[name]
    with pytest.raises(ImmovableError) as caught:
        relocate(text, parsed(opa_binary, tmp_path, text, old=old), MOVE)
    assert (caught.value.row, caught.value.column) == (row, column)


def test_columns_and_messages_are_told_as_they_were_written(opa_binary: Path, tmp_path: Path) -> None:
    text = "package a\nx := data.lib.y + data.lib.z"
    moved = relocate(text, parsed(opa_binary, tmp_path, text, old=False), MOVE)
    line = moved.text.split("\n")[1]
    assert [moved.column(2, column) for column in (1, 6, line.index("+") + 1, line.rindex("data") + 1)] == [
        1,
        6,
        17,
        19,
    ]
    assert moved.column(2, line.index("[") + 1) == 10
    assert moved.as_written('data.p.lib["K-1"].lib.y and data.p.lib.K-1.lib.z') == "data.lib.y and data.lib.z"


def test_a_tree_of_another_text_is_noticed(opa_binary: Path, tmp_path: Path) -> None:
    tree = parsed(opa_binary, tmp_path, "package a\nx := data.lib.y", old=False)
    with pytest.raises(ImmovableError, match="does not stand where OPA says"):
        relocate("package a\nx := input.lib.y", tree, MOVE)
