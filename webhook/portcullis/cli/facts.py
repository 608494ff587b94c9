"""What ``inspect`` shows of an image, from the policy input itself: what is not in it, no policy sees."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.contents import contents_view
from portcullis.cli.evidenceview import evidence_views, table_of
from portcullis.cli.words import SHORT, digest_of, hours_of, plural, size_of
from portcullis.inspection.history import dockerfile
from portcullis.model.contents import ContentsStatus
from portcullis.model.image import BuildStep, UserSource
from portcullis.text import clean

JSON = Mapping[str, Any]


def facts_view(
    written: str, image: JSON, now: datetime, *, every: bool = False, packages: bool = False
) -> RenderableType:
    """The image as a policy sees it (``input.images[written]``), in words.

    Args:
        every: all findings in the layers, not only the first of each class.
        packages: each installed package, not only their number.
    """
    parts: list[RenderableType] = [_head(written, image)]
    if image["platforms"]:
        parts += [_section("Platforms"), _platforms(image["platforms"], now)]
        labels = list(_labels(image["platforms"]))
        if labels:
            parts += [_section("Labels"), Text("\n".join(labels), overflow="fold")]
        for one in image["platforms"]:
            where = f" of {clean(one['platform'], SHORT)}" if len(image["platforms"]) > 1 else ""
            parts += [_section(f"Contents{where}"), contents_view(one, every=every, packages=packages)]
    if image["digest"]:
        for title, view in evidence_views(image):
            parts += [_section(title), view]
    if image["problems"]:
        parts.append(_section("Problems"))
        # What leaves the user unknown leaves the contents unknown as well, and is told once.
        told = {(problem["reason"], problem["msg"]): problem for problem in image["problems"]}
        parts += [_problem(problem) for problem in told.values()]
    return Group(*parts)


def history_view(image: JSON) -> Text:
    """The history of the image as a Dockerfile; once for platforms that have the same."""
    texts: dict[str, list[str]] = {}
    for one in image["platforms"]:
        steps = [
            BuildStep(step["createdBy"], step["emptyLayer"], step["instruction"], step["arguments"], step["layerIndex"])
            for step in one["config"]["history"]
        ]
        texts.setdefault(dockerfile(steps) or "# the image has no history\n", []).append(clean(one["platform"], SHORT))
    parts = [f"# {', '.join(platforms)}\n{text}" if len(texts) > 1 else text for text, platforms in texts.items()]
    return Text("\n".join(parts).rstrip("\n"))


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
    table = table_of("Platform", "Digest", "User", "Created", "Size", "Entrypoint")
    table.columns[2].min_width = len("/etc/passwd)")
    for one in platforms:
        config = one["config"]
        command = [*(config["entrypoint"] or []), *(config["cmd"] or [])]
        table.add_row(
            clean(one["platform"], SHORT),
            digest_of(one["digest"]),
            _user(one["user"], looked=one["contents"]["status"] == ContentsStatus.COMPLETE),
            _age(one["created"], now),
            f"{size_of(one['compressedBytes'])}\n{plural(one['layers'], 'layer')}",
            clean(" ".join(command), SHORT),
        )
    return table


def _user(user: JSON, *, looked: bool) -> Text:
    """``app (uid 1000, by /etc/passwd)``, and what that means.

    Args:
        looked: whether names were looked up in the image.
    """
    raw = clean(str(user["raw"]), SHORT) or "(no USER)"
    if user["source"] == UserSource.PASSWD and user["uid"] is not None:
        raw = f"{raw} (uid {user['uid']}, by /etc/passwd)"
    unknown = "may be root: /etc/passwd has no such name" if looked else "may be root: a name, not looked up"
    said, style = {True: ("root", "bold red"), False: ("not root", "green")}.get(user["root"], (unknown, "yellow"))
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


def _problem(problem: JSON) -> Text:
    text = Text("  ").append(clean(problem["reason"], SHORT), "bold yellow")
    return text.append(f"  {clean(problem['msg'], 1000)}")


def _age(created: str | None, now: datetime) -> str:
    if created is None:
        return "(not said)"
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return clean(created, SHORT)
    return f"{moment:%Y-%m-%d}\n{hours_of((now - moment).total_seconds() / 3600)} ago"
