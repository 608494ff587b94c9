"""The format of fixtures: strict, bounded, every fault with its line."""

from dataclasses import replace
from pathlib import Path

import pytest

from portcullis.cli.testing.fixtures import BadFixture, Fixture, find_fixtures, read_fixtures
from portcullis.limits import DEFAULT_LIMITS

GOOD = """\
apiVersion: portcullis.dev/v1
kind: PolicyFixture
name: root is refused
manifest: deploy.yaml
facts:
  - facts/web.json
  - {path: facts/api.json, image: registry.example/acme/api:1}
namespace: {name: shop, labels: {team: payments}}
time: 2026-11-24T12:00:00Z
policies: [image-user]
modes: {image-user: warn}
parameters: {image-user: {acceptRunAsNonRoot: true}}
expect:
  verdict: admitted
  code: 200
  violations:
    - {policy: image-user, container: web, mode: warn, count: 1, msg: {matches: "^runs as root"}}
  undecided: []
"""


def read(tmp_path: Path, text: str) -> list[Fixture | BadFixture]:
    path = tmp_path / "fixture.yaml"
    path.write_text(text)
    return list(read_fixtures(path, DEFAULT_LIMITS))


def test_a_whole_fixture(tmp_path: Path) -> None:
    (fixture,) = read(tmp_path, GOOD)
    assert isinstance(fixture, Fixture)
    assert fixture.model.name == "root is refused"
    assert fixture.model.expect.violations is not None
    assert fixture.model.expect.violations[0].count == 1
    assert fixture.model.namespace.labels == {"team": "payments"}


def test_several_in_one_file_have_their_lines(tmp_path: Path) -> None:
    other = "apiVersion: v1\nkind: ConfigMap\n"
    found = read(tmp_path, f"{GOOD}---\n{other}---\n{GOOD.replace('verdict: admitted', 'verdict: maybe')}")
    first, second = found
    assert isinstance(first, Fixture)
    assert first.line == 1
    assert isinstance(second, BadFixture)
    start = len(GOOD.splitlines()) + len(other.splitlines()) + 2
    assert second.line == start + 14


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("policies:", "polices:", 10, "polices: there is no such key; did you mean policies?"),
        ("{policy: image-user, container", "{polcy: image-user, container", 17, "did you mean policy?"),
        ("verdict: admitted", "verdict: allowed", 14, "'admitted', 'refused' or 'undecided' is expected"),
        ("count: 1", "count: -1", 17, "greater than or equal to 0"),
        ("count: 1", "count: one", 17, "integer is expected"),
        ('matches: "^runs', 'matches: "(', 17, "no regular expression"),
        ("manifest: deploy.yaml\n", "", 1, "either manifest or decision"),
        ("manifest: deploy.yaml", "manifest: deploy.yaml\ndecision: d.json", 1, "either manifest or decision"),
        ("name: root is refused\n", "", 1, "name: is required"),
        ("code: 200", "verdict: refused", 15, "is there twice"),
        ("code: 200", "code: [", 17, "did not find expected node content"),
        ("code: 200", "code: !!binary aaaa", 15, "has no place here"),
        ("portcullis.dev/v1", "portcullis.dev/v2", 1, "'portcullis.dev/v1' is expected"),
    ],
)
def test_each_fault_has_its_line(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in GOOD
    (fixture,) = read(tmp_path, GOOD.replace(old, new, 1))
    assert isinstance(fixture, BadFixture)
    assert fixture.line == line, fixture.message
    assert says in fixture.message


def test_a_fixture_that_expects_nothing_is_none(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("expect:")] + "expect: {}\n"
    (fixture,) = read(tmp_path, text)
    assert isinstance(fixture, BadFixture)
    assert "says nothing" in fixture.message
    assert fixture.line == 13


@pytest.mark.parametrize(
    "text", ["", "a: 1\n", "kind: ConfigMap\n# kind: PolicyFixture\n", "{{ template }}\n", "- a\n"]
)
def test_other_files_are_passed_over(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == []


def test_a_large_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "fixture.yaml"
    with path.open("wb") as stream:
        stream.write(GOOD.encode())
        stream.truncate(100 * 1024 * 1024)
    (fixture,) = read_fixtures(path, DEFAULT_LIMITS)
    assert isinstance(fixture, BadFixture)
    assert "limits.fixtureBytes" in fixture.message


@pytest.mark.parametrize(
    ("depth", "says"), [(200, "nested deeper than 100"), (100_000, "exceeded maximum nesting depth")]
)
def test_deep_files_are_refused(tmp_path: Path, depth: int, says: str) -> None:
    (fixture,) = read(tmp_path, f"{GOOD}exceptions: {'[' * depth}{']' * depth}\n")
    assert isinstance(fixture, BadFixture)
    assert says in fixture.message


def test_files_that_are_no_text_have_their_line(tmp_path: Path) -> None:
    path = tmp_path / "fixture.yaml"
    path.write_bytes(GOOD.encode() + b"# \xff\n")
    (fixture,) = read_fixtures(path, DEFAULT_LIMITS)
    assert isinstance(fixture, BadFixture)
    assert (fixture.line, fixture.message) == (len(GOOD.splitlines()) + 1, "not UTF-8")


def test_fixtures_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("---\n".join([GOOD] * 3))
    found = list(find_fixtures([tmp_path, tmp_path / "a.yaml"], replace(DEFAULT_LIMITS, fixtures=2)))
    assert [type(one) for one in found] == [Fixture, Fixture, BadFixture]
    assert len(list(find_fixtures([tmp_path, tmp_path / "a.yaml"], DEFAULT_LIMITS))) == 3
