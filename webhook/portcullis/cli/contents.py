"""What ``inspect`` shows of the layers of one platform, from the policy input itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.box import HORIZONTALS
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.words import HEX_SHOWN, SHORT, plural, size_of
from portcullis.model.contents import ContentsStatus, FindingClass
from portcullis.text import clean

JSON = Mapping[str, Any]

FIRST: Final = 10
"""Findings of one class that are shown without --all."""

_CLASSES: Final[Mapping[str, str]] = {
    FindingClass.SECRETS: "secrets",
    FindingClass.SETUID: "setuid or capabilities",
    FindingClass.WORLD_WRITABLE: "writable by everybody",
    "libcMismatches": "built for another C library",
    FindingClass.SHELLS: "shells",
    FindingClass.PACKAGE_MANAGERS: "package managers",
    FindingClass.BUILD_TOOLS: "build tools",
    FindingClass.DOWNLOAD_TOOLS: "download tools",
    FindingClass.INTERPRETERS: "interpreters",
    FindingClass.VCS: "version control",
    FindingClass.CACHES: "caches",
    FindingClass.TESTS: "tests",
}
"""The lists of ``contents`` in the order in which they are shown, the worst first."""

_WRITABLE: Final = "application files that the user may change"
_FOREIGN: Final = "application files of others"
_BY_MODE: Final = frozenset({_CLASSES[FindingClass.SETUID], _CLASSES[FindingClass.WORLD_WRITABLE], _WRITABLE, _FOREIGN})
"""Those whose findings are what they are by mode and owner."""

_NOT_COMPLETE: Final[Mapping[str, str]] = {
    ContentsStatus.PENDING: "not known yet: the layers are still being looked into",
    ContentsStatus.UNAVAILABLE: "not known: the layers could not be looked into (see Problems)",
    ContentsStatus.SKIPPED: "not known: the layers were not looked into",
}


def contents_view(platform: JSON, *, every: bool, packages: bool) -> RenderableType:
    """What lies in the layers of one of ``input.images[written].platforms``.

    Args:
        every: all findings of a class, not only the first of them.
        packages: each installed package, not only their number.
    """
    contents = platform["contents"]
    parts: list[RenderableType] = [_overview(platform)]
    if platform["layerList"]:
        parts += [Text(""), _layers(platform)]
    if contents["status"] != ContentsStatus.COMPLETE:
        return Group(*parts)
    parts += [Text(""), *_findings(platform, every)]
    if packages and contents["packages"]:
        parts += [Text(""), _packages(contents["packages"])]
    return Group(*parts)


def _overview(platform: JSON) -> Table:
    contents = platform["contents"]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    if contents["status"] != ContentsStatus.COMPLETE:
        status = _NOT_COMPLETE.get(contents["status"], clean(contents["status"], SHORT))
        grid.add_row("contents", Text(status, "bold yellow"))
        return grid
    grid.add_row("system", _system(contents["os"]))
    grid.add_row("files", f"{_number(contents['files'])}, {size_of(contents['bytes'])} when merged")
    for name, words in _application(contents["application"]):
        grid.add_row(name, words)
    packages = contents["packages"]
    known = Text(_counted(packages)) if packages is not None else Text("not known (see Problems)", "yellow")
    grid.add_row("packages", known)
    return grid


def _system(system: JSON) -> Text:
    named = system["name"] or " ".join(part for part in (system["id"], system["versionId"]) if part)
    text = Text(clean(named, SHORT) if named else "no os-release")
    libc = {"": "no C library", "both": "glibc and musl"}.get(system["libc"], clean(system["libc"] or "", SHORT))
    text.append(f"; {libc}")
    if system["distroless"]:
        return text.append("; distroless", "green")
    return text.append("; not distroless")


def _application(application: JSON | None) -> Iterator[tuple[str, Text]]:
    if application is None or not (application["files"] or application["roots"]):
        yield "application", Text("none found", "dim")
        return
    roots = ", ".join(clean(root, SHORT) for root in application["roots"])
    yield "application", Text(f"{plural(application['files'], 'file')} in {roots or '(no folder)'}")
    owners = [
        f"{_number(application[key])} of {whom}"
        for key, whom in (("ownedByRoot", "root"), ("ownedByUser", "the user"), ("ownedByOthers", "others"))
        if application[key]
    ]
    text = Text(", ".join(owners))
    if application["rewrittenBytes"]:
        text.append(f"; {size_of(application['rewrittenBytes'])} held twice to change owner or mode", "yellow")
    if text:
        yield "owned by", text


def _counted(packages: Sequence[JSON]) -> str:
    counts: dict[str, int] = {}
    for package in packages:
        counts[package["manager"]] = counts.get(package["manager"], 0) + 1
    return ", ".join(f"{clean(manager, SHORT)} {_number(count)}" for manager, count in counts.items()) or "none"


# -- layers -----------------------------------------------------------------------------------------------------


def _layers(platform: JSON) -> Table:
    """Each layer on one line, with the line of the history that made it."""
    looked = platform["contents"]["layers"]
    table = _table(expand=True)
    table.add_column("Layer", justify="right")
    table.add_column("Digest", no_wrap=True)
    table.add_column("Pulled", justify="right", no_wrap=True)
    if looked:
        table.add_column("Unpacked", justify="right", no_wrap=True)
        table.add_column("Files", justify="right", no_wrap=True)
    table.add_column("Made by", no_wrap=True, overflow="ellipsis", ratio=1)
    for index, layer in enumerate(platform["layerList"]):
        inside = [size_of(looked[index]["bytes"]), _number(looked[index]["files"])] if looked else []
        made_by = _instruction(platform, index)
        table.add_row(
            str(index),
            layer["digest"].partition(":")[2][:HEX_SHOWN],
            size_of(layer["compressedBytes"]),
            *inside,
            made_by,
        )
    return table


def _instruction(platform: JSON, layer: int) -> Text:
    """The instruction that made a layer; its line as it stands where no instruction is known."""
    for step in platform["config"]["history"]:
        if step["layerIndex"] == layer:
            written = f"{step['instruction']} {step['arguments']}" if step["instruction"] else step["createdBy"]
            return Text(clean(written, SHORT))
    return Text("(the history does not say)", "dim")


# -- findings ---------------------------------------------------------------------------------------------------


def _findings(platform: JSON, every: bool) -> Iterator[RenderableType]:
    contents = platform["contents"]
    application = contents["application"] or {"writable": [], "foreign": []}
    lists: dict[str, Sequence[JSON]] = {words: contents[name] for name, words in _CLASSES.items()}
    lists |= {_WRITABLE: application["writable"], _FOREIGN: application["foreign"]}
    table = _table(expand=True)
    table.add_column("Found", overflow="fold", ratio=5)
    table.add_column("What", overflow="fold", ratio=3)
    table.add_column("Layer", justify="right")
    table.add_column("Made by", no_wrap=True, overflow="ellipsis", ratio=4)
    for words, findings in lists.items():
        if findings:
            table.add_row(Text(f"{words} ({_number(len(findings))})", "bold"))
            shown = findings if every else findings[:FIRST]
            for row in _rows(platform, shown, by_mode=words in _BY_MODE):
                table.add_row(*row)
            if len(findings) > len(shown):
                table.add_row(Text(f"  … {_number(len(findings) - len(shown))} more (--all)", "dim"))
    if table.row_count:
        yield table
    nothing = [words for words, findings in lists.items() if not findings]
    if nothing:
        yield Text(f"None: {', '.join(nothing)}.", "dim")


def _rows(platform: JSON, findings: Sequence[JSON], *, by_mode: bool) -> Iterator[tuple[Text, Text, str, Text]]:
    """A line for each finding; what made the layer is said once for those that follow one another."""
    above = None
    for finding in findings:
        layer = finding["layerIndex"]
        what = Text(clean(finding["what"], SHORT))
        if by_mode:
            what.append(f" {finding['mode']} {finding['uid']}:{finding['gid']}", "dim")
        made_by = Text("") if layer == above else _instruction(platform, layer)
        yield _path(finding), what, str(layer), made_by
        above = layer


def _path(finding: JSON) -> Text:
    path = Text("  ").append(clean(finding["path"], 1000) or "(in the history)")
    if finding["count"] > 1:
        path.append(f" ({_number(finding['count'])} files)", "dim")
    if finding["deleted"]:
        path.append(" (deleted later, still in the layer)", "yellow")
    return path


def _packages(packages: Sequence[JSON]) -> Table:
    table = _table()
    for column in ("Package", "Version", "Architecture", "Manager"):
        table.add_column(column, overflow="fold")
    table.add_column("Layer", justify="right")
    for one in packages:
        names = (one["name"], one["version"], one["architecture"], one["manager"])
        table.add_row(*(clean(name, SHORT) for name in names), str(one["layerIndex"]))
    return table


def _table(*, expand: bool = False) -> Table:
    """
    Args:
        expand: over the whole width; columns with a ratio share what the others leave.
    """
    return Table(box=HORIZONTALS, border_style="dim", header_style="bold", pad_edge=False, expand=expand)


def _number(count: int) -> str:
    return f"{count:,}"
