"""What inspect shows of the layers of an image."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from portcullis.cli.facts import facts_view, history_view
from portcullis.model.contents import Application, ContentsStatus, FindingClass, OperatingSystem
from portcullis.model.facts import ImageFacts
from portcullis.model.image import ImageUser, Platform, UserSource
from unit.cli.pictures import NOW, WRITTEN, contents, finding, looked_into, policy_input

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def lines(facts: ImageFacts, width: int = 120, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(facts_view(WRITTEN, policy_input(facts), NOW, **options))
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def text(facts: ImageFacts, width: int = 120, **options: Any) -> str:
    return " ".join(lines(facts, width, **options))


def test_the_system_the_files_and_the_application() -> None:
    shown = lines(looked_into(contents()))
    for line in (
        "system Debian GNU/Linux 13 (trixie); glibc; not distroless",
        "files 10,737, 306.1 MiB when merged",
        "application 61 files in /srv/app",
        "owned by 1 of root, 60 of the user; 5.1 MiB held twice to change owner or mode",
        "packages dpkg 2, python 1",
    ):
        assert line in shown


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (OperatingSystem(distroless=True), "no os-release; no C library; distroless"),
        (OperatingSystem("alpine", "3.23", libc="musl"), "alpine 3.23; musl; not distroless"),
        (OperatingSystem("x", libc="both"), "x; glibc and musl; not distroless"),
    ],
)
def test_systems(system: OperatingSystem, words: str) -> None:
    assert f"system {words}" in lines(looked_into(contents(os=system)))


def test_each_layer_with_its_sizes_and_the_instruction_that_made_it() -> None:
    shown = lines(looked_into(contents()))
    assert "Layer Digest Pulled Unpacked Files Made by" in shown
    assert "2 333333333333 311 B 412 B 1 COPY requirements.txt /srv/app/" in shown
    assert "3 444444444444 9.9 MiB 29.6 MiB 1,530 RUN pip install -r /srv/app/requirements.txt" in shown


def test_findings_by_class_with_path_kind_layer_and_instruction() -> None:
    shown = lines(looked_into(contents()))
    start = shown.index("secrets (3)")
    assert shown[start + 1].startswith("/srv/app/.env environment file 4 COPY --chown=1000:1000 . /srv/app")
    assert "/usr/bin/dash dash 0" in shown, "what made the layer is said once"
    assert "/usr/include (1,204 files) headers 1 RUN apt-get update" in text(looked_into(contents()))
    assert "(in the history) build argument NPM_TOKEN 3 RUN pip install" in text(looked_into(contents()))
    assert "/usr/bin/chfn setuid 4755 0:0 0" in text(looked_into(contents()))
    assert "/srv/app (60 files) writable 0755 1000:1000 4" in text(looked_into(contents()))


def test_what_was_deleted_later_says_so() -> None:
    found = {FindingClass.SECRETS: (finding("/root/id_rsa", "private key", 1, deleted=True),)}
    assert "/root/id_rsa (deleted later, still in the layer) private key 1" in text(
        looked_into(contents(findings=found)), 140
    )


def test_classes_without_findings_are_named_once() -> None:
    nothing = "None: writable by everybody, download tools, interpreters, caches, tests, application files of others."
    assert nothing in lines(looked_into(contents()))
    clean = contents(findings={}, libc_mismatches=(), application=Application())
    shown = text(looked_into(clean))
    for name in ("secrets", "setuid or capabilities", "shells", "built for another C library", "version control"):
        assert f"{name}," in shown
    assert "Found" not in shown
    assert "application none found" in shown


def test_every_list_of_findings_is_shown() -> None:
    """Also one that is added to the policy input later."""
    for name in FindingClass:
        one = contents(findings={name: (finding(f"/x/{name}", "thing"),)}, libc_mismatches=())
        assert f"/x/{name} thing" in text(looked_into(one))


def test_many_are_counted_or_all_shown() -> None:
    facts = looked_into(contents())
    assert "build tools (13)" in lines(facts)
    assert "… 3 more (--all)" in lines(facts)
    assert "/usr/bin/perl" not in text(facts)
    assert "/usr/bin/perl perl 1" in text(facts, every=True)
    assert "more (--all)" not in text(facts, every=True)


def test_packages_only_where_asked_for() -> None:
    facts = looked_into(contents())
    assert "libc6" not in text(facts)
    shown = lines(facts, packages=True)
    assert "libc6 2.41-12 amd64 dpkg 0" in shown
    assert "psycopg 3.3.1 python 3" in shown
    assert "packages none" in lines(looked_into(contents(packages=())), packages=True)
    assert "packages not known (see Problems)" in lines(looked_into(contents(packages=None)), packages=True)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (ContentsStatus.PENDING, "not known yet"),
        (ContentsStatus.UNAVAILABLE, "could not be looked into (see Problems)"),
        (ContentsStatus.SKIPPED, "were not looked into"),
    ],
)
def test_what_is_not_known_does_not_look_clean(status: ContentsStatus, words: str) -> None:
    shown = text(replace(looked_into(), contents_status=status))
    assert words in shown
    assert "None:" not in shown
    assert "Layer Digest Pulled Made by" in shown, "what the registry says of layers is known all the same"


@pytest.mark.parametrize(
    ("user", "name", "verdict"),
    [
        (ImageUser("app", 1000, 1000, "app", UserSource.PASSWD, False), "app (uid 1000, by /etc/passwd)", "not root"),
        (ImageUser("toor", 0, 0, "toor", UserSource.PASSWD, True), "toor (uid 0, by /etc/passwd)", "root"),
        (
            ImageUser("app", None, None, "app", UserSource.UNRESOLVED, None),
            "app",
            "may be root: /etc/passwd has no such name",
        ),
        (ImageUser("1000", 1000, 0, "", UserSource.NUMERIC, False), "1000", "not root"),
        (ImageUser("", 0, 0, "", UserSource.UNSET, True), "(no USER)", "root"),
    ],
)
def test_the_user_with_where_it_is_from(user: ImageUser, name: str, verdict: str) -> None:
    shown = lines(replace(looked_into(contents()), users=(user,)), 200)
    assert f"linux/amd64 sha256:666666666666… {name} 2026-11-12 114.7 MiB python -m web" in shown
    assert f"{verdict} 12 days ago 5 layers" in shown


def test_a_name_that_nobody_looked_up() -> None:
    user = ImageUser("app", None, None, "app", UserSource.UNRESOLVED, None)
    assert "not looked up" in text(replace(looked_into(), users=(user,)), 200)


def test_each_platform_has_its_own_section() -> None:
    facts = looked_into(contents(), contents(os=OperatingSystem("alpine", "3")), platforms=(AMD64, ARM64))
    shown = lines(facts)
    assert shown.index("Contents of linux/amd64") < shown.index("Contents of linux/arm64")
    assert "system alpine 3; no C library; not distroless" in shown


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_every_width_has_every_path_and_no_longer_line(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(facts_view(WRITTEN, policy_input(looked_into(contents())), NOW, every=True, packages=True))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    (header,) = [line for line in shown.splitlines() if line.startswith(" Found")]
    column = "".join(line[1 : header.index("What")].strip() for line in shown.splitlines())
    for path in ("/srv/app/config/deploy/production/id_ed25519", "/usr/bin/perl", "/srv/app/.git"):
        assert path in column, "a path is never cut"


def test_hostile_text_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\u202e[red]"
    found = {name: (finding(f"/{evil}", evil),) for name in FindingClass}
    package = replace(contents().packages[0], name=evil, version=evil, manager=evil)  # type: ignore[index]
    system = OperatingSystem(evil, evil, (), evil, False, evil)
    facts = looked_into(contents(findings=found, os=system, packages=(package,), application=Application((evil,), 1)))
    assert not set("\x1b\u202e") & set(text(facts, packages=True))


class TestDockerfile:
    def test_is_the_history(self) -> None:
        shown = str(history_view(policy_input(looked_into(contents()))))
        assert shown.splitlines()[1:4] == [
            "RUN apt-get update \\",
            "    && apt-get install -y --no-install-recommends gcc libpq-dev",
            "COPY requirements.txt /srv/app/",
        ]

    def test_is_shown_once_for_platforms_with_the_same(self) -> None:
        one = str(history_view(policy_input(looked_into(contents()))))
        two = looked_into(contents(), contents(), platforms=(AMD64, ARM64))
        assert str(history_view(policy_input(two))) == one

    def test_is_told_apart_where_it_differs(self) -> None:
        two = looked_into(contents(), contents(), platforms=(AMD64, ARM64))
        differing = replace(two, steps=(two.steps[0], ()))
        shown = str(history_view(policy_input(differing))).splitlines()
        assert shown[0] == "# linux/amd64"
        assert shown[-2:] == ["# linux/arm64", "# the image has no history"]
