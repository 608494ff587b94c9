"""Programs for test_crash.py, run as processes of their own: one to be killed, one whose disk is full.

recorder.py kill DATABASE JOURNAL      for each line read: forks, and the child appends until it is killed
recorder.py full DATABASE JOURNAL      appends through a full disk and out again, and reports
"""

import asyncio
import itertools
import json
import os
import resource
import sys
from pathlib import Path

from fakes.records import SystemClock, a_decision, a_record
from portcullis.audit.journal import Journal
from portcullis.audit.sql import SqlRecords
from portcullis.audit.writer import AuditLog, Health
from portcullis.errors import RecordsError
from portcullis.limits import Limits

LIMITS = Limits(append_seconds=0.2)


def audit_log(database: str, journal: str) -> AuditLog:
    return AuditLog(
        store=SqlRecords(url=f"sqlite:///{database}", limits=LIMITS),
        journal=Journal(path=Path(journal), limits=LIMITS),
        limits=LIMITS,
        clock=SystemClock(),
    )


def tell(text: str) -> None:
    """One write, so that no line is cut by a signal."""
    os.write(1, f"{text}\n".encode())


async def append_for_ever(database: str, journal: str, name: str) -> None:
    log = audit_log(database, journal)
    await log.start()
    numbers = itertools.count()

    async def client() -> None:
        while True:
            decision = a_decision(f"{name}-{next(numbers)}", images=[("web", "sha256:aa")])
            await log.append(a_record(decision))
            tell(decision.id)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(client())


def fork_for_each_line(database: str, journal: str) -> None:
    """Forked, the child has all imports behind it and can be killed in what matters."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(append_for_ever(database, journal, line.strip()))
        tell(f"child {child}")
        os.waitpid(child, 0)
        tell("dead")


async def through_a_full_disk(database: str, journal: str) -> None:
    log = audit_log(database, journal)
    await log.start()
    kept: list[str] = []
    lost: list[str] = []
    seen: list[str] = []

    async def append(number: int) -> None:
        decision = a_decision(f"d-{number}", images=[("web", "sha256:aa")])
        try:
            await log.append(a_record(decision))
        except RecordsError:
            lost.append(decision.id)
        else:
            kept.append(decision.id)
        if log.health not in seen[-1:]:
            seen.append(log.health)

    numbers = itertools.count()
    for _ in range(100):
        await append(next(numbers))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this from now on; Python ignores the signal, so that writing fails with EFBIG.
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    for _ in range(2000):
        await append(next(numbers))
        if log.health is Health.UNAVAILABLE and len(lost) >= 5:
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    async with asyncio.timeout(30):
        while log.health is not Health.OK:
            await asyncio.sleep(0.01)
    for _ in range(10):
        await append(next(numbers))
    await log.aclose()
    tell(json.dumps({"kept": kept, "lost": lost, "seen": seen}))


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        fork_for_each_line(*sys.argv[2:])
    else:
        asyncio.run(through_a_full_disk(*sys.argv[2:]))
