"""Regal's findings (https://www.openpolicyagent.org/projects/regal), where Regal is there.

Levels are Regal's own, as its configuration sets them. Where the linted folder has none (``.regal/config.yaml`` or
``.regal.yaml``, there or above), regal.yaml beside this file is used: without the rules that contradict how
policies are laid out here.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from portcullis.errors import EngineMalformed
from portcullis.policy.linting.finding import Finding, Level
from portcullis.policy.linting.sources import LintFile
from portcullis.policy.process import run_opa
from portcullis.text import clean

SECONDS = 300.0
"""150 files take 15 s of a quiet processor."""

OUTPUT_BYTES = 32 * 1024 * 1024
DEFAULTS = Path(__file__).with_name("regal.yaml")
CONFIGURATIONS = (".regal/config.yaml", ".regal.yaml")
VIOLATIONS = (0, 2, 3)
"""Exit codes of a run that ended: nothing, warnings, or errors found."""


class _Place(msgspec.Struct, frozen=True):
    file: str = ""
    row: int = 0
    col: int = 0


class _Resource(msgspec.Struct):
    ref: str = ""


class _Violation(msgspec.Struct):
    title: str
    description: str
    category: str
    level: str = "error"
    location: _Place = _Place()
    related_resources: list[_Resource] = []


class _Report(msgspec.Struct):
    violations: list[_Violation]


def find_regal(chosen: Path | None) -> Path | None:
    """The program: the chosen one, else ``regal`` on PATH; None where there is none."""
    if chosen is not None:
        return chosen if chosen.is_file() and os.access(chosen, os.X_OK) else None
    found = shutil.which("regal")
    return Path(found) if found else None


def own_configuration(folder: Path) -> bool:
    """Whether Regal finds a configuration for the folder by itself."""
    absolute = folder.resolve()
    return any((above / name).is_file() for above in (absolute, *absolute.parents) for name in CONFIGURATIONS)


async def regal_findings(binary: Path, folders: Sequence[Path], files: Sequence[LintFile]) -> list[Finding]:
    """What Regal says of the files.

    Raises:
        EngineUnavailable: it does not start, or does not end in SECONDS.
        EngineMalformed: it prints something else than its JSON.
    """
    configuration = [] if any(map(own_configuration, folders)) else ["--config-file", str(DEFAULTS)]
    with await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="portcullis-regal-") as home:
        done = await run_opa(
            binary,
            ("lint", "--format", "json", *configuration, *(str(file.place) for file in files)),
            seconds=SECONDS,
            output_bytes=OUTPUT_BYTES,
            program="regal",
            environment={"REGAL_DISABLE_VERSION_CHECK": "1", "HOME": home},
        )
    if done.code not in VIOLATIONS:
        said = clean((done.stderr or done.stdout).decode("utf-8", "replace"), 500)
        raise EngineMalformed(f"`regal lint` ended with status {done.code}: {said}")
    try:
        violations = msgspec.json.decode(done.stdout, type=_Report).violations
    except msgspec.MsgspecError as error:
        raise EngineMalformed("`regal lint` printed no report") from error
    names = {str(file.place): file.path for file in files}
    return [_finding(violation, names) for violation in violations]


def _finding(violation: _Violation, names: dict[str, str]) -> Finding:
    place = violation.location
    return Finding(
        rule=f"regal/{violation.category}/{violation.title}",
        level=Level.ERROR if violation.level == "error" else Level.WARNING,
        file=names.get(place.file, clean(place.file, 300)),
        row=place.row,
        column=place.col,
        message=clean(violation.description, 300),
        docs=violation.related_resources[0].ref if violation.related_resources else "",
    )
