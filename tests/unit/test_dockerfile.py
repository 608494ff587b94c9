"""What the Dockerfile says, without building it: that is tests/image."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from portcullis.cli.health import ANSWER_SECONDS
from portcullis.server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tests" / "tools"
MACHINES = {"AMD64": "x86_64", "ARM64": "aarch64"}
CONFIG = "/etc/portcullis/portcullis.yaml"
RUNTIME_USER = "65532"


@dataclass(frozen=True, slots=True)
class Instruction:
    stage: int
    name: str
    flags: tuple[str, ...]
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def read() -> Iterator[Instruction]:
    """Stage 0 is what stands before the first FROM."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    stage = 0
    for whole in re.split(r"(?<!\\)\n", "\n".join(lines)):
        if not (line := whole.replace("\\\n", " ").strip()):
            continue
        name, _, text = line.partition(" ")
        stage += name == "FROM"
        flags = []
        while found := re.match(r"\s*(--\S+)\s+", text):
            flags.append(found[1])
            text = text[found.end() :]
        yield Instruction(stage, name, tuple(flags), text.strip())


INSTRUCTIONS = list(read())
LAST = INSTRUCTIONS[-1].stage


def of(name: str, stage: int | None = None) -> list[Instruction]:
    return [one for one in INSTRUCTIONS if one.name == name and stage in (None, one.stage)]


def only(name: str) -> Instruction:
    """The one such instruction of the image itself."""
    (found,) = of(name, LAST)
    return found


def arguments(stage: int | None = None) -> dict[str, str]:
    return {name: value for one in of("ARG", stage) for name, has, value in [one.text.partition("=")] if has}


def sources() -> list[tuple[Instruction, str]]:
    """What is copied from the checkout."""
    copies = [one for one in of("COPY") if not any(flag.startswith("--from=") for flag in one.flags)]
    return [(copy, source) for copy in copies for source in copy.words[:-1]]


def test_every_base_is_pinned_by_tag_and_digest() -> None:
    bases = arguments(0)
    assert {one.words[0] for one in of("FROM")} == {f"${{{name}}}" for name in bases}
    for base in bases.values():
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+/[a-z0-9/-]+:[a-z0-9-]+@sha256:[0-9a-f]{64}", base), base


@pytest.mark.parametrize("architecture", MACHINES)
def test_opa_is_the_one_that_the_tests_use(architecture: str) -> None:
    (opa,) = [one for one in runpy.run_path(str(TOOLS / "install.py"))["PROGRAMS"] if one.name == "opa"]
    address, sha256 = opa.releases[MACHINES[architecture]]
    pins = arguments()
    assert pins["OPA_URL"].replace("${TARGETARCH}", architecture.lower()) == address
    assert pins[f"OPA_SHA256_{architecture}"] == sha256
    (check,) = of("RUN", 1)
    assert "sha256sum --check --strict" in check.text
    assert f'{architecture.lower()}) pin="${{OPA_SHA256_{architecture}}}"' in check.text


def test_uv_is_the_one_that_the_tests_use() -> None:
    assert any("tests/tools/uv.py" in run.text for run in of("RUN"))
    wheels = re.findall(r'"(\w+)": "[0-9a-f]{64}"', (TOOLS / "uv.py").read_text())
    assert set(wheels) == set(MACHINES.values())
    assert not [run for run in of("RUN") if re.search(r"(?<!uv )\bpip3?\b|\bcurl\b|\bwget\b", run.text)]


def test_packages_are_installed_before_the_code_is_there() -> None:
    (sync,) = [position for position, one in enumerate(INSTRUCTIONS) if "uv sync" in one.text]
    assert {"--locked", "--no-dev", "--no-install-project", "--no-build"} <= set(INSTRUCTIONS[sync].words)
    before = {source for copy, source in sources() if INSTRUCTIONS.index(copy) < sync}
    assert before == {"pyproject.toml", "uv.lock", "tests/tools/install.py", "tests/tools/uv.py"}
    assert INSTRUCTIONS[-1].text == "/opt/portcullis/app /opt/portcullis/app", "what changes most does not come last"


def test_the_code_is_roots_and_the_data_the_users() -> None:
    owners = {copy.words[-1]: flag for copy in of("COPY", LAST) for flag in copy.flags if flag.startswith("--chown=")}
    assert len(owners) == len(of("COPY", LAST))
    assert owners.pop("/var/lib/") == f"--chown={RUNTIME_USER}:{RUNTIME_USER}"
    assert set(owners.values()) == {"--chown=0:0"}


def test_it_runs_as_a_number_and_without_a_shell() -> None:
    assert only("USER").text == f"{RUNTIME_USER}:{RUNTIME_USER}"
    assert not of("RUN", LAST)
    entrypoint = json.loads(only("ENTRYPOINT").text)
    assert entrypoint == ["/opt/portcullis/venv/bin/python", "-m", "portcullis"]
    assert json.loads(only("CMD").text) == ["serve"]
    assert json.loads(only("HEALTHCHECK").text.removeprefix("CMD ")) == [*entrypoint, "health"]
    assert f"PORTCULLIS_CONFIG={CONFIG}" in only("ENV").words


def test_the_health_check_is_not_ended_before_it_has_said_why() -> None:
    (seconds,) = [flag for flag in only("HEALTHCHECK").flags if flag.startswith("--timeout=")]
    assert float(seconds.removeprefix("--timeout=").removesuffix("s")) > ANSWER_SECONDS


def test_it_shows_the_ports_of_the_defaults() -> None:
    server = Settings().server
    assert only("EXPOSE").words == [str(server.port), str(server.health_port)]


def test_labels_say_what_the_package_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(word.split("=", 1) for word in only("LABEL").words)
    assert labels["org.opencontainers.image.title"].lower() == project["name"]
    assert labels["org.opencontainers.image.description"] == project["description"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert f"  - {labels['org.opencontainers.image.source']}\n" in (ROOT / "charts/portcullis/Chart.yaml").read_text()


def ignored(path: str) -> bool:
    """As .dockerignore has it: the last line that matches the path, or a folder that it is in, counts."""
    places = [PurePosixPath(path), *PurePosixPath(path).parents][:-1]
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(expression, str(place)) for place in places):
            verdict = not line.startswith("!")
    return verdict


def test_what_is_copied_is_there_and_let_in() -> None:
    copied = {source for _, source in sources()}
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == copied
    assert not ignored("webhook/portcullis/gate.py")


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        ".env",
        "ca.key",
        "audit.db",
        "docs/operators.md",
        "tests/unit/test_gate.py",
        "tests/tools/opa/go.mod",
        "webhook/portcullis/__pycache__/gate.cpython-311.pyc",
    ],
)
def test_nothing_else_is_let_in(path: str) -> None:
    assert ignored(path)


def test_hadolint_has_nothing_to_say() -> None:
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    hadolint = shutil.which("hadolint", path=os.pathsep.join(folders))
    assert hadolint, "hadolint is not in the environment: run the tests through `make test`"
    done = subprocess.run([hadolint, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
