"""Runs Hadolint on a Dockerfile."""

import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from portcullis.errors import ConfigError
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.hadolint import read_hadolint
from portcullis.limits import Limits
from portcullis.model.evidence import LintReport
from portcullis.text import clean

PROGRAM = "hadolint"
SECONDS = 60
DOCKERFILE_BYTES = 1024 * 1024

_VERSION = re.compile(r"[0-9]+(\.[0-9]+)+")


def run_hadolint(content: bytes, name: str, program: Path | None, limits: Limits) -> LintReport:
    """What Hadolint says of a Dockerfile.

    It is run twice: what only the second run finds, in which the comments that silence it do not count, is
    ``suppressed``. Its configuration file is found by Hadolint itself, as usual.

    Args:
        content: the Dockerfile; given on standard input.
        name: how findings name the file.
        program: Hadolint; None for the one on PATH.

    Raises:
        ConfigError: there is no Hadolint, or it fails.
    """
    found = shutil.which(str(program or PROGRAM))
    if found is None:
        missing = f"{program} is no program" if program else "hadolint is not on PATH"
        raise ConfigError(f"{missing}\ninstall it (https://github.com/hadolint/hadolint), or give --hadolint FILE")
    report = _lint(found, content, limits)
    everything = _lint(found, content, limits, "--disable-ignore-pragma")
    return replace(
        report,
        tool_version=_version(found),
        linted_at=datetime.now(UTC),
        findings=tuple(replace(one, file=name) for one in report.findings),
        suppressed=max(0, len(everything.findings) - len(report.findings)),
        dockerfile=sha256(content).hexdigest(),
    )


def _lint(program: str, content: bytes, limits: Limits, *options: str) -> LintReport:
    done = _run([program, "--format", "json", "--no-fail", *options, "-"], content)
    try:
        return read_hadolint(done, limits)
    except EvidenceError as error:
        raise ConfigError(f"hadolint's report cannot be read\n{error.message}") from None


def _version(program: str) -> str:
    found = _VERSION.search(_run([program, "--version"], b"").decode("utf-8", "replace"))
    return found[0] if found else ""


def _run(command: list[str], content: bytes) -> bytes:
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603
    except OSError as error:
        raise ConfigError(f"{command[0]} does not start: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"hadolint did not end within {SECONDS} s") from None
    if done.returncode != 0:
        raise ConfigError(f"hadolint failed\n{clean(done.stderr.decode('utf-8', 'replace'), 1000)}")
    return done.stdout
