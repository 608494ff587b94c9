"""The table of the demo: what was asked, what was answered, why, how fast."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import HORIZONTALS
from rich.table import Table
from rich.text import Text

from portcullis.cli.decisions import verdict_text, workload_title
from portcullis.cli.demo.scenario import Case
from portcullis.cli.output import API_VERSION
from portcullis.text import clean

LINE_CHARS = 1000
IMAGE_CHARS = 300
DIGITS_SHOWN = 12

_LEAD = re.compile(r"^\[([a-z0-9-]+)\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """The AdmissionReview that came back, ``milliseconds`` after it was asked for, over TLS."""

    case: Case
    response: dict[str, Any]
    because: str
    milliseconds: float

    @property
    def verdict(self) -> str:
        return str(self.response.get("auditAnnotations", {}).get("verdict", ""))

    @property
    def code(self) -> int:
        return 200 if self.response.get("allowed") is True else int(self.response.get("status", {}).get("code", 0))

    @property
    def message(self) -> str:
        return str(self.response.get("status", {}).get("message", ""))

    @property
    def warnings(self) -> list[str]:
        return [str(line) for line in self.response.get("warnings", [])]


def answers_table(answers: Sequence[Answer]) -> Table:
    """One row per answer. Images are named on the left only, though the refusal names them as well."""
    table = Table(
        box=HORIZONTALS, show_lines=True, expand=True, border_style="dim", header_style="bold", pad_edge=False
    )
    table.add_column("Asked for", ratio=5, min_width=38, overflow="fold")
    table.add_column("Verdict", no_wrap=True, width=11)
    table.add_column("Why, and what to do", ratio=6, overflow="fold")
    table.add_column("ms", no_wrap=True, justify="right", width=4)
    for answer in answers:
        verdict = verdict_text(answer.verdict, answer.because)
        if answer.code != 200:
            verdict.append(f"\n  {answer.code}", "dim")
        table.add_row(_asked(answer.case), verdict, _why(answer), f"{answer.milliseconds:.0f}")
    return table


def answers_json(answers: Sequence[Answer], found: Sequence[str]) -> dict[str, Any]:
    """The same for programs; ``found`` are the differences from what was expected."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DemoResult",
        "answers": [_answer_json(answer) for answer in answers],
        "differences": list(found),
    }


def _answer_json(answer: Answer) -> dict[str, Any]:
    request = answer.case.review["request"]
    return {
        "case": answer.case.name,
        "operation": request["operation"],
        "kind": request["kind"]["kind"],
        "namespace": request["namespace"],
        "name": request["name"],
        "images": images_of(request["object"]),
        "verdict": answer.verdict,
        "code": answer.code,
        "because": answer.because,
        "message": answer.message,
        "warnings": answer.warnings,
        "elapsedMs": round(answer.milliseconds, 3),
    }


def _asked(case: Case) -> Text:
    request = case.review["request"]
    text = Text(overflow="fold")
    text.append(workload_title(request["kind"]["kind"], request["namespace"], request["name"]), "bold")
    if marks := _marks(request):
        text.append(f" ({', '.join(marks)})")
    text.append(f"\n{case.asks}", "italic")
    for image in images_of(request["object"]):
        name, at, digest = image.partition("@sha256:")
        text.append(f"\n{clean(name, IMAGE_CHARS)}", "cyan")
        if at:
            text.append(f"\n  @sha256:{digest[:DIGITS_SHOWN]}…", "dim cyan")
    return text


def _marks(request: dict[str, Any]) -> list[str]:
    marks = [] if request["operation"] == "CREATE" else [str(request["operation"]).lower()]
    if request.get("subResource"):
        marks.append(str(request["subResource"]))
    if request["dryRun"]:
        marks.append("dry run")
    return marks


def images_of(obj: object) -> list[str]:
    """The images that an object names, each once: found by their keys, without the gate's help."""
    found: dict[str, None] = {}
    waiting = [obj]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, dict):
            named = [node.get("image"), node.get("reference")]
            found.update(dict.fromkeys(text for text in named if isinstance(text, str) and text))
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return list(found)


def _why(answer: Answer) -> Text:
    images = images_of(answer.case.review["request"]["object"])
    text = Text(overflow="fold")
    for line in _reasons(answer.message):
        _append(text, _without(line, images), "bold red" if answer.code == 403 else "bold yellow")
    if answer.code == 200:
        for line in answer.warnings:
            _append(text, _without(line, images), "bold yellow", "warning ")
    elif answer.warnings:
        names = ", ".join(dict.fromkeys(_LEAD.findall("\n".join(answer.warnings))))
        text.append(f"\nand warns: {clean(names, LINE_CHARS)}", "dim")
    if not text:
        text.append("nothing to say against it", "dim")
    return text


def _reasons(message: str) -> list[str]:
    """The lines of a refusal between its headline and the decision's id."""
    return [line for line in message.splitlines()[1:] if not line.startswith("Decision ")]


def _without(line: str, images: Sequence[str]) -> str:
    """``line`` without the images, which stand beside it."""
    for image in images:
        line = line.replace(f" ({image})", "").replace(f" image {image}:", "")
    return line


def _append(text: Text, line: str, style: str, before: str = "") -> None:
    text.append("\n" if text else "")
    lead, end, rest = clean(line, LINE_CHARS).partition("] ")
    if end:
        text.append(f"{before}{lead.removeprefix('[')}", style).append(f"  {rest}")
    else:
        text.append(line, "dim")
