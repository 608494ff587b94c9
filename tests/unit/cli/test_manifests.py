"""Which objects come out of files, folders and standard input, in which order, and what is reported of the rest."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from portcullis.cli.manifests import BadManifest, Manifest, find_files, read_manifests
from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS, Limits

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}


def read(path: Path | str, *, stdin: bytes = b"", limits: Limits = DEFAULT_LIMITS) -> list[Manifest | BadManifest]:
    files = find_files([str(path)], limits)
    return list(read_manifests(files, standard_input=io.BytesIO(stdin), limits=limits))


def only_error(found: list[Manifest | BadManifest]) -> str:
    (bad,) = [one for one in found if isinstance(one, BadManifest)]
    return bad.error.message


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_folder_gives_its_manifests_sorted_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/c.json", "notes.txt", "a/run.sh"):
        write(tmp_path, name, json.dumps(POD))
    files = find_files([str(tmp_path)], DEFAULT_LIMITS)
    assert [str(Path(file).relative_to(tmp_path)) for file in files] == ["a/c.json", "a/z.yml", "b.yaml"]


def test_a_file_is_read_whatever_its_name_and_once_only(tmp_path: Path) -> None:
    path = write(tmp_path, "rendered.txt", json.dumps(POD))
    assert find_files([str(path), str(path)], DEFAULT_LIMITS) == (str(path),)


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        find_files([str(tmp_path / "none.yaml")], DEFAULT_LIMITS)


def test_more_files_than_the_limit_are_an_error(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, f"{number}.yaml", "")
    with pytest.raises(ConfigError, match=r"limits\.inputFiles"):
        find_files([str(tmp_path)], replace(DEFAULT_LIMITS, input_files=2))


def test_documents_are_counted_from_zero_and_empty_ones_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path, "deploy.yaml", "---\n# nothing\n---\napiVersion: v1\nkind: A\n---\napiVersion: v1\nkind: B\n"
    )
    found = [one for one in read(path) if isinstance(one, Manifest)]
    assert [(one.source, one.line, one.object["kind"]) for one in found] == [
        (f"{path}#0", 3, "A"),
        (f"{path}#1", 6, "B"),
    ]


def test_standard_input(tmp_path: Path) -> None:
    (found,) = read("-", stdin=b"apiVersion: v1\nkind: Pod\n")
    assert isinstance(found, Manifest)
    assert found.source == "-#0"


def test_lists_are_taken_apart_and_typed_ones_say_what_their_items_are(tmp_path: Path) -> None:
    mixed = {"apiVersion": "v1", "kind": "List", "items": [POD, {"apiVersion": "v1", "kind": "List", "items": [POD]}]}
    typed = {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"metadata": {"name": "d"}}]}
    path = write(tmp_path, "list.json", json.dumps(mixed) + json.dumps(typed))
    found = [one for one in read(path) if isinstance(one, Manifest)]
    assert [one.source.rpartition("/")[2] for one in found] == [
        "list.json#0.items[0]",
        "list.json#0.items[1].items[0]",
        "list.json#1.items[0]",
    ]
    assert (found[2].object["apiVersion"], found[2].object["kind"]) == ("apps/v1", "Deployment")


def test_json_inside_yaml_files_and_yaml_flow_style_are_both_read(tmp_path: Path) -> None:
    for content in (json.dumps(POD, indent=2), "{apiVersion: v1, kind: Pod}"):
        (found,) = read(write(tmp_path, "p.yaml", content))
        assert isinstance(found, Manifest)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.yaml", "- a\n- b\n", "not an object but a list"),
        ("a.yaml", "hello\n", "not an object but a string"),
        ("a.yaml", "5\n", "not an object but a number"),
        ("a.yaml", "metadata: {}\n", "without a 'kind'"),
        ("a.yaml", "kind: 5\napiVersion: v1\n", "without a 'kind'"),
        ("a.yaml", "kind: Pod\n", "Pod without an 'apiVersion'"),
        ("a.yaml", "a: [\n", "line 2"),
        ("a.json", '{"a": 1, "a": 2}', "the key 'a' is there twice"),
        ("a.json", '{"a": NaN}', "NaN is not JSON"),
        ("a.json", '{"a": 1e999}', "too large"),
        ("a.json", '{"a": 123456789012345678901234567890}', "64 bits"),
        ("a.json", '{"a": "\\ud800"}', "surrogate"),
        ("a.json", '{"\\ud800": 1}', "surrogate"),
        ("a.json", "[" * 100_000, "nested deeper"),
        ("a.json", "[" * 300 + "]" * 300, "nested deeper"),
        ("a.json", '{"a": ', "line 1, column 7: not JSON"),
        ("a.yaml", b"\xff\xfea\x00", "not UTF-8"),
        ("a.json", '{"a": 1' + "0" * 5000 + "}", "JSON"),
    ],
)
def test_what_is_no_object_is_reported_in_its_place(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    assert says in only_error(read(write(tmp_path, name, content)))


def test_a_bad_document_does_not_hide_the_good_ones_before_it(tmp_path: Path) -> None:
    found = read(write(tmp_path, "a.yaml", "apiVersion: v1\nkind: Pod\n---\na: 1\na: 2\n---\nkind: X\n"))
    assert [type(one) for one in found] == [Manifest, BadManifest]
    assert found[1].source.endswith("#1")


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (replace(DEFAULT_LIMITS, input_documents=2), "limits.inputDocuments"),
        (replace(DEFAULT_LIMITS, input_bytes=50), "limits.inputBytes"),
        (replace(DEFAULT_LIMITS, input_values=20), "limits.inputValues"),
        (replace(DEFAULT_LIMITS, review_depth=1), "limits.reviewDepth"),
    ],
)
@pytest.mark.parametrize("name", ["many.yaml", "many.json"])
def test_each_bound_says_which_it_is(tmp_path: Path, name: str, limits: Limits, says: str) -> None:
    separator = "\n---\n" if name.endswith("yaml") else "\n"
    document = json.dumps({**POD, "spec": {"containers": [1, 2, 3, 4, 5]}})
    path = write(tmp_path, name, separator.join([document] * 4))
    assert says in only_error(read(path, limits=limits))


def test_a_file_that_may_not_be_read_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, "gone.yaml", "")
    files = find_files([str(path)], DEFAULT_LIMITS)
    path.unlink()
    found = list(read_manifests(files, standard_input=io.BytesIO(), limits=DEFAULT_LIMITS))
    assert "cannot be read" in only_error(found)


def test_a_link_to_nothing_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    assert "No such file" in only_error(read(tmp_path))
