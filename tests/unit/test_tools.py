"""The programs that tests use: each is pinned once in install.py and once in its go.mod, and the two agree."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"tools_{name}", TOOLS / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


install = load("install")
PROGRAMS = {program.name: program for program in install.PROGRAMS}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_module_pins_the_same_version(name: str) -> None:
    program = PROGRAMS[name]
    text = (TOOLS / program.module / "go.mod").read_text()
    required = re.findall(r"^(?:require )?\t?(\S+) v(\S+)", text, re.MULTILINE)
    pinned = program.pins or program.package
    (version,) = [version for path, version in required if f"{pinned}/".startswith(f"{path}/")]
    assert version == program.version
    assert program.pins or f"{program.package}\n" in text, "go.mod does not name the program as a tool"
    assert (TOOLS / program.module / "go.sum").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_stamped_into_it_is_that_version(name: str) -> None:
    assert all(value.rpartition("=")[2].lstrip("v") == PROGRAMS[name].version for value in PROGRAMS[name].stamp)


def test_the_staging_modules_are_those_of_this_kubernetes() -> None:
    text = (TOOLS / "kubernetes" / "go.mod").read_text()
    replaced = re.findall(r"^\t(\S+) => (\S+) v0\.(\S+)$", text, re.MULTILINE)
    assert len(replaced) > 30
    assert all(old == new for old, new, _ in replaced)
    assert {f"1.{version}" for _, _, version in replaced} == {PROGRAMS["kubectl"].version}


def test_paths_are_printed_without_installing_anything(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / "install.py"), "--path"],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PORTCULLIS_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert len(done.stdout.strip().split(":")) == len(PROGRAMS)
    assert list(tmp_path.iterdir()) == []
