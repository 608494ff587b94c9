"""A program that starts ``portcullis serve`` again and again, for tests that kill it hundreds of times.

forking.py CONFIG      for each line read, a path: forks; the child is ``portcullis serve --config CONFIG``, the leader
                       of a process group, and writes its log to that path

Two thirds of a start are the imports of Python, which lose no record; here they happen once. All else is the
program's own start: certificate, database, journal, OPA with its policies.
"""

import contextlib
import os
import sys
from pathlib import Path

import portcullis.server.app  # noqa: F401  (what `serve` would import first)
from portcullis.cli.main import main


def tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def serve(config: str, log: Path) -> int:
    """The life of a child; its exit code."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(descriptor, target)
    sys.argv = ["portcullis", "serve", "--config", config]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def for_each_line(config: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os._exit(serve(config, Path(line.strip())))
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(child, child)  # whichever of the two is first: who reads the next line may kill the group
        tell(f"child {child}")
        _, status = os.waitpid(child, 0)
        tell(f"ended {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    for_each_line(sys.argv[1])
