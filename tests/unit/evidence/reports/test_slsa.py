"""SLSA provenance."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.slsa import read_provenance, split_source
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Material, Provenance
from vectors.documents import COMMIT, encoded, slsa02, slsa1

V1 = "https://slsa.dev/provenance/v1"
V02 = "https://slsa.dev/provenance/v0.2"
WEB = "https://github.com/acme/web"
BUILDKIT = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
START, END = datetime(2026, 11, 20, 10, 0, tzinfo=UTC), datetime(2026, 11, 20, 10, 5, tzinfo=UTC)
GIT = {"uri": f"git+{WEB}", "digest": {"gitCommit": COMMIT}}


def read1(external: dict[str, Any] | None = None, dependencies: Any = None, **fields: Any) -> Provenance:
    return read_provenance(encoded(slsa1(external, dependencies, **fields)), V1, DEFAULT_LIMITS)


def read02(**fields: Any) -> Provenance:
    return read_provenance(encoded(slsa02(**fields)), V02, DEFAULT_LIMITS)


def named(found: Provenance) -> tuple[str, str, str, str]:
    return found.source, found.source_ref, found.source_digest, found.entry_point


def test_version_1() -> None:
    assert read1() == Provenance(
        version="1",
        build_type="https://actions.github.io/buildtypes/workflow/v1",
        builder=f"{WEB}/.github/workflows/ci.yaml@refs/tags/v1",
        source=WEB,
        source_ref="refs/tags/v1",
        source_digest=f"gitCommit:{COMMIT}",
        entry_point=".github/workflows/ci.yaml",
        invocation=f"{WEB}/actions/runs/1/attempts/1",
        started_at=START,
        finished_at=END,
        materials=(Material(f"git+{WEB}@refs/tags/v1", f"gitCommit:{COMMIT}"),),
        complete=None,
    )


def test_version_0_2() -> None:
    found = read02()
    assert (found.version, found.builder[:19], found.invocation) == ("0.2", "https://github.com/", "1-1")
    assert named(found) == (WEB, "refs/heads/main", f"sha1:{COMMIT}", ".github/workflows/ci.yaml")
    assert (found.started_at, found.finished_at, found.complete) == (START, END, False)
    assert found.materials == (Material("pkg:docker/alpine@3.20", f"sha256:{'aa' * 32}"),)


@pytest.mark.parametrize(
    ("external", "source"),
    [
        # BuildKit
        (
            {"configSource": {"uri": f"{WEB}.git#refs/tags/v1:src", "digest": {"sha1": COMMIT}, "path": "Dockerfile"}},
            (WEB, "refs/tags/v1", f"sha1:{COMMIT}", "Dockerfile"),
        ),
        # Google Cloud Build; the commit is that of the dependency that is the source.
        (
            {"buildConfigSource": {"repository": f"git+{WEB}", "ref": "refs/heads/main", "path": "cloudbuild.yaml"}},
            (WEB, "refs/heads/main", f"gitCommit:{COMMIT}", "cloudbuild.yaml"),
        ),
        ({"sourceToBuild": {"repository": WEB, "ref": "main"}}, (WEB, "main", f"gitCommit:{COMMIT}", "")),
        # GitLab
        ({"source": WEB, "entryPoint": "build"}, (WEB, "", f"gitCommit:{COMMIT}", "build")),
        # The draft of version 1
        (
            {
                "source": {"artifact": {"uri": f"git+{WEB}@refs/heads/main", "digest": {"sha1": "aa"}}},
                "workflowPath": {"value": "release.yml"},
            },
            (WEB, "refs/heads/main", "sha1:aa", "release.yml"),
        ),
        ({"source": {"uri": WEB, "digest": {"gitCommit": "aa"}}}, (WEB, "", "gitCommit:aa", "")),
        # The first dependency, where no parameter names a source or it has another shape.
        ({}, (WEB, "", f"gitCommit:{COMMIT}", "")),
        ({"workflow": 7, "source": [WEB]}, (WEB, "", f"gitCommit:{COMMIT}", "")),
        ({"configSource": {"path": "Dockerfile"}}, (WEB, "", f"gitCommit:{COMMIT}", "Dockerfile")),
    ],
)
def test_sources_of_version_1(external: dict[str, Any], source: tuple[str, str, str, str]) -> None:
    assert named(read1(external, [GIT])) == source


def test_a_workflow_comes_before_other_parameters() -> None:
    external = {"source": "https://other.example/x", "workflow": {"repository": WEB, "ref": "main", "path": "ci.yaml"}}
    assert named(read1(external, [GIT]))[:2] == (WEB, "main")


def test_the_commit_is_not_one_of_another_dependency() -> None:
    other = {"uri": "git+https://github.com/acme/other", "digest": {"gitCommit": "aa"}}
    assert read1(None, [other, GIT]).source_digest == f"gitCommit:{COMMIT}"
    assert read1(None, [other]).source_digest == ""


@pytest.mark.parametrize(
    ("dependencies", "source"),
    [
        ([], ""),
        ([{"uri": "pkg:docker/alpine@3.20", "digest": {"sha256": "aa"}}, GIT], ""),
        ([{"uri": f"{WEB}.git#main"}], WEB),
        ([{"digest": {"gitCommit": COMMIT}}], ""),
    ],
)
def test_the_first_dependency_is_a_source_only_if_it_is_a_repository(dependencies: list[Any], source: str) -> None:
    assert read1({}, dependencies).source == source


@pytest.mark.parametrize("build_type", [BUILDKIT, "https://mobyproject.org/buildkit@v1"])
def test_what_a_dockerfile_adds_is_no_source(build_type: str) -> None:
    """BuildKit, of a local folder: its first dependency is what the Dockerfile names by ADD."""
    external = {"configSource": {"path": "Dockerfile"}}
    assert named(read1(external, [GIT], definition={"buildType": build_type})) == ("", "", "", "Dockerfile")
    found = read02(buildType=build_type, invocation={"configSource": {"entryPoint": "Dockerfile"}}, materials=[GIT])
    assert named(found) == ("", "", "", "Dockerfile")


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"invocation": None, "materials": [GIT]}, WEB),
        ({"invocation": {"configSource": {}}, "materials": [GIT]}, WEB),
        ({"invocation": {}, "materials": None}, ""),
    ],
)
def test_sources_of_version_0_2(fields: dict[str, Any], source: str) -> None:
    assert read02(**fields).source == source


@pytest.mark.parametrize(
    ("metadata", "complete"),
    [
        ({}, None),
        ({"buildkit_completeness": {"request": True, "resolvedDependencies": True}}, True),
        ({"buildkit_completeness": {"request": True}}, None),
    ],
)
def test_completeness_of_version_1(metadata: dict[str, Any], complete: bool | None) -> None:
    assert read1(metadata=metadata).complete is complete


@pytest.mark.parametrize("metadata", [None, {"completeness": None}, {}])
def test_completeness_that_is_not_said(metadata: Any) -> None:
    assert read02(metadata=metadata).complete is None


def test_ids_of_invocations_as_go_spells_them() -> None:
    assert read1(metadata={"invocationId": None, "invocationID": "7"}).invocation == "7"
    assert read02(metadata={"buildInvocationID": "7"}).invocation == "7"


@pytest.mark.parametrize(
    ("predicate_type", "version"),
    [
        (V1, "1"),
        ("https://slsa.dev/provenance/v1.0?draft", "1"),
        ("https://slsa.dev/provenance/v1-rc1", "1"),
        ("https://slsa.dev/provenance/v1.1", "1"),
        ("https://acme.example/provenance", "1"),
        ("", "1"),
    ],
)
def test_predicate_types_of_version_1(predicate_type: str, version: str) -> None:
    assert read_provenance(encoded(slsa1()), predicate_type, DEFAULT_LIMITS).version == version


def test_an_unknown_type_of_version_0_2() -> None:
    assert read_provenance(encoded(slsa02()), "https://acme.example/x", DEFAULT_LIMITS).version == "0.2"


@pytest.mark.parametrize(
    ("document", "predicate_type", "reason", "message"),
    [
        (slsa02(), "https://slsa.dev/provenance/v0.1", "attestation-unsupported", 'version "v0.1" is not read'),
        (slsa1(), "https://slsa.dev/provenance/v12", "attestation-unsupported", 'version "v12" is not read'),
        # A scan under the type of provenance.
        ({"scanner": {"result": {}}}, V1, "attestation-invalid", "buildDefinition"),
        ({"scanner": {"result": {}}}, "", "attestation-invalid", "neither buildDefinition nor builder"),
        ({"buildDefinition": None, "builder": None}, "", "attestation-invalid", "neither buildDefinition nor"),
        (slsa1(metadata={"startedOn": "now"}), V1, "attestation-invalid", "start of the build"),
        (slsa1(dependencies=[{"uri": 7}]), V1, "attestation-invalid", "resolvedDependencies[0].uri"),
        ([], V1, "attestation-invalid", "another shape"),
    ],
)
def test_refused_documents(document: Any, predicate_type: str, reason: str, message: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        read_provenance(encoded(document), predicate_type, DEFAULT_LIMITS)
    assert caught.value.reason == reason
    assert message in caught.value.message


def test_more_materials_than_the_limit() -> None:
    for content, kind in ((encoded(slsa1(None, [GIT, GIT])), V1), (encoded(slsa02(materials=[GIT, GIT])), V02)):
        assert len(read_provenance(content, kind, replace(DEFAULT_LIMITS, provenance_materials=2)).materials) == 2
        with pytest.raises(EvidenceError, match="the limit provenanceMaterials is 1") as caught:
            read_provenance(content, kind, replace(DEFAULT_LIMITS, provenance_materials=1))
        assert caught.value.reason == "too-large"


@pytest.mark.parametrize(
    ("uri", "repository", "ref"),
    [
        (WEB, WEB, ""),
        (f"git+{WEB}.git", WEB, ""),
        (f"{WEB}/", WEB, ""),
        (f"git+{WEB}@refs/tags/v1", WEB, "refs/tags/v1"),
        (f"git+{WEB}.git@refs/tags/v1", WEB, "refs/tags/v1"),
        (f"git+{WEB}@refs/tags/@acme/web@1.0", WEB, "refs/tags/@acme/web@1.0"),
        (f"{WEB}.git#main:folder", WEB, "main"),
        (f"{WEB}.git?tag=v1#v1", WEB, "v1"),
        ("HTTPS://GitHub.com/acme/Web", "https://github.com/acme/Web", ""),
        # The user of a URL must not pass for its host.
        ("https://github.com@evil.example/acme/web", "https://evil.example/acme/web", ""),
        ("https://u:p@github.com/acme/web@main", WEB, "main"),
        ("git@github.com:acme/web.git#main", "git@github.com:acme/web", "main"),
        ("https://[::1/acme", "https://[::1/acme", ""),
        ("", "", ""),
    ],
)
def test_sources_are_normalised(uri: str, repository: str, ref: str) -> None:
    assert split_source(uri) == (repository, ref)


# -- samples -------------------------------------------------------------------------------------------------

SAMPLED = {
    "predicates/slsa_predicate_v1_0.json": ("1", "https://github.com/octo-org/octo-repo", "refs/tags/1.21.0"),
    "sbom-vex/oci-dsse-att.json": ("0.2", "", ""),
    "sbom-vex/oci-kubectl-linux-amd64-in-toto.json": (
        "0.2",
        "https://dev.azure.com/AzureContainerUpstream/Kubernetes/_git/ado-build-definitions",
        "",
    ),
    "sigstore/go/dsse.sigstore.json": ("0.2", "https://github.com/github/slsa-provenance", "refs/heads/demo"),
    "sigstore/go/sigstore.js@2.0.0-provenance.sigstore.json": (
        "1",
        "https://github.com/sigstore/sigstore-js",
        "refs/heads/main",
    ),
    "sigstore/slsa-verifier/attestation.intoto.sigstore": (
        "1",
        "https://github.com/asraa/slsa-on-github-test",
        "refs/heads/main",
    ),
    "sigstore/slsa-verifier/valid-v0.3.intoto.sigstore": (
        "0.2",
        "https://github.com/slsa-framework/example-package",
        "refs/heads/main",
    ),
}


@pytest.mark.parametrize("name", sorted(SAMPLED))
def test_sampled_provenance(shared_data: Path, name: str) -> None:
    document = json.loads((shared_data / name).read_bytes())
    envelope = document.get("dsseEnvelope", document)
    if "payload" in envelope:
        document = json.loads(base64.b64decode(envelope["payload"]))
    kind = document.get("predicateType", V1)
    found = read_provenance(encoded(document.get("predicate", document)), kind, DEFAULT_LIMITS)
    assert (found.version, found.source, found.source_ref) == SAMPLED[name]
    assert found.builder
    assert bool(found.source_digest) is bool(found.source)
