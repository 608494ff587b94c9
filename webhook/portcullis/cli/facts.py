"""What ``inspect`` shows of an image, from the policy input itself: what is not in it, no policy sees."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.box import HORIZONTALS
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.text import clean

SHORT = 300
DIGEST_SHOWN = len("sha256:") + 12
_SEVERITIES = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "",
    "negligible": "",
    "unknown": "yellow",
}

JSON = Mapping[str, Any]


def facts_view(written: str, image: JSON, now: datetime) -> RenderableType:
    """The image as a policy sees it (``input.images[written]``), in words."""
    parts: list[RenderableType] = [_head(written, image)]
    if image["platforms"]:
        parts += [_section("Platforms"), _platforms(image["platforms"], now)]
        labels = list(_labels(image["platforms"]))
        if labels:
            parts += [_section("Labels"), Text("\n".join(labels), overflow="fold")]
    if image["digest"]:
        parts += [_section("Attestations"), _attestations(image["attestations"])]
        if image["scans"]:
            parts += [_section("Scans"), _scans(image["scans"])]
    if image["problems"]:
        parts.append(_section("Problems"))
        parts += [_problem(problem) for problem in image["problems"]]
    return Group(*parts)


def _head(written: str, image: JSON) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("written", clean(written, SHORT))
    grid.add_row("reference", clean(str(image["reference"] or "(none)"), SHORT))
    grid.add_row("digest", str(image["digest"] or "(not resolved)"))
    kind = "an index of several platforms" if image["isIndex"] else "a single image"
    if image["digest"]:
        grid.add_row("kind", kind)
    return grid


def _section(title: str) -> Text:
    return Text(f"\n{title}", style="bold")


def _platforms(platforms: Sequence[JSON], now: datetime) -> Table:
    table = _table("Platform", "Digest", "User", "Created", "Size", "Entrypoint")
    for one in platforms:
        config = one["config"]
        command = [*(config["entrypoint"] or []), *(config["cmd"] or [])]
        table.add_row(
            clean(one["platform"], SHORT),
            f"{one['digest'][:DIGEST_SHOWN]}…",
            _user(one["user"]),
            _age(one["created"], now),
            f"{_size(one['compressedBytes'])}\n{_plural(one['layers'], 'layer')}",
            clean(" ".join(command), SHORT),
        )
    return table


def _user(user: JSON) -> Text:
    raw = clean(str(user["raw"]), SHORT) or "(no USER)"
    said, style = {True: ("root", "bold red"), False: ("not root", "green")}.get(
        user["root"], ("may be root: a name, not looked up", "yellow")
    )
    return Text(f"{raw}\n").append(said, style)


def _labels(platforms: Sequence[JSON]) -> Iterator[str]:
    """Each label once; those of several platforms that differ are told apart by the platform."""
    seen: dict[tuple[str, str], list[str]] = {}
    for one in platforms:
        for key, value in (one["config"]["labels"] or {}).items():
            seen.setdefault((key, value), []).append(one["platform"])
    for (key, value), where in sorted(seen.items()):
        place = f"  ({clean(', '.join(where), SHORT)})" if len(where) != len(platforms) else ""
        yield f"  {clean(key, SHORT)}={clean(value, SHORT)}{place}"


def _attestations(attestations: Sequence[JSON]) -> RenderableType:
    if not attestations:
        return Text("  none is attached", style="dim")
    table = _table("Verdict", "What", "Signer", "Why not")
    for one in attestations:
        verdict = Text("✓ verified", style="green") if one["verified"] is True else Text("✗ rejected", style="red")
        signer = one["signer"]["name"] if one["signer"] else ""
        why = Text(clean(one["reason"] or "", SHORT), style="bold")
        if one["message"]:
            why.append(f"\n{clean(one['message'], SHORT)}", "not bold")
        what = Text(clean(one["predicateClass"] or "", SHORT))
        what.append(f"\n{clean(one['predicateType'] or 'of an unknown type', SHORT)}", "dim")
        what.append(f"\n{one['digest'][:DIGEST_SHOWN]}…", "dim")
        table.add_row(verdict, what, clean(signer, SHORT), why)
    return table


def _scans(scans: Sequence[JSON]) -> Table:
    table = _table("Scanner", "Platform", "Scanned", "Signer", "Findings")
    for one in scans:
        scanner = f"{one['scanner']['name']} {one['scanner']['version'] or ''}"
        age = f"{_hours(one['ageHours'])} ago" if one["ageHours"] is not None else "(no time)"
        signer = one["signer"]["name"] if one["signer"] else ""
        table.add_row(
            clean(scanner, SHORT),
            clean(one["platform"] or "(not said)", SHORT),
            age,
            clean(signer, SHORT),
            _findings(one),
        )
    return table


def _findings(scan: JSON) -> Text:
    counts = scan["counts"]
    parts = [
        Text(f"{counts[severity]} {severity}", style) for severity, style in _SEVERITIES.items() if counts.get(severity)
    ]
    text = Text(", ").join(parts) if parts else Text("none", style="green")
    if counts.get("fixable"):
        text.append(f"; {counts['fixable']} can be fixed", "not bold")
    if scan["suppressed"]:
        text.append(f"; {scan['suppressed']} suppressed", "yellow")
    if scan["complete"] is not True:
        text.append("; incomplete", "bold yellow")
    return text


def _problem(problem: JSON) -> Text:
    text = Text("  ").append(clean(problem["reason"], SHORT), "bold yellow")
    return text.append(f"  {clean(problem['msg'], 1000)}")


def _table(*columns: str) -> Table:
    table = Table(box=HORIZONTALS, border_style="dim", header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _age(created: str | None, now: datetime) -> str:
    if created is None:
        return "(not said)"
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return clean(created, SHORT)
    return f"{moment:%Y-%m-%d}\n{_hours((now - moment).total_seconds() / 3600)} ago"


def _hours(hours: float) -> str:
    """``3 hours``, ``12 days``."""
    if abs(hours) < 48:
        return _plural(round(hours), "hour")
    return _plural(round(hours / 24), "day")


def _plural(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
