"""``portcullis version``."""

import shutil
import subprocess
from pathlib import Path

from portcullis import __version__
from portcullis.cli.output import API_VERSION, Format, FormatOption, print_json, reported, stdout


@reported
def version(output: FormatOption = Format.TABLE) -> None:
    """Print the versions of Portcullis and of its OPA."""
    opa_path = shutil.which("opa")
    facts = {
        "version": __version__,
        "revision": source_revision(Path(__file__).resolve().parents[3]),
        "opa": opa_version(opa_path) if opa_path else "",
        "opaPath": opa_path or "",
    }
    if output is Format.JSON:
        print_json({"apiVersion": API_VERSION, "kind": "Version", **facts})
        return
    console = stdout()
    console.print(f"portcullis  {facts['version']}")
    if facts["revision"]:
        console.print(f"revision    {facts['revision']}")
    console.print(f"opa         {facts['opa'] or 'not on PATH'}{f'  ({opa_path})' if opa_path else ''}")


def source_revision(checkout: Path) -> str:
    """The commit of the checkout that the program runs from; "" where it was installed from a package."""
    if not (checkout / ".git").exists():
        return ""
    return _run("git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD").strip()


def opa_version(binary: str) -> str:
    """The version that the program names; "" where it does not answer as OPA does."""
    lines = _run(binary, "version").splitlines()
    return next((line.removeprefix("Version:").strip() for line in lines if line.startswith("Version:")), "")


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
