"""The documented JSON of a decision, and the table that people read."""

import io
import json
from dataclasses import replace

import jsonschema
import pytest
from rich.console import Console

from fakes.decisions import DIGEST, GRANT, VIOLATION, decision, judged, let_in, refused, undecided, unreadable
from portcullis.cli.decisions import decisions_table, judged_json, summary, summary_text
from portcullis.cli.sarif import sarif
from portcullis.model.decision import Because, JudgedImage, UndecidedPolicy
from portcullis.model.ruling import Mode

TEXT = {"type": "string"}
MODE = {"enum": ["deny", "warn", "audit"]}
PROBLEM = {
    "type": "object",
    "required": ["stage", "reason", "retryable", "pending", "image", "msg"],
    "additionalProperties": False,
    "properties": {
        "stage": TEXT,
        "reason": TEXT,
        "retryable": {"type": "boolean"},
        "pending": {"type": "boolean"},
        "image": TEXT,
        "msg": TEXT,
    },
}
VIOLATION_KEYS = [
    "policy", "mode", "severity", "container", "containerKind", "image", "digest", "platform", "field", "msg", "fix",
    "docs", "details", "exception", "exceptedUntil",
]  # fmt: skip
DECISION = {
    "type": "object",
    "required": [
        "source", "id", "kind", "namespace", "name", "verdict", "code", "because", "violations", "undecided",
        "problems", "warnings", "images", "grants", "policyRevision", "elapsedMs",
    ],
    "properties": {
        "verdict": {"enum": ["admitted", "refused", "undecided"]},
        "code": {"enum": [200, 400, 403, 429, 503]},
        "violations": {"items": {"required": VIOLATION_KEYS, "properties": {"mode": MODE}}},
        "undecided": {
            "items": {
                "required": ["policy", "mode", "problems", "exception", "exceptedUntil"],
                "properties": {"policy": TEXT, "mode": MODE, "problems": {"items": PROBLEM}},
            }
        },
        "problems": {"items": PROBLEM},
        "images": {"items": {"required": ["written", "digest"], "properties": {"written": TEXT, "digest": TEXT}}},
        "elapsedMs": {"type": "number"},
    },
}  # fmt: skip


def table(*ones: object, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(decisions_table(ones))  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "one",
    [judged(decision()), judged(refused()), judged(undecided()), judged(let_in()), unreadable()],
    ids=lambda one: one.verdict,
)
def test_every_element_of_a_decision_list_has_the_documented_shape(one: object) -> None:
    tree = json.loads(json.dumps(judged_json(one)))  # type: ignore[arg-type]
    jsonschema.validate(tree, DECISION)


def test_values_are_those_of_the_decision() -> None:
    tree = judged_json(judged(refused()))
    assert (tree["source"], tree["verdict"], tree["code"]) == ("deploy.yaml#0", "refused", 403)
    assert tree["violations"][1]["containerKind"] == "container"
    assert tree["violations"][1]["details"] == {"reason": "user-root"}
    assert tree["images"] == [{"written": "registry.example/acme/web:1.4", "digest": DIGEST}]
    assert tree["elapsedMs"] == 12.346


def test_what_cannot_be_read_counts_as_undecided() -> None:
    tree = judged_json(unreadable())
    assert (tree["verdict"], tree["code"], tree["problems"][0]["reason"]) == ("undecided", 400, "manifest-malformed")


def test_the_summary_counts_each_verdict() -> None:
    ones = [judged(decision()), judged(refused()), judged(refused()), unreadable()]
    assert summary(ones) == {"admitted": 1, "refused": 2, "undecided": 1}
    assert summary_text(ones).plain == "1 admitted, 2 refused, 1 undecided"


def test_the_table_says_what_is_wrong_where_and_what_to_do() -> None:
    shown = table(judged(refused()), width=200)
    for words in (
        "✗ refused",
        "Deployment shop/checkout",
        "deploy.yaml#0",
        "registry.example/acme/web:1.4",
        "@sha256:abababababab…",
        "image-user",
        "container web on linux/arm64: runs as root: the image names no USER",
        "→ set USER to a numeric id",
        "image-pinned (warn)",
    ):
        assert words in shown
    assert shown.index("image-user") < shown.index("image-pinned"), "what refuses comes first"


def test_violations_with_one_remedy_name_it_once() -> None:
    twice = (VIOLATION, replace(VIOLATION, container="sidecar", container_kind="init"))
    shown = table(judged(replace(refused(), violations=twice)), width=200)
    assert shown.count("→ set USER") == 1
    assert "init container sidecar on linux/arm64: runs as root" in shown


def test_what_refuses_comes_before_what_warns() -> None:
    waiting = replace(undecided(), violations=(refused().violations[0],))
    shown = table(judged(waiting))
    assert shown.index("registry-unreachable") < shown.index("image-pinned (warn)")


def test_a_pinned_image_is_shown_by_name_and_short_digest() -> None:
    pinned = JudgedImage(f"registry.example/acme/web:1.4@{DIGEST}", DIGEST)
    shown = table(judged(decision(images=(pinned,))))
    assert "registry.example/acme/web:1.4 " in shown
    assert shown.count("sha256") == 1


def test_the_table_tells_outages_from_violations() -> None:
    shown = table(judged(undecided()), unreadable())
    assert "? undecided" in shown
    assert "registry-unreachable" in shown
    assert "not evaluated without it: image-user, image-age" in " ".join(shown.split())
    assert "not an object but a list" in shown


def test_the_table_names_what_was_not_asked() -> None:
    skipped = (UndecidedPolicy("scan-required", Mode.DENY, ()),)
    assert "scan-required" in table(judged(replace(refused(), undecided=skipped)))


def test_what_a_grant_let_through_is_shown_with_its_id_and_its_end() -> None:
    made = let_in()
    tree = judged_json(judged(made))
    covered = {"exception": "break-glass:shop/payments-down", "exceptedUntil": "2026-11-24T15:00:00Z"}
    assert tree["because"] == "break-glass"
    assert covered.items() <= tree["violations"][0].items()
    assert covered.items() <= tree["undecided"][0].items()
    assert tree["grants"] == [
        {
            "id": "break-glass:shop/payments-down",
            "namespace": "shop",
            "name": "payments-down",
            "uid": "u-9",
            "policies": ["*"],
            "images": ["registry.example/acme/**"],
            "digests": [],
            "coversProblems": True,
            "reason": GRANT.reason,
            "created": "2026-11-24T12:00:00Z",
            "expires": "2026-11-24T15:00:00Z",
        }
    ]
    shown = " ".join(table(judged(made), width=220).split())
    assert "✓ admitted" in shown
    assert "break-glass" in shown
    assert shown.count("excepted by break-glass:shop/payments-down until 2026-11-24T15:00Z") == 2
    assert "not evaluated without it: scan-required" in shown


def test_in_sarif_it_is_suppressed() -> None:
    run = sarif([judged(let_in()), judged(refused())], ())["runs"][0]
    says = [one.get("suppressions", [{}])[0].get("justification", "") for one in run["results"]]
    assert says == ["break-glass:shop/payments-down", "break-glass:shop/payments-down", "", ""]


def test_unchanged_is_shown() -> None:
    assert "unchanged" in table(judged(decision(because=Because.UNCHANGED)))


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_table_keeps_to_its_width_and_cuts_no_image(width: int) -> None:
    parts = [f"part{number}" for number in range(20)]
    image = JudgedImage("registry.example/" + "/".join(parts), "")
    shown = table(judged(replace(decision(), images=(image,))), width=width)
    assert all(len(line) <= width for line in shown.splitlines())
    assert "".join(parts) in "".join(shown.split()).replace("/", "")


def test_hostile_text_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07 [bold]x[/bold] \u202egnp.exe"
    bad = replace(VIOLATION, msg=evil, fix=evil, container=evil, platform=evil)
    shown = table(judged(replace(refused(), violations=(bad,)), name=evil, source=f"{evil}#0"))
    assert not set("\x1b\x07\u202e") & set(shown)
    assert "[bold]x[/bold]" in " ".join(shown.split())
