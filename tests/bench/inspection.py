"""Figures of the look into layers, in the running webhook: cold, warm, after a restart, and what others feel of it."""

import asyncio
import functools
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from portcullis.cli.demo.images import AMD64, File, Image, Layer, base_layer, image, layer
from portcullis.cli.demo.reviews import container, pod_spec, review, workload
from portcullis.cli.demo.samples import Sample
from portcullis.cli.demo.webhook import ApiServer

LAYERS = 5
LAYER_BYTES = 20_000_000
FILE_BYTES = 50_000


@dataclass(frozen=True)
class Seen:
    """One review: whether it was admitted, and how long until it was, tries and waits in between included."""

    milliseconds: float
    tries: int


def large_image(seed: int) -> Image:
    """Five layers of about 20 MB each as pulled, in files of 50 kB that hardly compress; another one for each seed."""
    layers = [base_layer(), *(_layer(seed, number) for number in range(LAYERS - 1))]
    return image(
        layers,
        platform=AMD64,
        user="10001:10001",
        created=datetime.now(UTC) - timedelta(days=1),
        entrypoint=["/app/data"],
        labels={},
    )


def _layer(seed: int, number: int) -> Layer:
    source = random.Random(f"{seed}/{number}")
    half = FILE_BYTES // 2
    size = LAYER_BYTES * LAYERS // (LAYERS - 1)
    files = [File(f"app/data/{number}", None, 0o755, 10001)]
    files += [
        File(f"app/data/{number}/{name:05d}.bin", source.randbytes(half) + bytes(half), 0o644, 10001)
        for name in range(size // half)
    ]
    return layer(files, f"COPY --chown=10001 data/{number} /app/data/{number} # buildkit")


def samples(count: int) -> Sequence[tuple[Sample, Image]]:
    """So many different ones, to be pushed and attested."""
    return [
        (Sample(f"large-{seed}", "five layers of 20 MB", "acme/large", f"1.0.{seed}"), large_image(seed))
        for seed in range(count)
    ]


def asking(reference: str) -> dict[str, Any]:
    return review(workload("Deployment", "large", "shop", pod_spec([container("large", reference)])))


async def until_admitted(api_server: ApiServer, asked: dict[str, Any]) -> Seen:
    """As a person's kubectl does it: after a 429 it waits as it is told, and asks again."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for tries in range(1, 60):
        fresh = {**asked, "request": {**asked["request"], "uid": str(uuid.uuid4())}}
        response, _ = await api_server.post(fresh)
        if response["allowed"]:
            return Seen((loop.time() - started) * 1000, tries)
        status = response["status"]
        if status["code"] != 429:
            raise SystemExit(f"bench: a large image is not admitted: {status}")
        await asyncio.sleep(status.get("details", {}).get("retryAfterSeconds", 1))
    raise SystemExit("bench: a large image is still being inspected after 60 tries")


async def alongside(work: Any, others: Any) -> list[float]:
    """What ``others`` measures again and again, from the begin of ``work`` to its end."""
    times: list[float] = []
    task = asyncio.ensure_future(work)
    while not task.done():
        times += await others()
    await task
    return times


class Memory:
    """The most that the webhook and its children had resident together, in MiB, looked at every 50 ms."""

    def __init__(self, config: Path) -> None:
        self._config = str(config).encode()
        self.idle = _resident(self._config)
        self.peak = self.idle

    async def watch(self) -> None:
        while True:
            self.peak = max(self.peak, await asyncio.to_thread(functools.partial(_resident, self._config)))
            await asyncio.sleep(0.05)


def _resident(config: bytes) -> float:
    """``Pss`` where there is one: pages that processes share count once."""
    pages: dict[int, tuple[int, float]] = {}
    roots = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
            rollup = (folder / "smaps_rollup").read_text()
        except (OSError, ValueError, IndexError):
            continue
        kib = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
        pages[int(folder.name)] = (parent, kib / 1024)
        if b"serve" in command.split(b"\0") and config in command.split(b"\0"):
            roots.add(int(folder.name))
    family = set(roots)
    grown = True
    while grown:
        more = {number for number, (parent, _) in pages.items() if parent in family} - family
        family |= more
        grown = bool(more)
    # OPA is judged elsewhere.
    return sum(size for number, (_, size) in pages.items() if number in family and not _is_opa(number))


def _is_opa(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/comm").read_text().startswith("opa")
    except OSError:
        return False
