"""The demo from the first image to the audit list."""

import asyncio
import contextlib
import json
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.text import Text

from portcullis.cli.demo import samples, scenario
from portcullis.cli.demo.expected import Outcome, differences, leads, load_expected
from portcullis.cli.demo.publish import publish
from portcullis.cli.demo.registry import serve_registry
from portcullis.cli.demo.view import Answer, answers_json, answers_table
from portcullis.cli.demo.webhook import ApiServer, DemoError, free_ports, serving
from portcullis.cli.demo.workspace import Workspace, prepare
from portcullis.cli.output import Format, print_json, progress, stderr, stdout

Say = Callable[[str], None]


async def run(folder: Path, *, keep: bool, output: Format) -> Sequence[str]:
    """Everything; gives what differs from expected.toml.

    Raises:
        DemoError: a part did not start or did not answer.
    """
    started = perf_counter()
    task = asyncio.current_task()
    assert task is not None
    # SIGTERM ends the demo as Ctrl-C does: processes and the folder go first.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with contextlib.AsyncExitStack() as stack:
        with progress("starting a registry on loopback", log=True) as say:
            registry = await stack.enter_async_context(serve_registry())
            *ports, down_port = free_ports(4)
            down = f"127.0.0.1:{down_port}"
            workspace = prepare(folder, registry=registry, down=down, ports=(ports[0], ports[1], ports[2]))
            images = await _publish(workspace, registry, down, say)
            say("starting the gate: portcullis serve, with its own OPA")
            await stack.enter_async_context(serving(workspace.config, workspace.log, workspace.health_url))
            answers = await _ask(workspace, images, say)
        found = _compare(answers)
        if output is Format.JSON:
            print_json(answers_json(answers, found))
        else:
            _report(answers, found, registry, perf_counter() - started)
            await _print_audit(workspace)
        if keep:
            await _stay(workspace, images, stderr() if output is Format.JSON else stdout())
    return found


async def _publish(workspace: Workspace, registry: str, down: str, say: Say) -> scenario.Images:
    built = samples.build(samples.SAMPLES, datetime.now(UTC))
    tagged = {sample.name: f"{registry}/{sample.repository}:{sample.tag}" for sample in samples.SAMPLES}
    await publish(built, tagged, workspace.keys, registry, say)
    return scenario.Images(
        tagged=tagged,
        pinned={name: f"{reference}@{built[name].digest}" for name, reference in tagged.items()},
        missing=f"{registry}/{samples.MISSING}",
        unreachable=f"{down}/acme/web:1.4.2",
    )


async def _ask(workspace: Workspace, images: scenario.Images, say: Say) -> list[Answer]:
    """Posts every case and looks up in the audit log why each was decided."""
    api_server = ApiServer(url=workspace.webhook_url, ca_file=workspace.ca_file)
    answered = []
    try:
        for case in scenario.cases(images):
            request = case.review["request"]
            say(f"{request['operation']} {request['kind']['kind']} {request['name']}: {case.asks}")
            response, milliseconds = await api_server.post(case.review)
            answered.append((case, response, milliseconds))
    finally:
        await api_server.aclose()
    say("reading the audit log")
    because = await _because(workspace)
    return [
        Answer(case, response, because.get(response["auditAnnotations"].get("decision-id", ""), ""), milliseconds)
        for case, response, milliseconds in answered
    ]


async def _because(workspace: Workspace) -> dict[str, str]:
    """By decision, as ``portcullis audit list -o json`` has it."""
    listed = await _portcullis("audit", "list", "--config", str(workspace.config), "--limit", "1000", "-o", "json")
    return {item["id"]: item["because"] for item in json.loads(listed)["items"]}


async def _portcullis(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "portcullis", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise DemoError(f"portcullis {shlex.join(arguments)} ended with exit code {process.returncode}")
    return out


def _compare(answers: Sequence[Answer]) -> Sequence[str]:
    """What differs from the table that was written by hand."""
    actual = {
        answer.case.name: Outcome(
            verdict=answer.verdict,
            code=answer.code,
            because=answer.because,
            refused_by=leads(answer.message),
            warned_by=leads("\n".join(answer.warnings)),
        )
        for answer in answers
    }
    return differences(load_expected(), actual)


def _report(answers: Sequence[Answer], found: Sequence[str], registry: str, seconds: float) -> None:
    """Prints the verdicts and how they compare."""
    console = stdout()
    title = f"{len(answers)} AdmissionReviews over TLS; the images are in {registry}, made a moment ago"
    console.print(Text(title, style="bold"))
    console.print(answers_table(answers))
    if found:
        console.print(Text(f"not as expected ({len(found)}):", style="bold red"))
        for line in found:
            console.print(Text(f"  {line}"), soft_wrap=True)
    else:
        text = f"All {len(answers)} verdicts are as expected (demo/expected.toml), after {seconds:.1f} s."
        console.print(Text(text, style="bold green"))


async def _print_audit(workspace: Workspace) -> None:
    """What ``portcullis audit list`` prints, by running it: it knows the terminal as this process does."""
    console = stdout()
    console.print(Text(f"\n$ portcullis audit list --config {workspace.config}", style="dim"), soft_wrap=True)
    console.file.flush()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "portcullis", "audit", "list", "--config", str(workspace.config)
    )
    if await process.wait() != 0:
        raise DemoError("portcullis audit list failed")


async def _stay(workspace: Workspace, images: scenario.Images, console: Console) -> None:
    """Prints how to talk to the gate, and waits for Ctrl-C."""
    example = workspace.folder / "review.json"
    case = next(case for case in scenario.cases(images) if case.name == "root")
    example.write_text(json.dumps(case.review), "utf-8")
    lines = {
        "pages": workspace.pages_url,
        "webhook": workspace.webhook_url,
        "health": f"{workspace.health_url}/readyz?verbose",
        "CA": str(workspace.ca_file),
        "config": str(workspace.config),
        "log": str(workspace.log),
        "try": f"curl --cacert {workspace.ca_file} -H 'Content-Type: application/json' "
        f"-d @{example} '{workspace.webhook_url}?timeout=10s'",
        "inspect": f"portcullis inspect {images.tagged['two-platforms']} --config {workspace.config}",
        "audit": f"portcullis audit list --config {workspace.config} --since 5m",
    }
    console.print()
    for name, line in lines.items():
        console.print(Text.assemble((f"{name:8}", "bold"), line), soft_wrap=True)
    stderr().print(Text("\nThe gate is running. Ctrl-C ends it.", style="dim"))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    await stop.wait()
