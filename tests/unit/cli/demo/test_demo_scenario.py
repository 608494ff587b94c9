"""The reviews of the demo are reviews that the gate reads; the table of expected verdicts covers them all."""

import json
from dataclasses import replace

import pytest

from portcullis.admission.review import parse_review
from portcullis.admission.unchanged import unchanged
from portcullis.admission.workloads import WorkloadReader
from portcullis.cli.demo.expected import Outcome, differences, leads, load_expected
from portcullis.cli.demo.samples import SAMPLES
from portcullis.cli.demo.scenario import Case, Images, cases
from portcullis.cli.demo.view import images_of
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.model.workload import ContainerKind, Unchanged

TAGGED = {sample.name: f"localhost:5000/{sample.repository}:{sample.tag}" for sample in SAMPLES}
IMAGES = Images(
    tagged=TAGGED,
    pinned={name: f"{reference}@sha256:{'ab' * 32}" for name, reference in TAGGED.items()},
    missing="localhost:5000/acme/vanished:9",
    unreachable="localhost:1/acme/web:1",
)
CASES = {case.name: case for case in cases(IMAGES)}
READER = WorkloadReader(limits=DEFAULT_LIMITS)


def request(case: Case) -> AdmissionRequest:
    return parse_review(json.dumps(case.review).encode(), limits=DEFAULT_LIMITS, caller=Caller.UNVERIFIED)


def test_every_case_is_expected_and_every_expectation_a_case() -> None:
    assert load_expected().keys() == CASES.keys()
    assert len(CASES) >= 12


def test_every_kind_that_carries_pods_is_asked_for() -> None:
    kinds = {case.review["request"]["kind"]["kind"] for case in CASES.values()}
    assert kinds >= {
        "Pod",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "ReplicaSet",
        "ReplicationController",
        "PodTemplate",
    }


def test_every_sample_is_asked_for() -> None:
    asked = json.dumps([case.review for case in CASES.values()])
    assert all(reference in asked for reference in (*TAGGED.values(), IMAGES.missing, IMAGES.unreachable))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_review_is_read(case: Case) -> None:
    workload = READER.read(request(case))
    found = {container.image for container in workload.containers}
    if case.review["request"]["operation"] != "DELETE":
        assert len(found) == len(images_of(case.review["request"]["object"]))


def test_the_places_are_those_that_are_easily_forgotten() -> None:
    kinds = {container.kind for case in CASES.values() for container in READER.read(request(case)).containers}
    assert kinds == set(ContainerKind)


def test_only_the_label_leaves_the_pod_unchanged() -> None:
    same = [name for name, case in CASES.items() if isinstance(unchanged(request(case), READER), Unchanged)]
    assert same == ["label-only"]


def test_leads_are_read_from_the_lines() -> None:
    message = "2 policies refuse Pod shop/x:\n[image-user] container: runs as [root]. Fix.\n[a-b] y\nDecision 1"
    assert leads(message) == ("a-b", "image-user")


def test_every_difference_is_told() -> None:
    good = Outcome("refused", 403, "judged", ("image-user",), ())
    bad = replace(good, code=200, refused_by=())
    assert differences({"a": good}, {"a": good}) == []
    assert differences({"a": good}, {"a": bad}) == [
        "a: code should be 403, is 200",
        "a: refused_by should be image-user, is nothing",
    ]
    assert differences({"a": good}, {}) == ["a: was expected and did not come"]
    assert differences({}, {"a": good}) == ["a: is not in expected.toml"]
