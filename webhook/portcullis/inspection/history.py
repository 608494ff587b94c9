"""The history of an image as instructions of a Dockerfile.

The image specification (config.md, ``history``) leaves ``created_by`` to the builder. These are the forms in use:

- Docker's classic builder: the shell and what it ran (``/bin/sh -c apt-get update``), and every other instruction
  as a comment to the shell (``/bin/sh -c #(nop)  CMD ["bash"]``). Build arguments stand before: ``|1 A=b /bin/sh -c``.
- BuildKit: the instruction (``COPY app /app # buildkit``), with the shell where there is one
  (``RUN |1 A=b /bin/sh -c make # buildkit``). Flags of RUN, cache mounts for instance, are not told.
- Buildah: as the classic builder, with the flags of RUN behind the shell (``/bin/sh -c --mount=type=cache,... make``).
- Kaniko: the line of the Dockerfile.
- What builds without a Dockerfile (ko, Jib, Bazel, Nix, buildpacks) writes its own name or nothing.

All of it is the builder's word and nothing that can be proved. Every expression here takes linear time, and no text
that it gives is longer than the line that it was given.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from portcullis.model.image import BuildStep, HistoryEntry, ImageConfig
from portcullis.text import clean

INSTRUCTIONS: Final = frozenset(
    (
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
        *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
    )
)
"""Those of the Dockerfile reference."""

SHOWN_STEPS: Final = 1000
SHOWN_LINES: Final = 200
"""Of one instruction."""
SHOWN_COLUMNS: Final = 500
"""What :func:`dockerfile` shows; it says how much it left out. Real images stay far below all three."""

# The default shell and what SHELL is set to; options with their values, so that the command is what follows.
_SHELL: Final = (
    r"(?:(?:(?:/usr)?/bin/)?(?:ba|da|a|z|k)?sh(?: --?[A-Za-z]+| pipefail| errexit| nounset| xtrace){0,6}? -[A-Za-z]*c"
    r"|cmd(?:\.exe)? /S /C|(?:powershell|pwsh)(?:\.exe)? -Command)(?=\s|$)"
)
_SHELL_FIRST: Final = re.compile(_SHELL)
_SHELL_LATER: Final = re.compile(rf"(?<=\s){_SHELL}")
_NOTHING_RUN: Final = re.compile(r"\s*#\(nop\)")
_ARGUMENTS: Final = re.compile(r"\|(\d{1,4})(?=\s|$)")
_BUILDKIT: Final = "# buildkit"

_AFTER_AND: Final = re.compile(r"&&[ \t\n\r]+")
_BLANKS: Final = re.compile(r"[ \t\n\r]+")
_INDENTATION: Final = 4
"""Blanks in a row that tell where a line of RUN began: the builders join its lines, and the indentation stays."""
_CONTENT_HASH: Final = re.compile(r"\b(file|dir|multi):([0-9a-f]{12})[0-9a-f]{52} in ")
_PORT_MAP: Final = re.compile(r"map\[([^\[\]]*)\]")


def build_steps(config: ImageConfig, layers: int) -> tuple[BuildStep, ...]:
    """The history of ``config``, each line as the instruction that it was, as far as that can be told.

    Args:
        layers: how many layers the image has. ``layer_index`` is only given where as many lines say that they made
            one (image-spec config.md, ``empty_layer``); else no line can be told to belong to a layer.

    Returns:
        One step for each line, in order. ``arguments`` are without the shell, build arguments, and the mark of
        BuildKit; both they and ``instruction`` are "" where the line is of no known form.
    """
    fits = sum(not entry.empty_layer for entry in config.history) == layers
    steps = []
    index = 0
    for entry in config.history:
        steps.append(_step(entry, index if fits and not entry.empty_layer else None))
        index += not entry.empty_layer
    return tuple(steps)


def _step(entry: HistoryEntry, layer_index: int | None) -> BuildStep:
    instruction, arguments = _parse(entry.created_by)
    return BuildStep(
        created_by=entry.created_by,
        empty_layer=entry.empty_layer,
        instruction=instruction,
        arguments=arguments,
        layer_index=layer_index,
    )


def _parse(line: str) -> tuple[str, str]:
    text = line.strip()
    instruction, rest = _first_word(text)
    if instruction in INSTRUCTIONS:
        rest = rest.removesuffix(_BUILDKIT).rstrip()
        return (instruction, _command(rest)) if instruction == "RUN" else (instruction, rest)
    command = _behind_shell(text)
    if command is None:
        return "", ""
    comment = _NOTHING_RUN.match(command)
    if comment is None:
        return "RUN", command.strip()
    instruction, rest = _first_word(command[comment.end() :].strip())
    # Buildah writes the instruction as the author did, in small letters too.
    return (instruction.upper(), rest) if instruction.upper() in INSTRUCTIONS else ("", "")


def _first_word(text: str) -> tuple[str, str]:
    words = text.split(maxsplit=1)
    return (words[0], words[1] if len(words) > 1 else "") if words else ("", "")


def _command(text: str) -> str:
    """What RUN runs: ``text`` without build arguments and shell. Without a shell it is the exec form."""
    command = _behind_shell(text)
    if command is not None:
        return command.strip()
    counted = _ARGUMENTS.match(text)
    if counted is None:
        return text
    # No shell to mark the end of the build arguments, so they are counted: their values must be without blanks.
    words = text[counted.end() :].split(maxsplit=int(counted[1]))
    return words[-1] if len(words) > int(counted[1]) else ""


def _behind_shell(text: str) -> str | None:
    """What follows the shell, or build arguments and the shell; None where the text does not begin with them."""
    found = _SHELL_LATER.search(text) if _ARGUMENTS.match(text) else _SHELL_FIRST.match(text)
    return text[found.end() :] if found is not None else None


def dockerfile(steps: Sequence[BuildStep]) -> str:
    """The steps as a text that reads like the Dockerfile they came from; "" for none, else it ends with a line break.

    It is made to be read, not built: there is no FROM, only the last stage is known, and files are named as the
    builder noted them. A line of no known form becomes a comment. Unprintable characters are replaced, and what is
    over :data:`SHOWN_STEPS`, :data:`SHOWN_LINES` or :data:`SHOWN_COLUMNS` is counted instead of shown.
    """
    shown = [line for step in steps[:SHOWN_STEPS] for line in _lines(step)]
    if len(steps) > SHOWN_STEPS:
        shown.append(f"# … {len(steps) - SHOWN_STEPS} more steps")
    return "".join(f"{line}\n" for line in shown)


def _lines(step: BuildStep) -> Iterator[str]:
    if not step.instruction:
        yield _comment(step)
        return
    parts = [*_parts(step)]
    hidden = len(parts) - SHOWN_LINES
    parts = [_short(part) for part in parts[:SHOWN_LINES]]
    for number, part in enumerate(parts, start=1):
        begin = f"{step.instruction} " if number == 1 else "    "
        end = " \\" if number < len(parts) else ""
        yield f"{begin}{part}{end}".rstrip()
    if hidden > 0:
        yield f"# … {hidden} more lines"


def _comment(step: BuildStep) -> str:
    line = _short(step.created_by).removeprefix("#").lstrip()
    if line:
        return f"# {line}"
    return f"# {'a step' if step.empty_layer else 'a layer'} of which the builder says nothing"


def _parts(step: BuildStep) -> Iterator[str]:
    """The lines of one instruction: at least one, "" where nothing follows it."""
    text = step.arguments
    if step.instruction == "RUN":
        yield from _written(text)
        return
    if step.instruction in ("ADD", "COPY"):
        text = _CONTENT_HASH.sub(r"\1:\2 ", text)
    if step.instruction == "EXPOSE":
        text = _PORT_MAP.sub(lambda ports: ports[1].replace(":{}", ""), text)
    yield text


def _written(command: str) -> Iterator[str]:
    """The lines in which a RUN was written, as far as blanks tell, and a new one before each ``&&``."""
    text = _AFTER_AND.sub("&& ", command)
    start = 0
    for blanks in _BLANKS.finditer(text):
        indented = blanks.end() - blanks.start() >= _INDENTATION or blanks[0].strip(" ") != ""
        if indented or text.startswith("&& ", blanks.end()):
            yield text[start : blanks.start()]
            start = blanks.end()
    yield text[start:]


def _short(text: str) -> str:
    shown = clean(text, SHOWN_COLUMNS)
    return f"{shown} ({len(text):,} characters)" if len(text) > SHOWN_COLUMNS else shown
