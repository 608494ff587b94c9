"""Which packages a source may read, told from its text."""

import pytest

from portcullis.policy.testing.references import EVERYTHING, Graph, package_of, references_of


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("package a.b_c\n", ("a", "b_c")),
        ("# package wrong\n# METADATA\npackage portcullis.policies.x # why\n", ("portcullis", "policies", "x")),
        ('package k8s["a-b"].c\n', ("k8s", "a-b", "c")),
        ("x := 1\n", ()),
        ("", ()),
    ],
)
def test_package(text: str, package: tuple[str, ...]) -> None:
    assert package_of(text) == package


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("import data.a.b as c", {("a", "b")}),
        ("x if data.a.b[c] == 1", {("a", "b")}),
        ('x := "data.a" # data.b', set()),
        ("x := `data.a`", set()),
        ('x := "\\"data.a"', set()),
        ("x := input.data.a", set()),
        ("x := mydata.a", set()),
        ("x := data[y]", {EVERYTHING}),
        ("walk(data)", {EVERYTHING}),
        ('x := data["a"].b', {EVERYTHING}),
        ('x := $"{data.a.b}"', {("a", "b")}),
    ],
)
def test_references(text: str, references: set[tuple[str, ...]]) -> None:
    assert references_of(text) == references


def test_closure_follows_references_in_both_directions_of_a_path() -> None:
    graph = Graph(
        {
            ("p", "test"): [("p", "own", "deny")],  # into a package
            ("p", "own"): [("lib",)],  # to what holds packages
            ("lib", "a"): [("lib", "b", "f")],
            ("lib", "b"): [],
            ("other",): [("p", "own")],
            ("all",): [EVERYTHING],
        }
    )
    assert graph.closure([("p", "test")]) == {("p", "test"), ("p", "own"), ("lib", "a"), ("lib", "b")}
    assert graph.closure([("lib", "b")]) == {("lib", "b")}
    assert len(graph.closure([("all",)])) == 6
    assert graph.closure([("none",)]) == frozenset()


def test_similar_names_are_not_the_same() -> None:
    graph = Graph({("a",): [("ab",)], ("ab",): [], ("abc",): []})
    assert graph.closure([("a",)]) == {("a",), ("ab",)}
