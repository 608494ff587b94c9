"""Reports and bills of materials from anybody: whatever the document, an answer or a refusal with a reason."""

import json
from collections.abc import Callable, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fakes.changes import replace_anywhere
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.cyclonedx import read_cyclonedx_sbom, read_cyclonedx_scan
from portcullis.evidence.reports.gitlab import read_gitlab
from portcullis.evidence.reports.hadolint import read_hadolint
from portcullis.evidence.reports.imagenames import digest_in
from portcullis.evidence.reports.lint import read_lint
from portcullis.evidence.reports.sarif import read_sarif_lint, read_sarif_scan
from portcullis.evidence.reports.sarifdrivers import split_purl
from portcullis.evidence.reports.slsa import read_provenance, split_source
from portcullis.evidence.reports.spdx import read_spdx
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import Severity
from vectors import documents as made

Reader = Callable[[bytes, Limits], object]

REASONS = {"attestation-invalid", "attestation-unsupported", "too-large"}
V1 = "https://slsa.dev/provenance/v1"
V02 = "https://slsa.dev/provenance/v0.2"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def provenance_1(content: bytes, limits: Limits) -> object:
    return read_provenance(content, V1, limits)


def provenance_02(content: bytes, limits: Limits) -> object:
    return read_provenance(content, V02, limits)


def provenance(content: bytes, limits: Limits) -> object:
    return read_provenance(content, "", limits)


SCOUT = made.run("docker scout", [made.result(text=made.scout_text())], [made.scout_rule()])
IMAGE = {"repoDigests": ["x"], "imageID": made.IMAGE_ID}
TRIVY = made.run("Trivy", [made.result(text=made.trivy_text())], [made.trivy_rule()], properties=IMAGE)
GRYPE = made.run("grype", [made.result("CVE-2026-0001-openssl", text=made.grype_text())], [made.grype_rule()])
SUPPRESSED = made.result(suppressions=[{"kind": "external", "justification": "x"}])
OTHER = made.run("x", [SUPPRESSED, made.result()], invocations=[{"executionSuccessful": True}])

GOOD: Sequence[tuple[Reader, object]] = [
    (read_sarif_scan, made.sarif(SCOUT)),
    (read_sarif_scan, made.sarif(TRIVY)),
    (read_sarif_scan, made.sarif(GRYPE)),
    (read_sarif_scan, made.sarif(OTHER, OTHER)),
    (read_sarif_lint, made.sarif(made.run("Hadolint", [made.result("DL3008")]))),
    (read_hadolint, [{"code": "DL3008", "level": "info", "line": 1, "file": "Dockerfile", "message": "x"}]),
    (read_lint, {"tool": {"name": "hadolint", "version": "1"}, "dockerfile": {"sha256": "ab" * 32}, "report": []}),
    (read_gitlab, made.gitlab(made.gitlab_row())),
    (read_cyclonedx_scan, made.cyclonedx(made.cdx_component(), vulnerabilities=[made.cdx_vulnerability()])),
    (read_cyclonedx_sbom, made.cyclonedx(made.cdx_component(components=[made.cdx_component("x")]))),
    (read_spdx, made.spdx(made.spdx_image(), made.spdx_package())),
    (read_spdx, made.spdx3(made.spdx3_package("web"), made.spdx3_package())),
    (provenance_1, made.slsa1()),
    (provenance_02, made.slsa02()),
    (provenance, made.slsa1({"source": {"artifact": {"uri": "x"}}, "configSource": {}})),
]  # fmt: skip
READERS = sorted({reader for reader, _ in GOOD}, key=lambda reader: reader.__name__)


def answer(read: Reader, content: bytes) -> object:
    """What is read, fit for the policy input; None for a refusal with a reason. Any other error is a failure."""
    try:
        found = read(content, DEFAULT_LIMITS)
    except EvidenceError as error:
        refused = error
    else:
        # No integer without end, no half character.
        msgspec.json.encode(found, enc_hook=str)
        return found
    assert refused.reason in REASONS
    assert refused.message.isprintable()
    return None


def test_the_good_documents_are_read() -> None:
    for read, document in GOOD:
        assert answer(read, made.encoded(document)) is not None


@given(st.sampled_from(READERS), st.binary() | JSON.map(made.encoded))
def test_no_bytes_make_a_reader_raise(read: Reader, content: bytes) -> None:
    answer(read, content)


@given(st.data())
def test_no_part_of_a_document_makes_a_reader_raise(data: st.DataObject) -> None:
    """A good document of which one value, anywhere, was replaced by any JSON."""
    read, good = data.draw(st.sampled_from(GOOD))
    document = {"root": json.loads(json.dumps(good))}
    replace_anywhere(data, document, JSON, st.integers(0, 7).map(lambda chance: chance == 0))
    content = made.encoded(document["root"])
    assert answer(read, content) == answer(read, content)


@given(st.sampled_from(["docker scout", "Trivy", "grype"]), TEXT, st.sampled_from(["error", "warning"]))
def test_no_name_of_a_package_makes_a_finding_milder_than_its_level(driver: str, name: str, level: str) -> None:
    texts = {
        "docker scout": made.scout_text(f"pkg:deb/debian/{name}@1", "LOW"),
        "Trivy": made.trivy_text(name, "LOW"),
        "grype": made.grype_text("low").replace("openssl", name),
    }
    rules = {
        "docker scout": made.scout_rule(cvssV3_severity="LOW", tags=["LOW"]),
        "Trivy": made.trivy_rule("LOW"),
        "grype": made.grype_rule("low"),
    }
    rule = rules[driver]
    document = made.sarif(made.run(driver, [made.result(rule["id"], level, texts[driver])], [rule]))
    (finding,) = read_sarif_scan(made.encoded(document), DEFAULT_LIMITS).vulnerabilities
    assert finding.severity is (Severity.CRITICAL if level == "error" else Severity.MEDIUM)


@given(TEXT)
def test_sources_stay_as_they_are_once_normalised(uri: str) -> None:
    for text in (uri, f"git+https://github.com/{uri}", f"https://{uri}/web"):
        repository, _ = split_source(text)
        assert "#" not in repository
        if not repository.endswith(".git"):
            assert split_source(repository)[0] == repository


@given(TEXT, TEXT)
def test_packages_of_any_purl(name: str, version: str) -> None:
    for purl in (name, f"pkg:deb/{name}@{version}", f"pkg:{name}"):
        package, _ = split_purl(purl)
        assert len(package) <= len(purl)


@given(TEXT, st.sampled_from(["", "@", "pkg:oci/", "pkg:oci/x@"]))
def test_no_text_is_a_digest_but_a_digest(text: str, prefix: str) -> None:
    assert digest_in(prefix + text) is None
    assert digest_in(f"{text}@{made.IMAGE_ID}") in {made.IMAGE_ID, None}
