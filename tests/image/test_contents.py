"""What is in the image, and what is not. The base is a stand-in (bases.py): what is said of files that are not ours
holds for distroless as far as both have the same packages."""

import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from image.container import Image
from image.support import BAIT, CONFIG, DATA, USER
from portcullis import __version__

SHELLS = {"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "tcsh", "toybox", "zsh"}
INSTALLERS = {"apk", "apt", "apt-get", "conda", "dnf", "dpkg", "easy_install", "pip", "pip3", "rpm", "uv", "yum"}
COMPILERS = {"as", "c++", "cc", "clang", "cpp", "g++", "gcc", "go", "ld", "make", "rustc", "tcc"}
FETCHERS = {"curl", "git", "nc", "ncat", "ssh", "wget"}
MODULES = {"ensurepip", "pip", "setuptools", "uv", "wheel", "hatchling"}

OURS = ("opt/", "usr/local/")
PROGRAMS = {"opt/portcullis/app/bin/portcullis", "usr/local/bin/opa"}
PYTHONS = {f"opt/portcullis/venv/bin/{name}" for name in ("python", "python3", "python3.11")}

UNCHECKED = (1).to_bytes(4, "little")
"""The flags of bytecode that is tied to its source by a hash, and believed without a look at it (PEP 552)."""


@cache
def entries(root: Path) -> dict[str, os.stat_result]:
    """Every file, folder and link, by its path below the root."""
    return {str(path.relative_to(root)): path.lstat() for path in _walk(root)}


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            yield Path(folder) / name


def executable(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


@pytest.fixture
def tree(image: Image) -> dict[str, os.stat_result]:
    found = entries(image.root)
    assert len(found) > 5000
    return found


def test_it_says_how_it_is_run(image: Image) -> None:
    python = ["/opt/portcullis/venv/bin/python", "-m", "portcullis"]
    config = image.config
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == python
    assert config["Cmd"] == ["serve"]
    assert config["Healthcheck"]["Test"] == ["CMD", *python, "health"]
    assert set(config["ExposedPorts"]) == {"8443/tcp", "8081/tcp"}
    assert config["WorkingDir"] == "/"
    assert not config["Volumes"]
    labels = {name.rpartition(".")[2] for name in config["Labels"] if name.startswith("org.opencontainers.image.")}
    assert labels == {"title", "description", "licenses", "source"}
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment.keys() == {
        *("LANG", "PATH", "PORTCULLIS_CONFIG", "SSL_CERT_FILE"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"),
    }
    assert environment["PORTCULLIS_CONFIG"] == CONFIG


def test_every_folder_of_the_path_is_there_or_roots(image: Image, tree: dict[str, os.stat_result]) -> None:
    (path,) = [entry.removeprefix("PATH=") for entry in image.config["Env"] if entry.startswith("PATH=")]
    for folder in path.split(":"):
        assert tree[folder.removeprefix("/")].st_uid == 0


def test_nothing_interprets_installs_compiles_or_fetches(tree: dict[str, os.stat_result]) -> None:
    unwanted = SHELLS | INSTALLERS | COMPILERS | FETCHERS
    runnable = [path for path, status in tree.items() if executable(status) or stat.S_ISLNK(status.st_mode)]
    assert [path for path in runnable if Path(path).name in unwanted] == []


def test_no_package_can_install_another(tree: dict[str, os.stat_result]) -> None:
    names = {Path(path).name.partition("-")[0] for path in tree if "/site-packages/" in path or "/python3.11/" in path}
    assert names & MODULES == set()
    assert {"cryptography", "uvloop", "ssl.py"} <= names, "this looked at the wrong place"


def test_of_ours_only_two_programs_and_libraries_can_be_executed(tree: dict[str, os.stat_result]) -> None:
    ours = {path for path, status in tree.items() if path.startswith(OURS) and executable(status)}
    assert {path for path in ours if ".so" not in Path(path).name} == PROGRAMS
    assert {path for path in tree if path.startswith("opt/portcullis/venv/bin/")} == PYTHONS


def test_nothing_lends_the_rights_of_its_owner(tree: dict[str, os.stat_result]) -> None:
    files = {path: status.st_mode for path, status in tree.items() if stat.S_ISREG(status.st_mode)}
    assert [path for path, mode in files.items() if mode & (stat.S_ISUID | stat.S_ISGID)] == []


def test_what_the_user_can_write_to(tree: dict[str, os.stat_result]) -> None:
    """Code and policies are not in it, even where the root is not read-only."""
    links = {path for path, status in tree.items() if stat.S_ISLNK(status.st_mode)}
    owned = {path for path, status in tree.items() if USER in (status.st_uid, status.st_gid)}
    assert owned == {DATA[1:], "home/nonroot"}
    for path in tree.keys() - links:
        mode = tree[path].st_mode
        assert not mode & stat.S_IWOTH or mode & stat.S_ISVTX, path
    assert stat.S_IMODE(tree[DATA[1:]].st_mode) == 0o700
    assert {(status.st_uid, status.st_gid) for path, status in tree.items() if path.startswith(OURS)} == {(0, 0)}


def test_nothing_of_the_build_is_left(image: Image, tree: dict[str, os.stat_result]) -> None:
    outer = {path for path in tree if path.startswith("opt/portcullis/") and path.count("/") < 4}
    assert {path.removeprefix("opt/portcullis/") for path in outer if path.count("/") < 3} == {"app", "venv"}
    assert {path.rpartition("/")[2] for path in outer if path.count("/") == 3} == {
        *("bin", "portcullis", f"portcullis-{__version__}.dist-info"),
        *("lib", "lib64", "pyvenv.cfg"),
    }
    names = {Path(path).name for path in tree}
    assert names & {".git", ".cache", ".lock", "uv.lock", "uv_cache.json", "Dockerfile", "conftest.py"} == set()
    assert names & {Path(bait).name for bait in BAIT} == set()
    assert not {"build", "data"} & {path.split("/")[0] for path in tree}


def test_the_program_is_all_of_the_source(image: Image, context: Path) -> None:
    package = image.root / "opt/portcullis/app/portcullis"
    expected = {*files(context / "webhook/portcullis"), *(f"_policies/{name}" for name in files(context / "policies"))}
    expected.add("_reasons.md")
    assert set(files(package)) == expected
    assert {"py.typed", "_policies/image-user/policy.rego"} <= expected


def files(folder: Path) -> Iterator[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return (str(path.relative_to(folder)) for path in found)


def test_all_code_is_compiled_and_believed(image: Image, tree: dict[str, os.stat_result]) -> None:
    sources = [path for path in tree if path.startswith("opt/") and path.endswith(".py")]
    assert len(sources) > 2000
    for path in sources:
        source = Path(path)
        compiled = image.root / source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        with compiled.open("rb") as stream:
            assert stream.read(8)[4:] == UNCHECKED, path
