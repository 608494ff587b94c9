"""`make bench`: figures, as ratios against references measured in the same run.

    python tests/bench/run.py [--requests N] [--records N] [NAME ...]

Prints a table and writes build/bench.json: {machine, versions, figures: [{name, unit, median, p99, min, max, count}],
ratios: [{name, value}], targets: [{name, value, target, met}]}. Absolute times belong to the machine; the ratios can be
compared.
"""

import argparse
import asyncio
import json
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import audit  # this and the next five beside this file
import authoring
import evidence
import inspection
import layers
import replay
from rich.console import Console
from rich.table import Table

from portcullis import __version__
from portcullis.audit.sql import open_records
from portcullis.cli.demo import samples, scenario
from portcullis.cli.demo.publish import publish
from portcullis.cli.demo.registry import serve_registry
from portcullis.cli.demo.reviews import container, pod_spec, review, workload
from portcullis.cli.demo.webhook import ApiServer, free_ports, serving
from portcullis.cli.demo.workspace import Workspace, prepare
from portcullis.model.record import RecordFilter
from portcullis.server.compose import compose
from portcullis.server.settings import load_settings

RESULT = Path(__file__).resolve().parents[2] / "build" / "bench.json"
console = Console(stderr=True)


@dataclass(frozen=True)
class Figure:
    """One measured thing, per operation, in ``unit``."""

    name: str
    unit: str
    median: float
    p99: float
    min: float
    max: float
    count: int

    @classmethod
    def of(cls, name: str, values: list[float], unit: str = "ms") -> "Figure":
        ordered = sorted(values)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return cls(name, unit, statistics.median(ordered), p99, ordered[0], ordered[-1], len(ordered))


@dataclass
class Stage:
    """A running webhook with a warm, admitted workload to ask it about."""

    api_server: ApiServer
    config: Path
    folder: Path
    review: dict[str, Any]
    images: scenario.Images | None = None

    def fresh(self) -> dict[str, Any]:
        return {**self.review, "request": {**self.review["request"], "uid": str(uuid.uuid4())}}


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Registry, images with signed scans, `portcullis serve` as its own process; as the demo has them."""
    async with serve_registry() as registry:
        webhook_port, health_port, pages_port, down_port = free_ports(4)
        ports = (webhook_port, health_port, pages_port)
        space = prepare(folder, registry=registry, down=f"127.0.0.1:{down_port}", ports=ports)
        built = samples.build(samples.SAMPLES, datetime.now(UTC))
        tagged = {sample.name: f"{registry}/{sample.repository}:{sample.tag}" for sample in samples.SAMPLES}
        await publish(built, tagged, space.keys, registry, lambda text: console.print(f"[dim]{text}"))
        pinned = f"{tagged['clean']}@{built['clean'].digest}"
        asked = review(workload("Deployment", "checkout", "shop", pod_spec([container("web", pinned)])))
        async with serving(space.config, space.log, space.health_url):
            api_server = ApiServer(url=space.webhook_url, ca_file=space.ca_file)
            try:
                all_pinned = {name: f"{tagged[name]}@{image.digest}" for name, image in built.items()}
                images = scenario.Images(
                    tagged, all_pinned, f"{registry}/{samples.MISSING}", f"127.0.0.1:{down_port}/acme/web:1.4.2"
                )
                yield Stage(api_server, space.config, folder, asked, images)
            finally:
                await api_server.aclose()


async def replayed(folder: Path, number: int) -> tuple[dict[str, Figure], dict[str, float]]:
    """A log of so many decisions, made from one of each that the demo knows, judged again."""
    async with stage(folder) as place:
        assert place.images is not None
        for case in scenario.cases(place.images):
            await place.api_server.post(case.review)
    taken = await replay.measured(place.config, number, console)
    named = {
        "itself": "replay under the recorded policies",
        "modes": "replay under other modes",
        "policy": "replay where one policy is another",
    }
    figures = {key: Figure.of(named[key], [took.rate], "per s") for key, took in taken.items()}
    return figures, {}


async def decisions(place: Stage, requests: int, concurrent: int) -> list[float]:
    """Milliseconds of each request, TLS, evaluation and durable record included."""
    times: list[float] = []
    left = iter(range(requests))

    async def worker() -> None:
        for _ in left:
            response, elapsed = await place.api_server.post(place.fresh())
            if not response["allowed"]:
                raise SystemExit(f"bench: the request was not admitted: {response}")
            times.append(elapsed)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrent):
            group.create_task(worker())
    return times


async def bare_opa(place: Stage, requests: int) -> list[float]:
    """The evaluation alone, of the document that the webhook judged, by the same policies in an OPA of its own."""
    settings = load_settings(place.config, {})
    async with open_records(settings.audit.database) as records:
        (latest,) = await records.search(RecordFilter(limit=1))
        record = await records.get(latest.decision.id)
    assert record is not None
    times = []
    async with compose(settings, with_audit=False) as parts:
        names = [policy.name for policy in parts.compiled.policies]
        for number in range(requests + 20):
            started = time.perf_counter()
            await parts.engine.evaluate(
                parts.compiled, names, record.decision.document, asyncio.get_running_loop().time() + 5
            )
            if number >= 20:
                times.append((time.perf_counter() - started) * 1000)
    return times


async def inspected(folder: Path, requests: int) -> tuple[dict[str, Figure], dict[str, float]]:
    """Images of five layers and about 100 MB: cold, warm, after a restart; and what others feel meanwhile."""
    async with serve_registry() as registry:
        webhook_port, health_port, pages_port, down_port = free_ports(4)
        ports = (webhook_port, health_port, pages_port)
        space = prepare(folder, registry=registry, down=f"127.0.0.1:{down_port}", ports=ports)
        console.print("[dim]layers: making four images of 100 MB")
        large = await asyncio.to_thread(inspection.samples, 4)
        clean = samples.SAMPLES[0]
        built = {**samples.build([clean], datetime.now(UTC)), **{sample.name: image for sample, image in large}}
        pushed = [clean, *(sample for sample, _ in large)]
        tagged = {sample.name: f"{registry}/{sample.repository}:{sample.tag}" for sample in pushed}
        await publish(built, tagged, space.keys, registry, lambda text: console.print(f"[dim]{text}"), pushed)
        pinned = f"{tagged['clean']}@{built['clean'].digest}"
        asked = review(workload("Deployment", "checkout", "shop", pod_spec([container("web", pinned)])))
        wanted = [inspection.asking(f"{tagged[sample.name]}@{built[sample.name].digest}") for sample, _ in large]
        figures: dict[str, Figure] = {}
        async with serving(space.config, space.log, space.health_url), gate_of(space) as api_server:
            place = Stage(api_server, space.config, folder, asked)
            big = Stage(api_server, space.config, folder, wanted[0])
            await decisions(place, 200, 4)
            idle = await decisions(place, requests, 1)
            memory = inspection.Memory(space.config)
            watch = asyncio.create_task(memory.watch())
            cold = await inspection.until_admitted(api_server, wanted[0])
            console.print(f"[dim]layers: the first decision came with try {cold.tries}")
            warm = await decisions(big, requests, 1)
            busy: list[float] = []
            for more in wanted[1:]:
                busy += await inspection.alongside(
                    inspection.until_admitted(api_server, more), lambda: decisions(place, 1, 1)
                )
            watch.cancel()
        async with serving(space.config, space.log, space.health_url), gate_of(space) as api_server:
            again = await inspection.until_admitted(api_server, wanted[0])
    figures["idle"] = Figure.of("warm decision, nothing inspected", idle)
    figures["busy"] = Figure.of("warm decision, 100 MB being inspected", busy)
    figures["cold-layers"] = Figure.of("cold decision, 100 MB in 5 layers", [cold.milliseconds])
    figures["warm-layers"] = Figure.of("the same, warm", warm)
    figures["restarted-layers"] = Figure.of("the same, first after a restart", [again.milliseconds])
    figures["memory"] = Figure("memory above idle, MiB", "MiB", *([memory.peak - memory.idle] * 4), 1)
    return figures, {"p99 while layers are read / p99 idle": figures["busy"].p99 / figures["idle"].p99}


@asynccontextmanager
async def gate_of(space: Workspace) -> AsyncIterator[ApiServer]:
    api_server = ApiServer(url=space.webhook_url, ca_file=space.ca_file)
    try:
        yield api_server
    finally:
        await api_server.aclose()


def single_inserts(folder: Path, requests: int) -> list[float]:
    """One INSERT per COMMIT of about one record's size, WAL and synchronous=FULL, on the same disk."""
    times = []
    with sqlite3.connect(folder / "reference.db", isolation_level=None) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, body TEXT)")
        body = "x" * 3000
        for _ in range(requests):
            started = time.perf_counter()
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO records (body) VALUES (?)", (body,))
            database.execute("COMMIT")
            times.append((time.perf_counter() - started) * 1000)
    database.close()
    return times


async def decided(folder: Path, requests: int, wanted: Callable[[str], bool]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    async with stage(folder) as place:
        console.print("[dim]cold, then warming up")
        figures["cold"] = Figure.of("cold decision", await decisions(place, 1, 1))
        await decisions(place, 100, 4)
        if wanted("warm"):
            console.print(f"[dim]warm: {requests} requests one by one")
            figures["warm"] = Figure.of("warm decision, 1 at a time", await decisions(place, requests, 1))
        if wanted("warm16"):
            console.print(f"[dim]warm16: {2 * requests} requests, 16 at a time")
            started = time.perf_counter()
            figures["warm16"] = Figure.of("warm decision, 16 at a time", await decisions(place, 2 * requests, 16))
            rate = 2 * requests / (time.perf_counter() - started)
            console.print(f"[dim]warm16: {rate:.0f} decisions/s (client and server share the machine)")
        if wanted("opa"):
            console.print("[dim]opa: the evaluation alone")
            figures["opa"] = Figure.of("bare OPA, same document", await bare_opa(place, requests))
        if wanted("insert"):
            console.print("[dim]insert: one INSERT per COMMIT")
            figures["insert"] = Figure.of("one INSERT per COMMIT", single_inserts(folder, requests))
    return figures


async def measure(
    requests: int, records: int, names: list[str]
) -> tuple[list[Figure], dict[str, float], list[dict[str, Any]]]:
    """Figures, ratios, and which targets are met."""
    wanted: Callable[[str], bool] = lambda name: not names or name in names  # noqa: E731
    figures: dict[str, Figure] = {}
    if any(map(wanted, ("warm", "warm16", "opa", "insert"))):
        with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as text:
            figures |= await decided(Path(text), requests, wanted)
    ratios: dict[str, float] = {}
    targets: list[dict[str, Any]] = []
    if wanted("layers"):
        with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as text:
            more, ratios = await inspected(Path(text), requests)
            figures |= more
    if wanted("walk"):
        measured, more_ratios = await asyncio.to_thread(layers.figures, console)
        figures |= {one.name: Figure.of(one.name, list(one.values), one.unit) for one in measured}
        ratios |= more_ratios
    if wanted("evidence"):
        attested, more_ratios = await asyncio.to_thread(evidence.figures, console)
        figures |= {one.name: Figure.of(one.name, list(one.values), one.unit) for one in attested}
        ratios |= more_ratios
    if wanted("authoring"):
        saved, more_ratios = await asyncio.to_thread(authoring.figures, console)
        figures |= {name: Figure.of(name, values) for name, values in saved.items()}
        ratios |= more_ratios
    if wanted("audit"):
        kept = await asyncio.to_thread(lambda: audit.figures(console, records=records))
        figures |= {one.name: Figure.of(one.name, list(one.values), one.unit) for one in kept.figures}
        ratios |= kept.ratios
        targets += kept.targets()
    if wanted("replay"):
        with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as text:
            more, _ = await replayed(Path(text), 2 * requests)
            figures |= more
    if {"warm", "opa"} <= figures.keys():
        ratios["warm decision / bare OPA (medians)"] = figures["warm"].median / figures["opa"].median
    if {"warm16", "opa"} <= figures.keys():
        ratios["p99 at 16 / p99 of bare OPA"] = figures["warm16"].p99 / figures["opa"].p99
    return list(figures.values()), ratios, targets


def main() -> None:
    arguments = argparse.ArgumentParser(description="figures of Portcullis on this machine")
    arguments.add_argument("--requests", type=int, default=1000)
    arguments.add_argument(
        "names",
        nargs="*",
        help="warm, warm16, opa, insert, layers, walk, evidence, authoring, audit, replay; all without",
    )
    arguments.add_argument("--records", type=int, default=audit.RECORDS, help="of the log that is searched; kept")
    chosen = arguments.parse_args()
    figures, ratios, targets = asyncio.run(measure(chosen.requests, chosen.records, chosen.names))
    table = Table("figure", "unit", "median", "p99", "min", "max", "n")
    for figure in figures:
        numbers = (figure.median, figure.p99, figure.min, figure.max)
        table.add_row(figure.name, figure.unit, *(f"{number:.2f}" for number in numbers), str(figure.count))
    for name, value in ratios.items():
        table.add_row(name, "", f"{value:.2f}")
    for target in targets:
        if not target["met"]:
            console.print(f"[red]bench: {target['name']} is {target['value']:.1f}, {target['target']} is aimed at")
    Console().print(table)
    RESULT.parent.mkdir(exist_ok=True)
    result = {
        "machine": {"processor": platform.machine(), "system": platform.platform(), "python": sys.version.split()[0]},
        "versions": {"portcullis": __version__},
        "figures": [asdict(figure) for figure in figures],
        "ratios": [{"name": name, "value": value} for name, value in ratios.items()],
        "targets": targets,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
