"""Runs ``portcullis`` commands as children of one process, which has imported the program before.

    forking.py DESCRIPTOR     a socket: for each line read from it, a Command as JSON, the exit code is written to it

Imports are the greater part of what a command costs. That they work is shown by who starts the program anew: what
README.md shows, the demo, ``serve``.
"""

import json
import os
import random
import socket
import sys
import traceback
from pathlib import Path

import portcullis.audit.sql
import portcullis.rejudging
import portcullis.server.compose  # noqa: F401 - what commands import when they run
from portcullis.cli.main import main

STREAMS = ("stdin", "stdout", "stderr")
"""Files of the folder of each command."""


def run(arguments: list[str], environment: dict[str, str], place: str, folder: Path) -> int:
    """The life of a child; its exit code. ``place`` is where the command is typed, ``folder`` has its streams."""
    for target, name in enumerate(STREAMS):
        opened = os.open(folder / name, os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    sys.argv = ["portcullis", *arguments]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter would tell it
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def for_each_line(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as asked, asked.makefile("rw") as lines:
        for line in lines:
            command = json.loads(line)
            child = os.fork()
            if child == 0:
                asked.close()
                os._exit(run(**{**command, "folder": Path(command["folder"])}))
            _, status = os.waitpid(child, 0)
            lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
            lines.flush()


if __name__ == "__main__":
    for_each_line(int(sys.argv[1]))
