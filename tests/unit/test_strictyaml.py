"""YAML as kubectl reads it, what is refused of it, and what the configuration has otherwise."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from portcullis.strictyaml import Lines, Location, Rules, StrictYamlError, load_documents


def load(text: str, *, max_values: int = 1000, max_depth: int = 20) -> list[object]:
    return [document.value for document in load_documents(text, Rules(max_values, max_depth, as_kubectl=True))]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: 0644", {"a": 420}),
        ("a: 1_000", {"a": 1000}),
        ("a: 1.5", {"a": 1.5}),
        ("a: yes", {"a": True}),
        ("a: 'yes'", {"a": "yes"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 2026-01-02", {"a": "2026-01-02"}),
        ("a: 22:30", {"a": "22:30"}),
        ("a: 8080:59", {"a": "8080:59"}),
        ("a: '1'", {"a": "1"}),
        ("a: ! 12", {"a": "12"}),
        ("a: !!str 12", {"a": "12"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("1: x", {"1": "x"}),
        ("true: x", {"true": "x"}),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
        ("a: &x {k: 1}\nb: *x", {"a": {"k": 1}, "b": {"k": 1}}),
        ("a: &x 5\nb: *x", {"a": 5, "b": 5}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
        ("b: {l: 3, <<: [{k: 1, l: 2}, {k: 9}]}", {"b": {"l": 3, "k": 1}}),
        ("'<<': {k: 1}", {"<<": {"k": 1}}),
        ("\ufeffa: b", {"a": "b"}),
    ],
)
def test_values_are_those_of_kubernetes(text: str, value: object) -> None:
    assert load(text) == [value]


def test_documents_come_with_their_lines() -> None:
    documents = list(load_documents("a: 1\n---\n---\n- x\n", Rules(10, 5)))
    assert [(document.line, document.value) for document in documents] == [(1, {"a": 1}), (2, None), (3, ["x"])]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is there twice"),
        ("1: x\n'1': y", "the key '1' is there twice"),
        ("a: .inf", "no number that JSON knows"),
        ("a: .nan", "no number that JSON knows"),
        ("a: 1" + "0" * 30, "no 64-bit number"),
        ("a: 1" + "0" * 5000, "is no int"),
        ("a: !!int abc", "is no int"),
        ("a: !!binary aGk=", "has no place here"),
        ("a: !!python/object/apply:os.system [ls]", "has no place here"),
        ("a: !!set {x}", "has no place here"),
        ("x: {{ .Values.x }}", "a template that was not rendered"),
        ("a: *missing", "before its anchor"),
        ("a: &x [*x]", "inside or before its anchor"),
        ("a: &k b\n*k : c", "an alias cannot be a key"),
        ("<<: 5", "takes a map"),
        ("a: [1", "line 2"),
        ("a: \0", "not YAML"),
        ('a: "\\ud800"', "invalid Unicode"),
        ("[" * 25 + "]" * 25, "nested deeper than 20"),
        ("[" * 10_000, "nest"),
        ("- " * 10_000, "nest"),
    ],
)
def test_what_is_ambiguous_or_no_json_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(StrictYamlError, match=r".") as caught:
        load(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 500


def test_aliases_count_with_all_they_stand_for() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(StrictYamlError, match="more than 100000 values"):
        load("\n".join(layers), max_values=100_000)


def test_merged_maps_count_too() -> None:
    base = ", ".join(f"k{n}: v" for n in range(100))
    text = f"a: &a {{{base}}}\n" + "\n".join(f"m{n}: {{<<: *a}}" for n in range(100))
    with pytest.raises(StrictYamlError, match="more than 5000 values"):
        load(text, max_values=5000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes: 1", {"yes": 1}),
        ("0x10: 1", {"0x10": 1}),
        ("~: {22:30: x}", {"~": {"22:30": "x"}}),
        ("'<<': {k: 1}", {"<<": {"k": 1}}),
    ],
)
def test_keys_of_the_configuration_are_as_written(text: str, value: object) -> None:
    assert [document.value for document in load_documents(text, Rules(10, 5))] == [value]


def test_the_configuration_has_no_merges() -> None:
    with pytest.raises(StrictYamlError, match=r"line 2, column 5: '<<' is not supported"):
        list(load_documents("a: &a {}\nb: {<<: *a}", Rules(10, 5)))


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ((), 2),
        (("a",), 2),
        (("a", "k"), 3),
        (("b",), 4),
        (("b", 0), 5),
        (("b", 1), 6),
        (("b", 1, "c"), 6),
        (("b", 2), 2),
        (("b", 2, "k"), 3),
        (("b", 3), None),
        (("b", "c"), None),
        (("a", "k", "l"), None),
        (("d",), None),
    ],
)
def test_lines_are_those_of_keys_and_items(location: Location, line: int | None) -> None:
    lines = Lines("# words\na: &a\n  k: 1\nb:\n- x\n- c: 2\n- *a\n")
    assert lines.get(location) == line


def test_lines_are_of_one_document() -> None:
    assert Lines("").get(()) is None
    with pytest.raises(StrictYamlError, match="line 2"):
        Lines("a: 1\n---\nb: 2\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text("abc", min_size=1), children, max_size=4),
    max_leaves=20,
)


@given(value=json_values)
def test_what_yaml_writers_write_reads_back(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert load(text, max_values=10_000, max_depth=100) == [value]


@given(value=json_values)
def test_json_is_yaml(value: object) -> None:
    assert load(json.dumps(value, indent=1, ensure_ascii=False), max_values=10_000, max_depth=100) == [value]


@given(text=st.text(st.sampled_from("ab01:-[]{}&*!<>|'\"?,#% \n\t\\"), max_size=60))
def test_any_text_gives_json_trees_or_an_error(text: str) -> None:
    try:
        values = load(text)
    except StrictYamlError:
        return
    json.dumps(values, allow_nan=False)
