"""What a scan has found, for people and for programs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import HORIZONTALS
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.decisions import DIGEST_SHOWN, IMAGE_CHARS, NAME_CHARS, images_text, why_text, workload_title
from portcullis.cli.output import API_VERSION
from portcullis.model.running import Condition, MovedTag, Rejudged
from portcullis.server.runningjson import rejudged_json
from portcullis.text import clean

if TYPE_CHECKING:
    from portcullis.cli.scan import Scanned

_CONDITIONS: Mapping[Condition, tuple[str, str]] = {
    Condition.FAILING: ("✗", "red"),
    Condition.UNKNOWN: ("?", "yellow"),
    Condition.BREAK_GLASS: ("!", "magenta"),
    Condition.EXCEPTED: ("~", "magenta"),
    Condition.WARNED: ("!", "yellow"),
    Condition.GOOD: ("✓", "green"),
}


def scan_json(scanned: "Scanned") -> dict[str, Any]:
    """A ScanResult. Every key is always there."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ScanResult",
        "namespace": scanned.namespace,
        "exemptNamespaces": list(scanned.exempt),
        "summary": _counts(scanned.results),
        "pods": sum(result.count for result in scanned.results),
        "images": scanned.images,
        "registryRequests": scanned.registry_requests,
        "elapsedSeconds": round(scanned.seconds, 3),
        "remarks": list(scanned.remarks),
        "workloads": [rejudged_json(result) for result in _ordered(scanned.results)],
    }


def scan_view(scanned: "Scanned") -> RenderableType:
    """A table of all that is not simply well, the worst first; then how much there is of what."""
    shown = [result for result in _ordered(scanned.results) if result.condition is not Condition.GOOD]
    table = Table(box=HORIZONTALS, show_lines=True, expand=True, border_style="dim", header_style="bold")
    table.add_column("Now", no_wrap=True, width=13)
    table.add_column("Workload and images that run", ratio=5, overflow="fold")
    table.add_column("Why, and what to do", ratio=6, overflow="fold")
    for result in shown:
        sign, style = _CONDITIONS[result.condition]
        table.add_row(Text(f"{sign} {result.condition}", f"bold {style}"), _workload(result), _why(result))
    return Group(*([table] if shown else []), _summary(scanned), _extent(scanned))


def _ordered(results: Sequence[Rejudged]) -> list[Rejudged]:
    worst = list(Condition)
    return sorted(results, key=lambda result: (worst.index(result.condition), result.owner, result.key))


def _counts(results: Sequence[Rejudged]) -> dict[str, int]:
    conditions = [result.condition for result in results]
    return {condition.value: conditions.count(condition) for condition in Condition}


def _workload(result: Rejudged) -> Text:
    owner = result.owner
    text = Text(overflow="fold").append(workload_title(owner.kind, owner.namespace, owner.name), "bold")
    pods = f"{result.count} pods, such as {result.pods[0]}" if result.count > 1 else f"pod {result.pods[0]}"
    if owner.kind != "Pod":
        text.append(f"\n{clean(pods, 2 * NAME_CHARS)}", "dim")
    if result.decision.images:
        text.append("\n").append_text(images_text(result.decision.images))
    return text


def _why(result: Rejudged) -> Text:
    parts = [_moved(moved) for moved in result.moved]
    if result.break_glass:
        parts.append(Text(f"let in by {clean(result.break_glass, 2 * NAME_CHARS)}", "magenta"))
    parts += [found] if (found := why_text(result.decision)).plain else []
    return Text("\n").join(parts)


def _moved(moved: MovedTag) -> Text:
    text = Text(moved.reason, style="bold red").append(f"  {clean(moved.written, IMAGE_CHARS)}", "dim")
    text.append(f"\ncontainer {clean(moved.container, NAME_CHARS)}: ", "dim")
    text.append(f"runs {moved.running[:DIGEST_SHOWN]}; {moved.judged[:DIGEST_SHOWN]} was judged when it was let in")
    if moved.decision_id:
        text.append(f" (decision {clean(moved.decision_id, NAME_CHARS)})", "dim")
    return text.append("\n→ ", "green").append("roll it out again, or pin the image by its digest", "green")


def _summary(scanned: "Scanned") -> Text:
    """``1 failing, 0 unknown, …, 12 good``."""
    parts = []
    for condition, count in _counts(scanned.results).items():
        style = f"bold {_CONDITIONS[Condition(condition)][1]}" if count else "dim"
        parts.append(Text(f"{count} {condition}", style))
    return Text(", ").join(parts)


def _extent(scanned: "Scanned") -> Text:
    """Of what, and at which cost."""
    pods = sum(result.count for result in scanned.results)
    within = f"namespace {scanned.namespace}" if scanned.namespace else "all namespaces"
    if scanned.exempt:
        within += f" but {', '.join(scanned.exempt)}"
    counts = f"{len(scanned.results)} workloads of {pods} pods, {scanned.images} images"
    cost = f"{scanned.registry_requests} requests to registries, {scanned.seconds:.0f} s"
    return Text(clean(f"{within}: {counts}; {cost}", 1000), style="dim")
