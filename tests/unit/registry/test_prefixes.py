"""Whole labels, whole segments, the longest first."""

import pytest

from portcullis.model.image import Repository
from portcullis.registry.prefixes import Prefix, longest


@pytest.mark.parametrize(
    ("prefix", "repository", "covers"),
    [
        ("registry.example", "registry.example/web", True),
        ("Registry.Example/", "registry.example/acme/web", True),
        ("registry.example/acme", "registry.example/acme", True),
        ("registry.example/acme", "registry.example/acme/web", True),
        ("registry.example/acme/", "registry.example/acme/web", True),
        ("registry.example/acme", "registry.example/acmeevil/web", False),
        ("registry.example/acme", "registry.example/evil/acme", False),
        ("registry.example/acme/web", "registry.example/acme", False),
        ("registry.example", "registry.example:5000/web", False),
        ("registry.example:5000", "registry.example/web", False),
        ("registry.example", "registry.example.attacker/web", False),
        ("registry.example", "x.registry.example/web", False),
        ("index.docker.io", "docker.io/library/nginx", True),
        ("docker.io/acme", "docker.io/library/nginx", False),
        ("[::1]:5000/acme", "[::1]:5000/acme/web", True),
        ("*.example", "registry.example/web", True),
        ("*.example", "a.registry.example/web", False),
        ("*.example", "example/web", False),
        ("*.example", "registry.example.attacker/web", False),
        ("registry.*", "registry.example/web", True),
        ("reg*.exampl?/acme", "registry.example/acme/web", True),
        ("*.example:5000", "registry.example/web", False),
        ("[r]egistry.*", "registry.example/web", False),
    ],
)
def test_what_a_prefix_covers(prefix: str, repository: str, covers: bool) -> None:
    host, _, path = repository.partition("/")
    assert Prefix.of(prefix).covers(Repository(host, path)) is covers


@pytest.mark.parametrize(
    ("prefixes", "wanted"),
    [
        (("r.example", "r.example/a", "r.example/a/b"), "r.example/a/b"),
        (("r.example/a/b", "r.example", "r.example/a"), "r.example/a/b"),
        (("r.example/x", "r.example"), "r.example"),
        (("*.example", "r.example"), "r.example"),
        (("*.example/a", "r.example"), "*.example/a"),
        (("*.*", "*.example"), "*.example"),
        (("r.example/x", "other.example"), None),
        ((), None),
    ],
)
def test_the_longest_wins(prefixes: tuple[str, ...], wanted: str | None) -> None:
    items = [(Prefix.of(text), text) for text in prefixes]
    assert longest(items, Repository("r.example", "a/b/c")) == wanted


def test_of_two_equals_the_first_wins() -> None:
    items = [(Prefix.of("r.example/a"), "first"), (Prefix.of("R.example/a/"), "second")]
    assert longest(items, Repository("r.example", "a/b")) == "first"
