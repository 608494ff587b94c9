"""What is known of an image, read out of recorded documents of any shape."""

import copy
import json
from typing import Any

import pytest

from fakes.decisions import decision, record
from fakes.judging import mutants
from portcullis.model.decision import JudgedImage
from portcullis.server.review.imagefacts import (
    FINDINGS,
    SHOWN_FINDINGS,
    SHOWN_PACKAGES,
    SHOWN_STEPS,
    FactProblem,
    ImageUserFacts,
    Step,
    best_known,
    image_facts,
    seen_in,
)
from unit.server.review.recorded import DIGEST, NOON, document, image_of, recorded, with_image


def facts(*trees: Any) -> Any:
    """Of documents, the newest first."""
    records = [recorded(tree, hours=at, decision_id=f"d-{at}") for at, tree in enumerate(trees)]
    return image_facts(seen_in(records, DIGEST))


def test_a_platform_is_told_as_the_document_has_it() -> None:
    (platform,) = facts(document("tools")).platforms
    assert platform.platform == "linux/amd64"
    assert platform.compressed_bytes == 1_000_000
    assert platform.user == ImageUserFacts("10001", 10001, None, "", "numeric", root=False)
    assert platform.entrypoint == ("/web",)
    assert platform.command == ("--port", "8080")
    assert platform.ports == ("8080/tcp",)
    assert platform.labels == (("org.opencontainers.image.source", "https://git.example/acme/web"),)
    assert platform.steps == (Step("COPY web /web", 1), Step("USER 10001", None))
    assert platform.inside.complete
    assert [(one.manager, one.name, one.layer) for one in platform.packages or ()] == [("dpkg", "bash", 1)]
    (platform,) = facts(document("clean")).platforms
    assert platform.packages is None


def test_findings_stand_at_their_layer() -> None:
    (platform,) = facts(document("tools")).platforms
    (layer,) = platform.layers
    assert (layer.number, layer.bytes, layer.files) == (1, 2_560_000, 312)
    listed = [
        (name, finding["path"])
        for name, findings in image_of(document("tools"))["platforms"][0]["contents"].items()
        if name in FINDINGS
        for finding in findings
    ]
    assert listed
    assert len(layer.findings) == len(listed)
    assert {finding.path for finding in layer.findings} == {path for _, path in listed}
    assert sum(count for _, count in platform.inside.counts) == len(listed)


def test_the_newest_document_that_looked_into_the_layers_is_taken() -> None:
    pending = with_image("clean")
    image_of(pending)["platforms"][0]["contents"]["status"] = "pending"
    packages = with_image("clean")
    image_of(packages)["platforms"][0]["contents"]["packages"] = [
        {"manager": "dpkg", "name": "openssl", "version": "3.0.1", "layerIndex": 0}
    ]
    (platform,) = facts(pending, document("clean"), packages, document("clean")).platforms
    assert platform.seen.decision_id == "d-2"
    assert platform.inside.complete
    assert platform.packages is not None
    assert [(one.name, one.layer) for one in platform.packages] == [("openssl", 1)]
    (platform,) = facts(pending, document("clean")).platforms
    assert platform.seen.decision_id == "d-1"
    (platform,) = facts(pending).platforms
    assert not platform.inside.complete


def test_one_document_that_knows_most() -> None:
    pending = with_image("clean")
    image_of(pending)["platforms"][0]["contents"]["status"] = "pending"
    unsigned = with_image("clean", attestations=[])
    trees = [pending, unsigned, document("clean"), document("clean"), document("missing-image")]
    records = [recorded(tree, hours=at, decision_id=f"d-{at}") for at, tree in enumerate(trees)]
    best = best_known(seen_in(records, DIGEST))
    assert best is not None
    assert best.decision_id == "d-2"
    assert best_known(()) is None


def test_every_reference_and_the_newest_problems_are_told() -> None:
    old = with_image("clean", reference="registry.example/acme/web:1.3", problems=[{"reason": "old", "msg": "gone"}])
    new = with_image(
        "clean",
        reference="registry.example/acme/web:1.4",
        problems=[{"stage": "registry", "reason": "registry-unreachable", "msg": "no\nroute"}],
    )
    found = facts(new, old, new)
    assert found.written == ("registry.example/acme/web:1.4", "registry.example/acme/web:1.3")
    assert found.problems == (FactProblem("registry-unreachable", "no route", "registry", NOON),)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[1]",
        b"{",
        b'{"images":[]}',
        b'{"images":{"a:1":null}}',
        b"[" * 5000,
        b'{"images":{"a:1":{"digest":7}}}',
    ],
)
def test_documents_without_the_image_tell_nothing(content: bytes) -> None:
    made = record(decision(document=content, images=(JudgedImage("a:1", DIGEST),)))
    assert seen_in([made], DIGEST) == ()
    assert image_facts(seen_in([made], DIGEST)).platforms == ()


def test_only_the_image_of_that_digest_is_read() -> None:
    assert seen_in([recorded(document("clean"))], "sha256:" + "00" * 32) == ()


def test_one_image_under_two_names_in_one_object_is_seen_once() -> None:
    tree = document("clean")
    (written,) = tree["images"]
    tree["images"]["other:1"] = copy.deepcopy(tree["images"][written])
    made = decision(
        images=(JudgedImage(written, DIGEST), JudgedImage("other:1", DIGEST)), document=json.dumps(tree).encode()
    )
    assert len(seen_in([record(made)], DIGEST)) == 1


def test_long_lists_are_cut_and_counted() -> None:
    tree = with_image("tools")
    platform = image_of(tree)["platforms"][0]
    platform["contents"] |= {name: [] for name in FINDINGS}
    platform["contents"]["shells"] = [{"path": "/bin/sh", "what": "sh", "layerIndex": 0}] * (SHOWN_FINDINGS + 7)
    platform["contents"]["packages"] = [{"name": f"p{at}"} for at in range(SHOWN_PACKAGES + 3)]
    platform["config"]["history"] = [{"createdBy": "USER 1", "instruction": "USER", "arguments": "1"}] * (
        SHOWN_STEPS + 5
    )
    (found,) = facts(tree).platforms
    assert (len(found.layers[0].findings), found.layers[0].more) == (SHOWN_FINDINGS, 7)
    assert (len(found.packages or ()), found.package_count) == (SHOWN_PACKAGES, SHOWN_PACKAGES + 3)
    assert (len(found.steps), found.more_steps) == (SHOWN_STEPS, 5)


def test_texts_are_fit_to_be_shown() -> None:
    tree = with_image("clean")
    platform = image_of(tree)["platforms"][0]
    platform["config"]["labels"] = {"a\u202eb": "x" * 5000, "c": 7, "d": "two\nlines"}
    platform["config"]["history"] = [{"createdBy": "RUN evil\u202e", "instruction": "RUN", "arguments": "evil\u202e"}]
    (found,) = facts(tree).platforms
    assert found.labels[0] == ("a\ufffdb", "x" * 499 + "…")
    assert found.labels[1:] == (("d", "two lines"),)
    assert found.steps == (Step("RUN evil\ufffd", None),)


def test_no_odd_value_anywhere_is_an_error() -> None:
    tree = document("tools")
    image = image_of(tree)
    for at, (_, changed) in enumerate(mutants({"platforms": image["platforms"], "problems": []})):
        if at % 7 == 0:
            image_facts(seen_in([recorded(with_image("tools", **{"platforms": [], **changed}))], DIGEST))
