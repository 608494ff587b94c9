"""The history of images, as each builder in use writes it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fakes.layerfacts import EMPTY_CONFIG
from portcullis.inspection.history import INSTRUCTIONS, build_steps, dockerfile
from portcullis.model.image import BuildStep, HistoryEntry, ImageConfig

HASH = "5d5c1f0a" * 8

# Whatever a line is, as (instruction, arguments).
LINES = {
    # Docker's classic builder
    '/bin/sh -c #(nop)  CMD ["bash"]': ("CMD", '["bash"]'),
    f"/bin/sh -c #(nop) ADD file:{HASH} in / ": ("ADD", f"file:{HASH} in /"),
    f"/bin/sh -c #(nop) COPY --chown=1:1 dir:{HASH} in /app ": ("COPY", f"--chown=1:1 dir:{HASH} in /app"),
    "/bin/sh -c #(nop)  ENV PATH=/opt/bin": ("ENV", "PATH=/opt/bin"),
    "/bin/sh -c #(nop) ": ("", ""),
    "/bin/sh -c #(nop) no instruction": ("", ""),
    "/bin/sh -c apt-get update && make": ("RUN", "apt-get update && make"),
    '/bin/sh -c echo "#(nop) USER 1"': ("RUN", 'echo "#(nop) USER 1"'),
    "/bin/bash -o pipefail -c make | tee log": ("RUN", "make | tee log"),
    "/bin/bash -euxo pipefail -c make": ("RUN", "make"),
    "/bin/bash --login -ec make": ("RUN", "make"),
    "bash -c make -c all": ("RUN", "make -c all"),
    "/usr/bin/zsh -c make": ("RUN", "make"),
    "|2 A=1 B=2 /bin/sh -c make": ("RUN", "make"),
    "|2 A=a b c B= /bin/sh -c make": ("RUN", "make"),
    "|1 SHELL=/bin/sh /bin/bash -c make": ("RUN", "make"),
    '/bin/bash -c #(nop)  ENTRYPOINT ["/web"]': ("ENTRYPOINT", '["/web"]'),
    "cmd /S /C #(nop)  USER app": ("USER", "app"),
    "cmd /S /C echo hello": ("RUN", "echo hello"),
    "powershell -Command Get-Item x": ("RUN", "Get-Item x"),
    # BuildKit
    "RUN /bin/sh -c apt-get update # buildkit": ("RUN", "apt-get update"),
    "RUN |1 A=b /bin/sh -c make # buildkit": ("RUN", "make"),
    "RUN |2 A=b B=c d /bin/bash -o pipefail -c make # buildkit": ("RUN", "make"),
    "RUN /bin/sh -c set -e\napt-get update\n # buildkit": ("RUN", "set -e\napt-get update"),
    "RUN pip install flask # buildkit": ("RUN", "pip install flask"),
    "RUN |1 A=b pip install flask # buildkit": ("RUN", "pip install flask"),
    "RUN |3 A=b # buildkit": ("RUN", ""),
    "COPY --chown=app:app src /app # buildkit": ("COPY", "--chown=app:app src /app"),
    "WORKDIR /app": ("WORKDIR", "/app"),
    "ENV GREETING=# buildkit or not": ("ENV", "GREETING=# buildkit or not"),
    "EXPOSE map[8080/tcp:{}]": ("EXPOSE", "map[8080/tcp:{}]"),
    'CMD ["python3"]': ("CMD", '["python3"]'),
    "ADD https://get.example/x /x # buildkit": ("ADD", "https://get.example/x /x"),
    # Buildah
    "/bin/sh -c --mount=type=cache,target=/root/.cache pip install .": (
        "RUN",
        "--mount=type=cache,target=/root/.cache pip install .",
    ),
    "/bin/sh -c #(nop) user 1001": ("USER", "1001"),
    "FROM docker.io/library/debian:12": ("FROM", "docker.io/library/debian:12"),
    "/bin/sh": ("", ""),
    # Kaniko
    "RUN apt-get update && make": ("RUN", "apt-get update && make"),
    "COPY . .": ("COPY", ". ."),
    # Without a Dockerfile
    "": ("", ""),
    "   ": ("", ""),
    "ko build ko://example.com/cmd/web": ("", ""),
    "jib-maven-plugin:3.4.0": ("", ""),
    "bazel build ...": ("", ""),
    "Buildpacks Launcher Config": ("", ""),
    "# debian.sh --arch 'amd64' out/ 'bookworm'": ("", ""),
    "copy that": ("", ""),
    "RUNNING": ("", ""),
    "|": ("", ""),
    "|1 A=b": ("", ""),
    "|99999 A=b /bin/sh -c make": ("", ""),
}


def config(history: Sequence[HistoryEntry]) -> ImageConfig:
    return replace(EMPTY_CONFIG, history=tuple(history))


def step(line: str) -> BuildStep:
    (only,) = build_steps(config([HistoryEntry(line, empty_layer=False)]), 1)
    return only


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read_as_its_instruction(line: str) -> None:
    instruction, arguments = LINES[line]
    assert step(line) == BuildStep(line, False, instruction, arguments, layer_index=0)


@pytest.mark.parametrize("instruction", sorted(INSTRUCTIONS))
def test_every_instruction_is_known_in_both_forms(instruction: str) -> None:
    assert step(f"{instruction} x").instruction == instruction
    assert step(f"/bin/sh -c #(nop)  {instruction} x").instruction == instruction


HISTORY = [
    HistoryEntry("/bin/sh -c #(nop) ADD file:x in / ", empty_layer=False),
    HistoryEntry('/bin/sh -c #(nop)  CMD ["bash"]', empty_layer=True),
    HistoryEntry("RUN /bin/sh -c make # buildkit", empty_layer=False),
    HistoryEntry("", empty_layer=False),
]


def test_layers_are_counted_where_history_and_layers_fit() -> None:
    assert [one.layer_index for one in build_steps(config(HISTORY), 3)] == [0, None, 1, 2]


@pytest.mark.parametrize("layers", [0, 2, 4])
def test_no_line_belongs_to_a_layer_where_they_do_not_fit(layers: int) -> None:
    steps = build_steps(config(HISTORY), layers)
    assert [one.layer_index for one in steps] == [None] * 4
    assert [one.instruction for one in steps] == ["ADD", "CMD", "RUN", ""]


def test_no_history() -> None:
    assert build_steps(config([]), 0) == ()
    assert build_steps(config([]), 2) == ()
    assert dockerfile(()) == ""


SHOWN = {
    "RUN /bin/sh -c apt-get update &&     apt-get install --yes git && rm -rf /var/lib/apt/lists/* # buildkit": (
        "RUN apt-get update \\\n    && apt-get install --yes git \\\n    && rm -rf /var/lib/apt/lists/*\n"
    ),
    "/bin/sh -c set -eux; \t\tapt-get update; \t\tmake\tall": (
        "RUN set -eux; \\\n    apt-get update; \\\n    make \\\n    all\n"
    ),
    "RUN /bin/sh -c set -e\nmake # buildkit": "RUN set -e \\\n    make\n",
    "|1 TOKEN=s3cret /bin/sh -c make a&&b": "RUN make a&&b\n",
    f"/bin/sh -c #(nop) COPY file:{HASH} in /app ": "COPY file:5d5c1f0a5d5c /app\n",
    "EXPOSE map[8080/tcp:{} 53/udp:{}]": "EXPOSE 8080/tcp 53/udp\n",
    "LABEL a=map[b:{}]": "LABEL a=map[b:{}]\n",
    "RUN": "RUN\n",
    "ko build": "# ko build\n",
    "# debian.sh": "# debian.sh\n",
    "": "# a layer of which the builder says nothing\n",
    "RUN echo \x1b[31mred\u202e": "RUN echo \ufffd[31mred\ufffd\n",
    "evil\nUSER 1001": "# evil USER 1001\n",
    "USER app\nRUN make": "USER app RUN make\n",
}


@pytest.mark.parametrize("line", SHOWN)
def test_a_step_reads_like_a_dockerfile(line: str) -> None:
    assert dockerfile([step(line)]) == SHOWN[line]


def test_steps_stand_in_their_order() -> None:
    assert dockerfile(build_steps(config(HISTORY), 3)) == (
        'ADD file:x in /\nCMD ["bash"]\nRUN make\n# a layer of which the builder says nothing\n'
    )
    assert dockerfile([BuildStep("", empty_layer=True)]) == "# a step of which the builder says nothing\n"


def test_what_is_too_much_to_show_is_counted() -> None:
    assert dockerfile([step(f"ENV A={'x' * 1000}")]).endswith("x… (1,002 characters)\n")
    many = dockerfile([step("RUN " + " && ".join(["true"] * 230))]).splitlines()
    assert len(many) == 201
    assert many[-1] == "# … 30 more lines"
    assert not many[-2].endswith("\\")
    steps = dockerfile([step("USER 1")] * 1004).splitlines()
    assert len(steps) == 1001
    assert steps[-1] == "# … 4 more steps"
