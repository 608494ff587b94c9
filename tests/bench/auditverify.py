"""How fast a whole audit log is verified. ``run.py`` and whoever has a log of its own call :func:`verify_rate`."""

import asyncio
import time

from portcullis.audit.chainreading import ChainReader
from portcullis.audit.checkpointproof import Keys
from portcullis.audit.sql import open_records
from portcullis.audit.verification import Verdict
from portcullis.audit.verifying import Verifier


def verify_rate(url: str) -> float:
    """Records per second that are proven in the log at ``url``, inputs, columns and all.

    Raises:
        SystemExit: the log is not as it was written, so that the figure would mean nothing.
    """
    return asyncio.run(_rate(url))


async def _rate(url: str) -> float:
    async with open_records(url) as records:
        begun = time.perf_counter()
        found = await Verifier(ChainReader(records), keys=Keys(())).run()
        took = time.perf_counter() - begun
    if found.verdict is not Verdict.PROVEN:
        raise SystemExit(f"bench: the log is {found.verdict}: {[*found.findings, *found.doubts][:3]}")
    return found.records / took
