"""Laws of histories: whatever a builder wrote, the steps hold no more than that, and the text is fit for a terminal."""

from hypothesis import example, given
from hypothesis import strategies as st

from portcullis.inspection.history import INSTRUCTIONS, SHOWN_COLUMNS, build_steps, dockerfile
from portcullis.model.image import HistoryEntry, ImageConfig

pieces = st.one_of(
    st.sampled_from(
        (
            *("/bin/sh -c ", "#(nop) ", "RUN ", "COPY ", "|1 ", "|2 ", "A=b ", " # buildkit", "&&", "    ", "\t", "\n"),
            *(
                "map[",
                "]",
                "EXPOSE ",
                "/bin/bash -o pipefail -c",
                "--chown=1 ",
                "file:",
                "a" * 64,
                " in /app",
                "\u202e",
            ),
        )
    ),
    st.text(max_size=8),
)
lines = st.lists(pieces, max_size=12).map("".join)
entries = st.builds(HistoryEntry, created_by=lines, empty_layer=st.booleans())
commands = st.text("abcdefgh .;|&/-=$\"'", min_size=1, max_size=40).map(str.strip).filter(bool)
"""They do not begin with an option, which would belong to the shell."""
plain = commands.filter(lambda command: command[0] not in "-#|")
values = st.text("abc123_", max_size=8)
arguments = st.dictionaries(st.text("ABC_", min_size=1, max_size=4), values, max_size=3)


def config(history: list[HistoryEntry]) -> ImageConfig:
    return ImageConfig("", None, (), (), "", (), (), (), {}, (), tuple(history))


@given(st.lists(entries, max_size=6), st.integers(0, 6))
@example([HistoryEntry("RUN", empty_layer=False)], 1)
def test_steps_say_what_the_lines_say(history: list[HistoryEntry], layers: int) -> None:
    steps = build_steps(config(history), layers)
    assert [(step.created_by, step.empty_layer) for step in steps] == [
        (entry.created_by, entry.empty_layer) for entry in history
    ]
    for step in steps:
        assert step.instruction in INSTRUCTIONS | {""}
        assert step.arguments in step.created_by
        assert step.arguments == step.arguments.strip()
        assert step.instruction or not step.arguments
    indexes = [step.layer_index for step in steps if not step.empty_layer]
    assert indexes in (list(range(layers)), [None] * len(indexes))


@given(st.lists(entries, max_size=6))
def test_the_text_is_fit_for_a_terminal(history: list[HistoryEntry]) -> None:
    text = dockerfile(build_steps(config(history), 0))
    assert text == "" or text.endswith("\n")
    shown = text.split("\n")
    assert all(line.isprintable() for line in shown)
    assert all(len(line) <= SHOWN_COLUMNS + 50 for line in shown)
    begun = [line for line in shown if line and not line.startswith("    ")]
    assert len(begun) == len(history)


@given(plain, arguments)
def test_every_builder_tells_the_same_command(command: str, given_arguments: dict[str, str]) -> None:
    listed = "".join(f" {name}={value}" for name, value in given_arguments.items())
    before = f"|{len(given_arguments)}{listed} " if given_arguments else ""
    for line in (
        f"{before}/bin/sh -c {command}",
        f"RUN {before}/bin/sh -c {command} # buildkit",
        f"RUN {before}/bin/bash -o pipefail -c {command} # buildkit",
    ):
        (step,) = build_steps(config([HistoryEntry(line, empty_layer=False)]), 1)
        assert (step.instruction, step.arguments) == ("RUN", command)
