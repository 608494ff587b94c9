"""What a scan shows, to people and to programs, and what it says of questions that make no sense."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fakes.records import a_decision
from portcullis.cli.main import app
from portcullis.cli.scan import Scanned
from portcullis.cli.scanview import scan_json, scan_view
from portcullis.model.decision import Because, Verdict
from portcullis.model.image import Digest
from portcullis.model.running import Condition, MovedTag, ObjectRef, Rejudged

DIGEST, OTHER = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)
WRITTEN = "registry.example/acme/web:1"
MOVED = MovedTag("web", WRITTEN, DIGEST, OTHER, "the-admission")


def result(
    name: str, condition: Condition, *, denied: Sequence[str] = (), count: int = 1, kind: str = "Deployment"
) -> Rejudged:
    decision = a_decision(f"id-{name}", images=[(WRITTEN, DIGEST)], denied=denied)
    pods = tuple(f"{name}-{number}" for number in range(min(count, 10)))
    return Rejudged(
        owner=ObjectRef("apps/v1", kind, "shop", name),
        key=f"key-{name}",
        pods=pods,
        count=count,
        decision=replace(decision, verdict=Verdict.REFUSED if denied else Verdict.ADMITTED),
        condition=condition,
        passed=("image-age",),
        judged_at=decision.decided_at,
    )


SCANNED = Scanned(
    where="context prod",
    exempt=("kube-system",),
    results=[
        result("good", Condition.GOOD, count=3),
        result("warned", Condition.WARNED),
        replace(result("glass", Condition.BREAK_GLASS), break_glass="break-glass:shop/down"),
        result("root", Condition.FAILING, denied=["image-user"], count=12),
        replace(result("moved", Condition.FAILING), moved=(MOVED,)),
        result("alone", Condition.UNKNOWN, kind="Pod"),
    ],
    images=2,
    registry_requests=9,
    seconds=1.25,
)


def shown(scanned: Scanned, width: int = 120) -> str:
    console = Console(width=width, record=True, file=None, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(scan_view(scanned))
    return capture.get()


def test_the_worst_stands_first_and_what_is_well_is_only_counted() -> None:
    text = shown(SCANNED)
    places = [text.index(name) for name in ("shop/moved", "shop/root", "shop/alone", "shop/glass", "shop/warned")]
    assert places == sorted(places)
    assert "shop/good" not in text
    assert "2 failing, 1 unknown, 1 break-glass, 0 excepted, 1 warned, 1 good" in text
    assert "all namespaces but kube-system: 6 workloads of 19 pods, 2 images; 9 requests to registries, 1 s" in text


def test_why() -> None:
    text = shown(SCANNED)
    assert "12 pods, such as root-0" in text
    assert "image-user" in text
    assert "tag-moved" in text
    words = " ".join(text.split())
    assert f"runs {OTHER[:19]}" in words
    assert "(decision the-admission)" in words
    assert "let in by break-glass:shop/down" in words


def test_a_pod_of_nobody_is_named_once() -> None:
    assert "alone-0" not in shown(SCANNED)


def test_nothing_that_runs() -> None:
    text = shown(Scanned(namespace="shop"))
    assert text.splitlines()[0].startswith("0 failing, 0 unknown")
    assert "namespace shop: 0 workloads of 0 pods" in text


def test_names_from_outside_do_nothing_to_a_terminal() -> None:
    evil = replace(
        result("evil", Condition.FAILING),
        owner=ObjectRef("v1", "De\x1b[2Jployment", "shop", "evil\x1b]0;title\x07"),
        pods=("pod\x1b[1m",),
        moved=(replace(MOVED, container="web\x1b[2J", written="web:\x1b[31m1"),),
        break_glass="break-glass:\x1b[5m",
    )
    text = shown(Scanned(results=[evil], namespace="shop\x1b[2J"))
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "\x1b[31m1" not in text


def test_json() -> None:
    tree = scan_json(SCANNED)
    assert json.loads(json.dumps(tree)) == tree
    assert (tree["kind"], tree["exemptNamespaces"], tree["pods"]) == ("ScanResult", ["kube-system"], 19)
    assert tree["summary"] == {
        "failing": 2,
        "unknown": 1,
        "break-glass": 1,
        "excepted": 0,
        "warned": 1,
        "good": 1,
    }
    moved, root, *_, good = tree["workloads"]
    assert moved["moved"] == [
        {
            "reason": "tag-moved",
            "container": "web",
            "image": WRITTEN,
            "judged": DIGEST,
            "running": OTHER,
            "decisionId": "the-admission",
        }
    ]
    assert root["owner"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "root",
        "uid": "",
    }
    assert (root["pods"]["count"], len(root["pods"]["names"])) == (12, 10)
    assert (root["verdict"], [one["policy"] for one in root["violations"]]) == ("refused", ["image-user"])
    assert (good["condition"], good["passed"], good["because"]) == ("good", ["image-age"], Because.JUDGED)
    assert good["judgedAt"] == "2026-03-01T12:00:00.123456Z"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--all-namespaces", "--namespace", "shop"], "--all-namespaces and --namespace together"),
        (["--kubeconfig", "/nowhere/config"], "the kubeconfig /nowhere/config cannot be used"),
    ],
)
def test_questions_that_make_no_sense(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["scan", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stdout == ""
