"""What attest signs, and what it refuses to sign."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from portcullis.cli.demo.images import AMD64, ARM64
from portcullis.cli.demo.reports import CRITICAL, trivy_report
from portcullis.cli.demo.samples import SAMPLES, build
from portcullis.cli.predicates import predicate_type_of, prepare
from portcullis.errors import ConfigError
from portcullis.evidence.reports import read_facts
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import PredicateClass, ScanReport, Statement
from portcullis.model.image import (
    Digest,
    ImageConfig,
    ImageReference,
    Platform,
    PlatformImage,
    Repository,
    ResolvedImage,
)

SCANNED = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BUILT = build(SAMPLES, SCANNED)
CONFIG = ImageConfig("10001", None, (), (), "", (), (), (), {}, (), ())


def resolved(name: str) -> ResolvedImage:
    """The image as a registry client would give it."""
    image = BUILT[name]
    platforms = tuple(
        PlatformImage(platform, manifest.digest, image.image_ids[platform], CONFIG, ())
        for platform, manifest in zip(image.image_ids, image.manifests, strict=False)
    )
    reference = ImageReference(Repository("registry.example", f"acme/{name}"), "1", None)
    return ResolvedImage(reference, image.digest, image.root.media_type, len(platforms) > 1, platforms)


def report(name: str, *, platform: Platform = AMD64) -> dict[str, Any]:
    made = trivy_report(
        f"registry.example/acme/{name}:1",
        BUILT[name],
        platform=platform,
        image_id=BUILT[name].image_ids[platform],
        created=SCANNED,
        findings=[CRITICAL],
    )
    tree = json.loads(json.dumps(made))
    assert isinstance(tree, dict)
    return tree


def content(tree: object) -> bytes:
    return json.dumps(tree).encode()


def test_a_trivy_report_is_wrapped_with_its_own_time() -> None:
    prepared = prepare(content(report("clean")), "vuln", resolved("clean"), DEFAULT_LIMITS)
    statement = Statement(prepared.predicate_type, content(prepared.predicate))
    (read,) = read_facts(statement, PredicateClass.VULNERABILITY, DEFAULT_LIMITS)
    assert isinstance(read, ScanReport)
    assert read.scanned_at == SCANNED
    assert read.scanner_version == "0.68.2"
    assert [finding.id for finding in read.vulnerabilities] == [CRITICAL.id]
    assert prepared.warnings == ()


def test_another_predicate_is_signed_as_it_is() -> None:
    uri = "https://acme.example/review/v1"
    prepared = prepare(b'{"approved": true}', uri, resolved("clean"), DEFAULT_LIMITS)
    assert (prepared.predicate, prepared.predicate_type) == ({"approved": True}, uri)


def test_a_report_of_one_platform_of_several_is_told() -> None:
    made = report("two-platforms", platform=ARM64)
    (warning,) = prepare(content(made), "vuln", resolved("two-platforms"), DEFAULT_LIMITS).warnings
    assert "linux/arm64" in warning


def test_a_report_that_looked_at_nothing_is_told() -> None:
    made = report("clean")
    made["Results"] = []
    del made["Metadata"]["OS"]
    (warning,) = prepare(content(made), "vuln", resolved("clean"), DEFAULT_LIMITS).warnings
    assert "incomplete" in warning


def other_image(made: dict[str, Any]) -> None:
    made["Metadata"] |= report("critical")["Metadata"]


def other_image_id(made: dict[str, Any]) -> None:
    made["Metadata"] |= {"RepoDigests": [], "ImageID": Digest("sha256:" + "0" * 64)}


def no_image(made: dict[str, Any]) -> None:
    made["Metadata"] = {}


def no_time(made: dict[str, Any]) -> None:
    del made["CreatedAt"]


def a_folder(made: dict[str, Any]) -> None:
    made["ArtifactType"] = "filesystem"


def no_report(made: dict[str, Any]) -> None:
    made.clear()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_image, "the report is of the image sha256:"),
        (other_image_id, "configuration sha256:000"),
        (no_image, "does not say of which image"),
        (no_time, "give --made"),
        (a_folder, "not of a container image"),
        (no_report, "of no form that is known"),
    ],
)
def test_a_report_that_the_gate_would_not_take_is_not_signed(change: Any, says: str) -> None:
    made = report("clean")
    change(made)
    with pytest.raises(ConfigError) as caught:
        prepare(content(made), "vuln", resolved("clean"), DEFAULT_LIMITS)
    assert says in caught.value.message


@pytest.mark.parametrize("broken", [b"", b"[]", b"{", b'{"a": 1, "a": 2}', b"\xff"])
def test_what_is_no_strict_json_object_is_refused(broken: bytes) -> None:
    with pytest.raises(ConfigError):
        prepare(broken, "https://acme.example/x", resolved("clean"), DEFAULT_LIMITS)


@pytest.mark.parametrize("text", ["", "nonsense", "ftp://x/y", "https://", "javascript:alert(1)"])
def test_a_predicate_type_is_a_known_name_or_a_uri(text: str) -> None:
    with pytest.raises(ConfigError, match="no predicate type"):
        predicate_type_of(text)


def test_short_names_are_those_of_cosign() -> None:
    assert predicate_type_of("vuln") == "https://cosign.sigstore.dev/attestation/vuln/v1"
