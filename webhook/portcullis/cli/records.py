"""Audit records as something to read."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo

from rich.box import HORIZONTALS
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from portcullis.cli.decisions import (
    IMAGE_CHARS,
    MESSAGE_CHARS,
    NAME_CHARS,
    grants_text,
    verdict_text,
    why_text,
    workload_title,
)
from portcullis.model.decision import Decision, Verdict
from portcullis.model.record import AuditRecord, ChainPlace
from portcullis.server.review.decisiondiff import Change, difference
from portcullis.text import clean
from portcullis.times import rfc3339

ROOMY = 100
"""Columns from which on date and time stand side by side."""


def records_table(records: Sequence[AuditRecord], width: int, zone: tzinfo | None = UTC) -> Table:
    """The table of ``audit list``. Where ``width`` is scarce the time goes below the date, so that names of policies
    and people stay whole.

    Args:
        zone: of the times; None: that of this machine. Its offset stands in the head of the column; where the records
            lie in summer and winter, beside each time.
    """
    moments = [record.decision.decided_at.astimezone(zone) for record in records]
    offsets = {_offset(moment) for moment in moments}
    one = len(offsets) == 1
    table = Table(box=HORIZONTALS, expand=True, border_style="dim", header_style="bold", pad_edge=False)
    table.add_column(f"When ({offsets.pop()})" if one else "When", width=19 if width >= ROOMY else 10)
    table.add_column("Verdict", no_wrap=True, width=11)
    table.add_column("Workload, and who asked", ratio=5, overflow="fold")
    table.add_column("Why", ratio=4, overflow="fold")
    table.add_column("Decision", no_wrap=True, width=8, style="dim")
    for record, moment in zip(records, moments, strict=True):
        claimed = "who says to be " if record.sampled else ""
        asked = _title(record).append(f"\n{claimed}{clean(_short_user(record.username), NAME_CHARS)}", "dim")
        table.add_row(
            f"{moment:%Y-%m-%d %H:%M:%S}" + ("" if one else f" {_offset(moment)}"),
            verdict_text(record.decision.verdict),
            asked,
            reasons_text(record.decision),
            record.decision.id[:8],
        )
    return table


def reasons_text(decision: Decision) -> Text:
    """In few words: the policies that refuse, else why facts are missing, else why it was admitted."""
    refusing = _names(violation.policy for violation in decision.violations if violation.refuses)
    if refusing:
        return Text(refusing)
    if decision.verdict is not Verdict.ADMITTED:
        return Text(_names(problem.reason for problem in decision.problems))
    words = [] if decision.because == "judged" else [decision.because.value]
    warned = _names(violation.policy for violation in decision.violations)
    if warned:
        words.append(f"{warned} (not enforced)")
    missing = _names(problem.reason for problem in decision.problems)
    if missing:
        words.append(f"{missing} (not enforced)")
    return Text("; ".join(words), style="dim")


def _offset(moment: datetime) -> str:
    """``UTC``, ``UTC+01:00``, ``UTC-03:30``."""
    offset = f"{moment:%z}"
    return "UTC" if offset in ("", "+0000") else f"UTC{offset[:3]}:{offset[3:5]}"


def _exactly(moment: datetime, zone: tzinfo | None) -> str:
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S.%f} {_offset(local)}"


def record_view(record: AuditRecord, *, place: ChainPlace | None = None, zone: tzinfo | None = UTC) -> RenderableType:
    """The account of ``audit show``. ``place`` is where the record stands in its chain, ``zone`` that of the times."""
    decision = record.decision
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(record, zone):
        facts.add_row(name, value)
    if place is not None:
        facts.add_row("chain", f"{place.position} of {place.chain}, written by {clean(place.replica, NAME_CHARS)}")
        facts.add_row("hash", place.hash)
    parts: list[RenderableType] = [_headline(record), Text(""), facts]
    if decision.images:
        parts += [Text("\nImages", style="bold"), Padding(_images_in_full(decision), (0, 0, 0, 2))]
    why = why_text(decision)
    if why:
        parts += [Text("\nWhy", style="bold"), Padding(why, (0, 0, 0, 2))]
    if decision.grants:
        parts += [Text("\nBreak-glass", style="bold"), Padding(grants_text(decision.grants), (0, 0, 0, 2))]
    if decision.warnings:
        warnings = Text("\n".join(clean(warning, IMAGE_CHARS) for warning in decision.warnings))
        parts += [Text("\nWarnings shown to the requester", style="bold"), Padding(warnings, (0, 0, 0, 2))]
    if decision.timings:
        spent = "  ".join(f"{stage} {milliseconds:.1f}" for stage, milliseconds in decision.timings.items())
        parts += [Text("\nMilliseconds", style="bold"), Padding(Text(spent), (0, 0, 0, 2))]
    parts.append(Text(f"\nThe judged input: portcullis audit show {decision.id} -o json", style="dim"))
    return Group(*parts)


def previous_view(record: AuditRecord, before: AuditRecord | None, zone: tzinfo | None = UTC) -> RenderableType:
    """What ``record`` says otherwise than ``before``, the decision before it on the same workload."""
    if before is None:
        return Text("\nNo decision on the same workload came before it.", style="dim")
    changed = difference(before.decision, record.decision)
    text = Text(overflow="fold")
    text.append("\nSince the previous decision", "bold")
    text.append(f"\n  {before.decision.id}, {_exactly(before.decision.decided_at, zone)}", "dim")
    if changed.before != changed.after:
        text.append(f"\n  {changed.before.word} → {changed.after.word}")
    for what, was, now in (
        ("asked by", before.username, record.username),
        ("policies", before.decision.policy_revision, record.decision.policy_revision),
        ("config", before.decision.config_revision, record.decision.config_revision),
    ):
        if was != now:
            text.append(f"\n  {what}: {clean(was, NAME_CHARS) or '(none)'} → {clean(now, NAME_CHARS) or '(none)'}")
    for change in (*changed.violations, *changed.undecided, *changed.images):
        text.append_text(_change(change))
    if changed.more:
        text.append(f"\n  and {changed.more} more", "dim")
    if changed.nothing:
        text.append("\n  the same answer for the same reasons", "dim")
    return text


_FATES: Mapping[str, tuple[str, str]] = {"new": ("+", "red"), "gone": ("-", "green"), "changed": ("~", "yellow")}


def _change(change: Change) -> Text:
    sign, style = _FATES[change.fate]
    where = f" ({clean(change.where, NAME_CHARS)})" if change.where else ""
    text = Text(f"\n  {sign} {clean(change.name, IMAGE_CHARS)}{where}: ", style)
    said = [clean(words, MESSAGE_CHARS) for words in (change.before, change.after) if words]
    return text.append(" → ".join(said), "default")


def _headline(record: AuditRecord) -> Text:
    return Text.assemble(verdict_text(record.decision.verdict), "  ", (_title(record).plain, "bold"))


def _facts(record: AuditRecord, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    decision = record.decision
    groups = ", ".join(clean(group, NAME_CHARS) for group in record.groups)
    who = clean(record.username, NAME_CHARS) or "(nobody named)"
    yield "decision", decision.id
    yield "when", _exactly(decision.decided_at, zone)
    yield "who", f"{who}  ({groups})" if groups else who
    resource = clean(record.resource, NAME_CHARS) + (f"/{record.sub_resource}" if record.sub_resource else "")
    yield "what", clean(f"{record.operation} {resource} ({record.api_version})", 2 * NAME_CHARS)
    if record.dry_run:
        yield "dry run", "yes: nothing was stored in the cluster"
    yield "answer", f"{decision.code}, {decision.because}, after {decision.elapsed_ms:.1f} ms"
    yield "request", clean(record.uid, NAME_CHARS)
    yield "sent by", _CALLERS.get(record.caller.value, record.caller.value)
    yield "policies", decision.policy_revision or "(none)"
    yield "config", decision.config_revision or "(none)"
    yield "webhook", clean(record.webhook_version, NAME_CHARS)


_CALLERS = {
    "certificate": "the API server, by its client certificate",
    "path": "the API server, by the secret path",
    "unverified": "unverified: anybody who reaches the webhook could have sent it",
    "local": "a command on this machine",
}


def _images_in_full(decision: Decision) -> Text:
    text = Text(overflow="fold")
    for image in decision.images:
        text.append("\n" if text else "").append(clean(image.written, IMAGE_CHARS))
        if not image.digest or image.digest not in image.written:
            text.append(f"\n  {image.digest or 'not resolved'}", "dim")
        if image.stale_since is not None:
            text.append(
                f"\n  as its registry said at {rfc3339(image.stale_since, 'seconds')}: it could not be asked", "yellow"
            )
    return text


def _title(record: AuditRecord) -> Text:
    text = Text(workload_title(record.kind, record.namespace, record.name), overflow="fold")
    marks = [record.operation.lower()] if record.operation != "CREATE" else []
    if record.sub_resource:
        marks.append(clean(record.sub_resource, NAME_CHARS))
    if record.dry_run:
        marks.append("dry run")
    return text.append(f" ({', '.join(marks)})", "dim") if marks else text


def _short_user(username: str) -> str:
    """Service accounts without their common prefix."""
    return username.removeprefix("system:serviceaccount:")


def _names(names: Iterator[str]) -> str:
    return ", ".join(clean(name, NAME_CHARS) for name in dict.fromkeys(names))
