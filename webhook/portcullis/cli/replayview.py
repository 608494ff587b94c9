"""What a replay found, as something to read and as JSON."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.box import HORIZONTALS
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.decisions import IMAGE_CHARS, NAME_CHARS, verdict_text, workload_title
from portcullis.cli.output import API_VERSION
from portcullis.model.decision import Verdict
from portcullis.model.record import RecordFilter
from portcullis.model.ruling import Mode
from portcullis.server.replay import Progress
from portcullis.server.tally import Flip, Tally
from portcullis.text import clean
from portcullis.times import rfc3339

SHOWN = 20
"""Flips in the table; JSON has all that are kept."""
TOP = 10
"""Names in each count of the table."""


def progress_text(now: Progress) -> str:
    """``1,200 of 100,000 decisions, 870 a second, 1 min 54 s left``."""
    return f"{now.done:,} of {now.total:,} decisions, {now.rate:,.0f} a second, {_duration(now.left)} left"


def tally_json(tally: Tally, took: Progress, query: RecordFilter, revision: str) -> dict[str, Any]:
    """All of it; ``policyRevision`` is that of the draft, "" where each record was judged by its own."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Replay",
        "policyRevision": revision,
        "since": rfc3339(query.since) if query.since is not None else None,
        "until": rfc3339(query.until) if query.until is not None else None,
        "namespace": query.namespace,
        "summary": {
            "records": tally.records,
            "same": tally.same,
            "flipped": tally.flipped,
            "inexact": sum(one.count for one in tally.inexact.values()),
        },
        "flips": [
            {"from": before.value, "to": after.value, "count": number}
            for (before, after), number in tally.flips.most_common()
        ],
        "byPolicy": _counts(tally.by_policy, "policy"),
        "byNamespace": _counts(tally.by_namespace, "namespace"),
        "byImage": _counts(tally.by_image, "image"),
        "decisions": [_flip_json(flip) for flip in tally.listed],
        "violations": {
            "otherwise": tally.otherwise,
            "new": _modes(tally.more),
            "gone": _modes(tally.less),
        },
        "inexact": [
            {"reason": reason, "count": one.count, "examples": one.examples, "details": _counts(one.details, "detail")}
            for reason, one in sorted(tally.inexact.items(), key=lambda entry: -entry[1].count)
        ],
        "rulings": {"evaluated": tally.evaluated, "takenOver": tally.taken_over},
        "elapsedMs": round(took.seconds * 1000, 1),
        "perSecond": round(took.rate, 1),
    }


def _counts(counter: Counter[str], name: str) -> list[dict[str, Any]]:
    return [{name: key, "count": number} for key, number in counter.most_common()]


def _modes(counter: Counter[tuple[str, Mode]]) -> list[dict[str, Any]]:
    return [{"policy": policy, "mode": mode.value, "count": number} for (policy, mode), number in counter.most_common()]


def _flip_json(flip: Flip) -> dict[str, Any]:
    return {
        "id": flip.decision,
        "sequence": flip.sequence,
        "decidedAt": rfc3339(flip.decided_at),
        "kind": flip.kind,
        "namespace": flip.namespace,
        "name": flip.name,
        "user": flip.username,
        "from": flip.before.value,
        "to": flip.after.value,
        "policies": list(flip.policies),
        "images": list(flip.images),
    }


def tally_view(tally: Tally, took: Progress, *, violations: bool) -> RenderableType:
    """The account of ``replay``."""
    parts: list[RenderableType] = [_headline(tally, took)]
    if tally.flipped:
        parts += [_flips(tally.flips.most_common()), _listed(tally)]
        for title, counter in (
            ("policy", tally.by_policy),
            ("namespace", tally.by_namespace),
            ("image", tally.by_image),
        ):
            parts.append(_top(title, ((key, number) for key, number in counter.most_common())))
    if violations:
        parts += _violations(tally)
    if tally.inexact:
        parts.append(_inexact(tally))
    return Group(*parts)


def _headline(tally: Tally, took: Progress) -> Text:
    exact = tally.same + tally.flipped
    text = Text.assemble(
        (f"{tally.flipped:,}", "bold"),
        f" of {exact:,} decisions would be others",
        (f"  ({took.rate:,.0f} a second, {_duration(took.seconds)})", "dim"),
    )
    rulings = f"\n{tally.evaluated:,} rulings of policies evaluated"
    if tally.taken_over:
        rulings += f", {tally.taken_over:,} taken over that could be no others (--all evaluates them)"
    text.append(rulings, "dim")
    inexact = tally.records - exact
    if inexact:
        text.append(f"\n{inexact:,} more cannot be judged again and are left out", "yellow")
    return text


def _flips(flips: Iterable[tuple[tuple[Verdict, Verdict], int]]) -> Text:
    text = Text()
    for (before, after), number in flips:
        text.append("\n" if text else "").append(f"{number:>9,}  ")
        text.append(verdict_text(before)).append(" -> ").append(verdict_text(after))
    return text


def _listed(tally: Tally) -> Table:
    table = Table(box=HORIZONTALS, expand=True, border_style="dim", header_style="bold", pad_edge=False)
    table.add_column("When (UTC)", width=19)
    table.add_column("Would be", no_wrap=True, width=11)
    table.add_column("Workload, and who asked", ratio=5, overflow="fold")
    table.add_column("By", ratio=4, overflow="fold")
    table.add_column("Decision", no_wrap=True, width=8, style="dim")
    for flip in tally.listed[:SHOWN]:
        asked = Text(workload_title(flip.kind, flip.namespace, flip.name), overflow="fold")
        asked.append(f"\n{clean(flip.username, NAME_CHARS)}", "dim")
        table.add_row(
            f"{flip.decided_at:%Y-%m-%d %H:%M:%S}",
            verdict_text(flip.after),
            asked,
            ", ".join(clean(policy, NAME_CHARS) for policy in flip.policies),
            flip.decision[:8],
        )
    if tally.flipped > SHOWN:
        table.caption = f"the newest {min(SHOWN, len(tally.listed))} of {tally.flipped:,}; -o json has more"
    return table


def _top(title: str, counts: Iterable[tuple[str, int]]) -> Text:
    entries = list(counts)
    text = Text(f"By {title}", style="bold")
    for key, number in entries[:TOP]:
        text.append(f"\n{number:>9,}  {clean(key, IMAGE_CHARS) or '(none)'}", "not bold")
    if len(entries) > TOP:
        text.append(f"\n           … and {len(entries) - TOP:,} more", "not bold dim")
    return text


def _violations(tally: Tally) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(f"The violations of {tally.otherwise:,} decisions would be others", style="bold")
    ]
    for word, counter in (("new", tally.more), ("gone", tally.less)):
        for (policy, mode), number in counter.most_common(TOP):
            parts.append(Text(f"{number:>9,}  {word}: {clean(policy, NAME_CHARS)} ({mode.value})"))
    return parts


def _inexact(tally: Tally) -> Text:
    text = Text("Left out, because they cannot be judged again", style="bold")
    for reason, one in sorted(tally.inexact.items(), key=lambda entry: -entry[1].count):
        text.append(f"\n{one.count:>9,}  {reason}", "not bold")
        for detail, _ in one.details.most_common(3):
            text.append(f"\n           {clean(detail, IMAGE_CHARS)}", "not bold dim")
        text.append(f"\n           such as {', '.join(example[:8] for example in one.examples[:3])}", "not bold dim")
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:,} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"
