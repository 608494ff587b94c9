"""One decision, arranged to be read."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fakes.auditlog import HOSTILE, SCENES
from fakes.records import InMemoryBundles
from fakes.review import review_parts
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo
from portcullis.server.review import decisionimages, decisionview, rawjson
from portcullis.server.review.decisionview import DecisionView, view_of
from portcullis.server.review.policytitles import titles_of
from portcullis.server.review.rawjson import raw_json
from portcullis.server.review.reasons import reasons
from portcullis.standing import Standing


def view(title: str, titles: Mapping[str, str] | None = None) -> DecisionView:
    return view_of(SCENES[title], titles or {})


def test_violations_of_one_policy_stand_together_and_what_refuses_first() -> None:
    groups = view("refused for root", {"image-user": "Images run as a non-root user"}).groups
    assert [(group.policy, group.title, group.refuses, group.counts) for group in groups] == [
        ("image-user", "Images run as a non-root user", True, True),
        ("scan-required", "", True, True),
        ("image-pinned", "", False, False),
    ]
    assert groups[0].fix == "Add USER 10001 to the Dockerfile."


def test_what_is_said_of_fifty_containers_is_said_once() -> None:
    (group,) = view("fifty containers").groups
    (line,) = group.lines
    assert (len(line.places), line.more, group.more) == (50, 0, 0)


def test_much_is_counted_and_not_shown() -> None:
    record = SCENES["fifty containers"]
    first = record.decision.violations[0]
    texts = [replace(first, msg=f"{number}") for number in range(decisionview.SHOWN_LINES + 3)]
    places = [replace(first, policy="b", container=f"{number}") for number in range(decisionview.SHOWN_PLACES + 5)]
    groups = [replace(first, policy=f"c{number}") for number in range(decisionview.SHOWN_GROUPS + 2)]
    found = view_of(replace(record, decision=replace(record.decision, violations=(*texts, *places, *groups))), {})
    assert (len(found.groups[0].lines), found.groups[0].more) == (decisionview.SHOWN_LINES, 3)
    assert (len(found.groups[1].lines[0].places), found.groups[1].lines[0].more) == (decisionview.SHOWN_PLACES, 5)
    assert (len(found.groups), found.more_groups) == (decisionview.SHOWN_GROUPS, 4)


def test_an_exception_counts_though_it_refuses_nothing() -> None:
    (group,) = view("admitted by an exception").groups
    assert (group.counts, group.refuses, group.exception, group.mode) == (True, False, "EX-12", Mode.DENY)


def test_a_remedy_that_the_policy_does_not_say_is_that_of_the_reason() -> None:
    record = SCENES["refused for root"]
    bare = replace(record.decision.violations[0], fix="", details={"reason": "user-root"})
    found = view_of(replace(record, decision=replace(record.decision, violations=(bare,))), {})
    assert found.groups[0].fix == "USER 10001 in the Dockerfile, or runAsUser in the pod."


def test_what_could_not_be_had_with_who_waits_for_it_and_what_to_do() -> None:
    (missing,) = view("an outage").missing
    assert [policy.policy for policy in missing.policies] == [
        "image-user", "scan-severity", "image-signed", "image-shell",
    ]  # fmt: skip
    assert missing.blocks
    assert missing.reason is not None
    assert "Look at the registry" in missing.reason.remedy


def test_policies_that_were_not_asked() -> None:
    record = SCENES["refused for root"]
    unasked = replace(SCENES["an outage"].decision.undecided[0], problems=())
    assert view_of(replace(record, decision=replace(record.decision, undecided=(unasked,))), {}).unasked == (
        "image-user",
    )


def test_the_bar_is_of_the_whole_time() -> None:
    spans = view("clean").spans
    assert [span.name for span in spans] == [
        "Reading the review", "Asking registries", "Verifying what is signed", "Evaluating policies",
    ]  # fmt: skip
    assert sum(span.percent for span in spans) == pytest.approx(95.2, abs=0.1)
    assert max(span.percent for span in view("hostile").spans) <= 100
    assert view("unreadable").spans == ()


def test_images_have_what_the_judged_input_says_of_them() -> None:
    (image,) = view("root on one platform").judged.images
    assert image.containers == ("web",)
    assert image.facts is not None
    assert [(one.platform, one.user.root) for one in image.facts.platforms] == [
        ("linux/amd64", False),
        ("linux/arm64/v8", True),
    ]
    assert image.evidence is not None
    assert [scan.scanner for scan in image.evidence.scans] == ["trivy"]


def test_what_was_rejected_and_why() -> None:
    (image,) = view("signed by a stranger").judged.images
    assert image.evidence is not None
    assert {one.reason for one in image.evidence.rejected} == {"attestation-untrusted", "attestation-subject-mismatch"}


def test_many_images_are_listed_and_few_are_read_in_full() -> None:
    judged = view("fifty containers").judged
    full = [image for image in judged.images if image.facts is not None]
    assert (len(judged.images), len(full)) == (50, decisionimages.SHOWN_IN_FULL)
    assert len(judged.containers) == 50


@pytest.mark.parametrize("title", ["of an older version", "no document", "by an unverified caller", "unreadable"])
def test_an_input_that_is_none_is_no_error(title: str) -> None:
    judged = view(title).judged
    assert all(image.facts is None for image in judged.images)
    assert judged.containers == ()


def test_ten_thousand_findings_are_counted_and_the_gravest_shown() -> None:
    (image,) = view("ten thousand findings").judged.images
    assert image.evidence is not None
    (scan,) = image.evidence.scans
    assert dict(scan.counts)["critical"] == 2000
    assert len(scan.vulnerabilities) + scan.more == 10_000
    assert scan.vulnerabilities[0].severity == "critical"


# -- raw JSON --------------------------------------------------------------------------------------------------------


def test_raw_json_shows_every_character() -> None:
    shown = raw_json(json.dumps({"a": HOSTILE}).encode())
    assert shown.text.isascii()
    assert json.loads(shown.text) == {"a": HOSTILE}
    assert not shown.cut


@pytest.mark.parametrize("content", [b"\xff{\x00not JSON\x1b[2J\xe2\x80\xae", b"[" * 100_000])
def test_what_is_no_json_is_shown_as_it_lies(content: bytes) -> None:
    shown = raw_json(content)
    assert shown.bytes == len(content)
    assert shown.text.isascii()
    assert shown.text.isprintable()
    assert shown.cut is (len(content) > rawjson.SHOWN_CHARS)


def test_long_ones_are_cut_and_say_so() -> None:
    short, long = (json.dumps(["x" * size]).encode() for size in (rawjson.SHOWN_CHARS, rawjson.INDENTED_BYTES))
    for content in (short, long):
        shown = raw_json(content)
        assert (len(shown.text), shown.bytes, shown.cut) == (rawjson.SHOWN_CHARS, len(content), True)


# -- words from elsewhere --------------------------------------------------------------------------------------------


def test_reasons_are_those_of_the_documentation() -> None:
    assert len(reasons()) > 100
    assert reasons()["registry-denied"].remedy.startswith("Correct the pull secret, or have its namespace listed")


@pytest.mark.anyio
async def test_titles_are_those_that_stand_and_else_those_that_were_recorded() -> None:
    policy = PolicyInfo("image-user", "Stands now", "", "high", Mode.DENY, "", frozenset[Need](), (Mode.DENY,))
    source = (
        "# METADATA\n# title: {}\npackage portcullis.policies.{}\nimport rego.v1\n# title: of a rule\ndeny := set()\n"
    )
    texts = [source.format("Was recorded", "scan_required"), source.format("Was otherwise", "image_user"), 7]
    bundles = InMemoryBundles()
    parts = review_parts(None, bundles=bundles, current=lambda: Standing(CompiledBundle("sha256:now", (policy,))))
    decision = SCENES["refused for root"].decision

    assert await titles_of(parts, decision) == {"image-user": "Stands now"}
    await bundles.put(decision.policy_revision, "policies", json.dumps({"sources": texts}).encode())
    assert await titles_of(parts, decision) == {"image-user": "Stands now"}
    other = replace(decision, policy_revision="sha256:other")
    await bundles.put(
        "sha256:other", "policies", json.dumps({"sources": [{"text": one} for one in texts[:2]]}).encode()
    )
    assert await titles_of(parts, other) == {"image-user": "Stands now", "scan-required": "Was recorded"}
