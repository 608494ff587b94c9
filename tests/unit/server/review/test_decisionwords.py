"""What a decision is called, for each kind of outcome."""

from dataclasses import replace

import pytest

from fakes.auditlog import HOSTILE, SCENES
from portcullis.model.decision import Because, Verdict
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import Mode
from portcullis.server.review.decisionwords import listed, marks, outcome, requester, sentence, whys, workload

SENTENCES = {
    "admitted by an exception": (
        "exception",
        "Deployment legacy/invoices was admitted by an exception (EX-12), although it violates image-shell.",
    ),
    "refused for root": ("refused", "2 policies refuse Deployment shop/checkout: image-user and scan-required."),
    "refused for vulnerabilities": ("refused", "1 policy refuses StatefulSet shop/orders: scan-severity."),
    "a dry run": (
        "admitted",
        "Deployment shop/checkout was admitted. image-pinned is violated, which is not enforced here.",
    ),
    "an outage": (
        "outage",
        "Deployment shop/search could not be judged. That is an outage, not a violation: registry-unreachable.",
    ),
    "still inspecting": (
        "pending",
        "Job data/train was still being inspected. That is no refusal: asked again later, it is judged.",
    ),
    "an image that is not there": (
        "refused",
        "Deployment shop/cart could not be judged, and waiting would not have helped: image-not-found.",
    ),
    "break-glass": (
        "break-glass",
        (
            "Deployment shop/payments was admitted by break-glass (break-glass:shop/payments-down), although it "
            "violates image-user and scan-required."
        ),
    ),
    "nothing changed": (
        "admitted",
        "Deployment shop/checkout was admitted: nothing changed of what policies look at in images.",
    ),
    "clean": ("admitted", "Deployment shop/checkout was admitted: no policy is violated."),
    "unreadable": (
        "refused",
        "a review that could not be read could not be judged, and waiting would not have helped: review-malformed.",
    ),
}


@pytest.mark.parametrize(("title", "expected"), SENTENCES.items())
def test_the_verdict_in_a_sentence(title: str, expected: tuple[str, str]) -> None:
    assert (outcome(SCENES[title].decision).kind, sentence(SCENES[title])) == expected


def test_an_outage_that_a_grant_covers_is_said_and_holds_nothing_up() -> None:
    outage, glass = SCENES["an outage"], SCENES["break-glass"]
    grant = glass.decision.violations[0].exception
    undecided = tuple(replace(one, exception=grant) for one in outage.decision.undecided if one.mode is Mode.DENY)
    decision = replace(outage.decision, verdict=Verdict.ADMITTED, because=Because.BREAK_GLASS, undecided=undecided)
    assert outcome(decision).kind == "break-glass"
    assert sentence(replace(outage, decision=decision)) == (
        f"Deployment shop/search was admitted by break-glass ({grant}), although "
        "image-user, scan-severity and image-signed could not be evaluated."
    )
    assert [(why.name, why.exception, why.refuses, why.by_grant) for why in whys(decision) if why.is_policy] == [
        (name, grant, False, True) for name in ("image-user", "scan-severity", "image-signed")
    ]


def test_outage_and_violation_have_nothing_in_common() -> None:
    one, other = outcome(SCENES["an outage"].decision), outcome(SCENES["refused for root"].decision)
    assert one.kind != other.kind
    assert one.word != other.word


MARKS = {
    "a dry run": [("dry", "dry run")],
    "by an unverified caller": [("unverified", "unverified caller")],
    "nothing changed": [("unchanged", "unchanged")],
    "clean": [],
}


@pytest.mark.parametrize(("title", "expected"), MARKS.items())
def test_what_must_not_be_overlooked(title: str, expected: list[tuple[str, str]]) -> None:
    assert list(marks(SCENES[title])) == expected


def test_what_refuses_comes_first_and_each_policy_once() -> None:
    record = SCENES["refused for root"]
    double = replace(record.decision, violations=record.decision.violations[::-1] * 2)
    found = [(why.name, why.refuses, why.mode) for why in whys(double)]
    assert found == [("scan-required", True, "deny"), ("image-user", True, "deny"), ("image-pinned", False, "warn")]


def test_a_problem_refuses_only_where_no_policy_does() -> None:
    outage = SCENES["an outage"].decision
    assert [(why.name, why.refuses) for why in whys(outage)] == [("registry-unreachable", True)]
    both = replace(SCENES["refused for root"].decision, problems=outage.problems)
    assert ("registry-unreachable", False) in [(why.name, why.refuses) for why in whys(both)]


def test_service_accounts_are_called_by_their_name() -> None:
    assert requester(SCENES["admitted by an exception"]) == "argocd:argocd-application-controller"
    assert requester(SCENES["unreadable"]) == "nobody named"


@pytest.mark.parametrize("read", [workload, requester, sentence])
def test_no_text_does_harm(read: object) -> None:
    assert callable(read)
    record: AuditRecord = SCENES["hostile"]
    said = read(record)
    assert said.isprintable()
    assert "\u202e" in HOSTILE
    assert "\u202e" not in said
    assert len(said) < 2000


def test_lists() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
