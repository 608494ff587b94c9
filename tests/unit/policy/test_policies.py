"""The default policies, by the OPA that is pinned: form, their own tests, sample documents, hostile input."""

import copy
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes import samples
from fakes.judging import FOLDER, POLICIES, SOURCES, judge, mutants, opa
from portcullis.limits import DEFAULT_LIMITS, MIB
from portcullis.model.ruling import Mode
from portcullis.policy.bundle import load_bundle
from portcullis.policy.compiler import Compiler
from portcullis.policy.schema import document_schema

pytestmark = pytest.mark.opa

NO_POLICIES = ("--ignore", "testdata", "--ignore", "profiles")
"""OPA would take the files there for data."""
COVERAGE = 95.0

THREE_STATES = """package portcullis.policies.known

deny contains "nothing of it is an error to OPA's type checker" if {
	input.containers[_].digest == null
	input.containers[_].digest == "sha256:"
	input.containers[_].user.root == true
	input.containers[_].user.root == "unknown"
	input.containers[_].user.uid == null
	input.containers[_].user.uid == 1
	input.containers[_].user.runAsNonRoot == null
	input.containers[_].user.runAsNonRoot == true
	input.containers[_].spec.securityContext.privileged == true
	input.workload.podSpec == null
	input.workload.podSpec.hostNetwork == true
	input.request.object.spec.replicas == 1
	input.namespace.name == "shop"
}
"""

BUILTINS_WITHOUT_PLACE = ("http.send", "net.lookup", "opa.runtime", "rand.", "time.now_ns")


def test_the_policies_of_this_version() -> None:
    assert sorted(DESCRIBED) == POLICIES


@pytest.mark.parametrize("name", POLICIES)
def test_a_folder_holds_policy_tests_and_readme(name: str) -> None:
    assert {path.name for path in (FOLDER / name).iterdir()} == {"policy.rego", "policy_test.rego", "README.md"}
    source = (FOLDER / name / "policy.rego").read_text("utf-8")
    assert f"\npackage portcullis.policies.{name.replace('-', '_')}\n" in source


# What each policy is by default, and which facts it waits for.
INSIDE = {"request", "image", "config", "contents"}
SIGNED = {"request", "image", "attestations"}
PSS_SEVERITIES = {
    "critical": ("host-process", "privileged"),
    "high": (
        *("apparmor", "capabilities", "host-namespaces", "host-path", "host-probes", "non-root", "non-root-user"),
        *("proc-mount", "seccomp", "selinux", "sysctls"),
    ),
    "medium": ("drop-capabilities", "host-ports", "privilege-escalation", "seccomp-required", "volume-types"),
}
DESCRIBED = {
    **{f"pss-{name}": ("deny", severity, {"request"}) for severity, names in PSS_SEVERITIES.items() for name in names},
    "image-age": ("warn", "low", {"request", "image", "config"}),
    "image-pinned": ("warn", "medium", {"request"}),
    "image-source": ("deny", "high", {"request"}),
    "image-user": ("deny", "high", {"request", "image", "config", "user"}),
    "image-base": ("deny", "high", INSIDE),
    "image-history": ("warn", "low", {"request", "image", "config"}),
    "image-libc": ("warn", "medium", {"request", "image", "contents"}),
    "image-ownership": ("warn", "medium", {"request", "image", "contents"}),
    "image-size": ("warn", "low", INSIDE),
    "image-shell": ("deny", "medium", INSIDE),
    "image-build-tools": ("deny", "medium", INSIDE),
    "image-package-manager": ("warn", "low", INSIDE),
    "image-setuid": ("warn", "medium", INSIDE),
    "image-leftovers": ("warn", "low", INSIDE),
    "image-secrets": ("deny", "critical", INSIDE),
    "image-multi-stage": ("warn", "medium", INSIDE),
    "image-layer-order": ("warn", "low", INSIDE | {"packages"}),
    "image-pip-cache": ("warn", "low", INSIDE),
    "image-bytecode": ("warn", "low", INSIDE),
    "image-healthcheck": ("warn", "low", {"request", "image", "config"}),
    "image-exec-form": ("warn", "low", {"request", "image", "config"}),
    "image-numeric-user": ("warn", "medium", {"request", "image", "config"}),
    "pod-privileges": ("deny", "high", {"request"}),
    "image-signed": ("audit", "high", SIGNED),
    "lint-required": ("audit", "medium", SIGNED),
    "provenance": ("audit", "high", SIGNED),
    "sbom-packages": ("warn", "medium", SIGNED | {"components"}),
    "sbom-required": ("audit", "medium", SIGNED),
    "scan-fresh": ("deny", "high", SIGNED),
    "scan-known-exploited": ("deny", "critical", SIGNED),
    "scan-required": ("deny", "critical", SIGNED),
    "scan-severity": ("deny", "critical", SIGNED),
    "vex-trusted": ("warn", "medium", SIGNED),
}
WARNING = {"scan-required"}
"""Those that have rules of mode warn beside those of mode deny."""


@pytest.mark.anyio
async def test_metadata_and_needs(opa_binary: Path, tmp_path: Path) -> None:
    bundle = load_bundle([FOLDER], parameters={}, enabled=POLICIES, limits=DEFAULT_LIMITS)
    compiler = Compiler(binary=opa_binary, limits=DEFAULT_LIMITS, memory_bytes=256 * MIB)
    compiled, _ = await compiler.compile(bundle, tmp_path)
    found = {
        policy.name: (str(policy.mode), policy.severity, {str(need) for need in policy.needs})
        for policy in compiled.policies
    }
    assert found == DESCRIBED
    for policy in compiled.policies:
        assert policy.title
        assert policy.description
        assert set(policy.rules) == ({Mode.DENY, Mode.WARN} if policy.name in WARNING else {Mode.DENY})


def test_format(opa_binary: Path) -> None:
    done = opa(opa_binary, "fmt", "--diff", "--fail", ".")
    assert done.returncode == 0, done.stdout.decode()


def test_check(opa_binary: Path, tmp_path: Path) -> None:
    """Strict, and against the schema of the input: ``input.imgae`` would be an error."""
    schema = tmp_path / "input.json"
    schema.write_text(json.dumps(document_schema()))
    sources = [str(path) for path in SOURCES]
    done = opa(opa_binary, "check", "--strict", "--schema", str(schema), *sources)
    assert done.returncode == 0, done.stderr.decode()
    known = tmp_path / "known.rego"
    known.write_text(THREE_STATES)
    done = opa(opa_binary, "check", "--strict", "--schema", str(schema), str(known))
    assert done.returncode == 0, done.stderr.decode()
    for misspelt in ("input.imgae", "input.containers[_].usr", "input.containers[_].user.rot"):
        wrong = tmp_path / "wrong.rego"
        wrong.write_text(f"package portcullis.policies.wrong\n\ndeny contains {misspelt}\n")
        done = opa(opa_binary, "check", "--strict", "--schema", str(schema), str(wrong))
        assert done.returncode != 0, misspelt
        assert b"undefined ref" in done.stderr


def test_rego_tests_and_what_they_cover(opa_binary: Path) -> None:
    """With --coverage OPA names the first test that fails, and ends with another code than 0."""
    done = opa(opa_binary, "test", ".", *NO_POLICIES, "--timeout", "60s", "--coverage", "--format", "json")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    report = json.loads(done.stdout)
    print(f"coverage of the policies by their tests: {report['coverage']:.1f} %")
    for file, found in sorted(report["files"].items()):
        if not file.endswith("_test.rego"):
            print(f"  {found['coverage']:6.1f} %  {file}")
            assert found["coverage"] >= COVERAGE, file
    assert report["coverage"] >= COVERAGE


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_network_clock_or_chance(source: Path) -> None:
    text = source.read_text("utf-8")
    assert not [builtin for builtin in BUILTINS_WITHOUT_PLACE if builtin in text]


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {name: json.loads(sample.document()) for name, sample in samples.SAMPLES.items()}


def test_samples(opa_binary: Path, documents: dict[str, Any]) -> None:
    """What each sample violates is written beside its facts, by hand."""
    rulings = judge(opa_binary, documents, {})
    assert set(rulings) == set(samples.SAMPLES)
    for name, sample in samples.SAMPLES.items():
        assert set(rulings[name]) == set(POLICIES), name
        assert {policy for policy, found in rulings[name].items() if found} == sample.violates, name


def test_every_violation_is_fit_for_people(opa_binary: Path, documents: dict[str, Any]) -> None:
    for name, rulings in judge(opa_binary, documents, {}).items():
        for policy, violations in rulings.items():
            for violation in violations:
                where = f"{name}: {policy}: {violation}"
                assert set(violation) <= {"msg", "fix", "container", "image", "digest", "platform", "field", "details"}
                assert violation["details"]["reason"], where
                for words in (violation["msg"], violation["fix"]):
                    assert 0 < len(words) <= 300, where
                    assert not words.endswith("."), where
                    assert "%!" not in words, where
                assert violation.get("container", "web") in {"web", "files"}, where


EVIDENCE = ("attestations", "scans", "evaluations", "lint", "sboms", "provenance", "vex")


def bare(document: dict[str, Any]) -> dict[str, Any]:
    """Without what no policy reads, without what lies in layers, and without what was signed."""
    kept = copy.deepcopy({key: document[key] for key in ("workload", "containers", "images")})
    for key in ("labels", "annotations", "podMetadata", "kind", "apiVersion", "namespace", "name"):
        del kept["workload"][key]
    for image in kept["images"].values():
        for field in EVIDENCE:
            del image[field]
        for platform in image["platforms"]:
            del platform["config"], platform["contents"]
    return kept


UNREAD = {
    "attestations": ("carrier", "subject", "signedAt", "repository"),
    "scans": ("format", "suppressions", "filters", "counts"),
    "lint": ("dockerfile", "counts"),
    "sboms": ("specVersion", "createdAt", "tools"),
    "provenance": ("version", "sourceDigest", "entryPoint", "invocation", "startedAt", "finishedAt", "materials"),
}
"""Fields of evidence that no policy reads."""


def signed(document: dict[str, Any]) -> dict[str, Any]:
    """The containers, and of the images what policies read of evidence."""
    kept: dict[str, Any] = copy.deepcopy({key: document[key] for key in ("time", "containers", "images")})
    for container in kept["containers"]:
        del container["spec"], container["user"]
    for image in kept["images"].values():
        image["platforms"] = [{key: one[key] for key in ("platform", "digest")} for one in image["platforms"]]
        for field in ("reference", "tag", "digest", "staleSince", "problems", "evaluations", "vex"):
            del image[field]
        for field, unread in UNREAD.items():
            for fact in image[field]:
                for key in (*unread, "signer") if field != "provenance" else unread:
                    del fact[key]
        for finding in (finding for scan in image["scans"] for finding in scan["vulnerabilities"] or ()):
            for key in ("score", "state", "path", "epss"):
                del finding[key]
    return kept


def inside(document: dict[str, Any]) -> dict[str, Any]:
    """The containers, and of the platforms what policies read of their layers and configuration."""
    read = ("registry", "repository", "isIndex", "platforms")
    images = {
        name: {key: copy.deepcopy(image[key]) for key in read if key in image}
        for name, image in document["images"].items()
    }
    for platform in (platform for image in images.values() for platform in image["platforms"]):
        del platform["user"], platform["contents"]["interpreters"]
        for findings in platform["contents"].values():
            for finding in findings if isinstance(findings, list) else ():
                for key in ("layer", "mode", "gid", "size"):
                    finding.pop(key, None)
    return {"containers": copy.deepcopy(document["containers"]), "images": images}


OF_CONFIG = {"image-history", "image-healthcheck", "image-exec-form", "image-numeric-user"}
READ_INSIDE = [name for name in DESCRIBED if "contents" in DESCRIBED[name][2] or name in OF_CONFIG]
READ_SIGNED = [name for name in DESCRIBED if "attestations" in DESCRIBED[name][2]]
BASE_LAYER = str(samples.digest("other tar"))
EXEMPT = {"allowInBase": True, "exempt": [{"images": ["registry.example/**"], "paths": ["/opt/**"], "rules": ["x"]}]}
PARDONING = {
    "image-base": {"bases": {"other": {"layers": [BASE_LAYER]}}},
    **{f"image-{name}": EXEMPT for name in ("shell", "build-tools", "package-manager", "setuid", "secrets")},
}

PARAMETERS = {
    "image-user": {"acceptRunAsNonRoot": True},
    "image-source": {"allow": ["registry.example/**"], "deny": ["evil.example/**"]},
    "pod-privileges": {"level": "restricted"},
}

ASKING: Mapping[str, Mapping[str, Any]] = {
    "scan-required": {
        "scanners": ["trivy"],
        "distinctSigners": True,
        "endOfLife": "deny",
    },
    "scan-fresh": {"maxDbAgeHours": 1000, "requireMark": True, "scanners": ["trivy"]},
    "scan-severity": {
        "max": {"high": 1, "low": 0},
        "onlyFixable": True,
        "graceHours": 1,
        "allow": [
            {"id": "GHSA-aaaa-bbbb-cccc", "expires": "2026-12-01T00:00:00Z", "reason": "x", "packages": ["zlib"]},
            {"id": "CVE-2026-0001", "expires": "2026-11-01T00:00:00Z", "reason": "x", "images": ["**"]},
        ],
    },
    "scan-known-exploited": {"ids": ["CVE-2026-0001"]},
    "lint-required": {"failAt": "info", "ignore": ["DL1"], "maxAgeHours": 1000},
    "sbom-required": {"formats": ["cyclonedx"], "maxAgeHours": 1000},
    "sbom-packages": {"deniedPackages": ["openssl"], "deniedLicenses": ["AGPL-*"]},
    "provenance": {"sources": ["https://github.com/**"], "signers": ["release"], "refs": ["refs/heads/main"]},
    "vex-trusted": {"signers": ["ci"], "maxAgeHours": 1, "justifications": ["component_not_present"]},
    "image-signed": {"requireLog": True},
}


@pytest.mark.parametrize(
    ("parameters", "names"),
    [({}, ("root-on-one-platform", "untrusted-scan")), (PARAMETERS, ("vulnerable", "privileged"))],
    ids=["defaults", "parameters"],
)
def test_junk_anywhere_never_stops_a_policy(
    opa_binary: Path, documents: dict[str, Any], parameters: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    """A builtin that fails, or rules in conflict, would leave the policy undecided for a hostile document."""
    tried: dict[str, Any] = {}
    for name in names:
        tried |= {f"{name} {where}": mutant for where, mutant in mutants(bare(documents[name]))}
    assert len(tried) > 1000
    # The policies on pods have a test of their own, with a pod that says all they read (test_podsecurity.py).
    pods = {name for name in POLICIES if name.startswith("pss-")}
    judged = sorted(set(POLICIES) - set(READ_INSIDE) - set(READ_SIGNED) - pods)
    rulings = judge(opa_binary, tried, parameters, judged)
    assert set(rulings) == set(tried)
    assert [where for where, ruling in rulings.items() if set(ruling) != set(judged)] == []


@pytest.fixture(scope="module")
def junk_inside(documents: dict[str, Any]) -> dict[str, Any]:
    document = inside(documents["tools"])
    (image,) = document["images"]
    return dict(mutants(json.loads(json.dumps(document).replace(image, "web"))))


KEYED_FREELY = {"images", "labels"}
"""Their keys are names of images and labels, which no policy needs to say to read them."""


def fields_to(where: str) -> set[str]:
    """The fields on the way to what a mutant changed."""
    steps = where.partition(" := ")[0].split("/")
    return {
        step for before, step in itertools.pairwise(["", *steps]) if not step.isdecimal() and before not in KEYED_FREELY
    }


def words(policy: str) -> set[str]:
    """All words of a policy and of the libraries below it: a field that is not among them it cannot read.

    The lists that lib/contents knows are left out: it reads the one that a policy names.
    """
    found: set[str] = set()
    paths = [FOLDER / policy / "policy.rego"]
    for path in paths:
        source = re.sub(r'^list\("\w+", .*$', "", path.read_text("utf-8"), flags=re.MULTILINE)
        found.update(re.findall(r"\w+", source))
        imported = re.findall(r"^import data\.portcullis\.lib\.(\w+)$", source, flags=re.MULTILINE)
        paths += [path for name in imported if (path := FOLDER / "lib" / f"{name}.rego") not in paths]
    return found


@pytest.mark.parametrize("policy", READ_INSIDE)
def test_junk_in_layers_never_stops_a_policy(opa_binary: Path, junk_inside: dict[str, Any], policy: str) -> None:
    """Each policy is asked about junk in what it reads."""
    known = words(policy)
    tried = {where: document for where, document in junk_inside.items() if fields_to(where) <= known}
    assert len(tried) > 200
    rulings = judge(opa_binary, tried, PARDONING, [policy])
    assert set(rulings) == set(tried)
    assert [where for where, ruling in rulings.items() if policy not in ruling] == []


def test_most_of_what_lies_in_layers_is_read(junk_inside: dict[str, Any]) -> None:
    """What no policy reads, nobody is asked about."""
    read = [words(policy) for policy in READ_INSIDE]
    unread = [where for where in junk_inside if not any(fields_to(where) <= known for known in read)]
    assert len(unread) < len(junk_inside) / 4


SCANNING = ["scan-fresh", "scan-known-exploited", "scan-required", "scan-severity", "vex-trusted"]
READERS = {
    "scans": SCANNING,
    "lint": ["lint-required"],
    "sboms": ["sbom-packages", "sbom-required"],
    "provenance": ["provenance"],
    "": ["image-signed", "sbom-required", "scan-required"],
}
"""Which policies read a list. What is in none of them is read by all, through the same libraries."""


@pytest.mark.parametrize(
    ("parameters", "field"),
    [*(({}, field) for field in READERS), *((ASKING, field) for field in READERS if field)],
)
def test_junk_in_evidence_never_stops_a_policy(
    opa_binary: Path, documents: dict[str, Any], parameters: Mapping[str, Any], field: str
) -> None:
    def inside(where: str) -> str:
        return next(field for field in READERS if not field or re.search(rf"/{field}(/| )", where))

    tried = {where: mutant for where, mutant in mutants(signed(documents["vex"])) if inside(where) == field}
    assert len(tried) > 100
    rulings = judge(opa_binary, tried, parameters, READERS[field])
    assert set(rulings) == set(tried)
    assert [where for where, ruling in rulings.items() if set(ruling) != set(READERS[field])] == []


# Facts that refuse, and the one change that may lift each: nothing else is allowed to. Policies that share a question
# are asked together: what is no scan to the one is a missing one to the other.
LIFTED = {
    ("vulnerable", "scan-required scan-severity"): {"vulnerabilities := []"},
    ("stale", "scan-fresh scan-required"): set(),
    ("vulnerable", "lint-required"): set(),
    ("vulnerable", "sbom-required"): set(),
    ("vulnerable", "provenance"): set(),
    ("vulnerable", "image-signed"): set(),
    ("untrusted-scan", "scan-required"): set(),
    ("missing-image", "scan-required"): set(),
    ("missing-image", "image-user"): set(),
    ("missing-image", "image-age"): set(),
    ("no-reference", "image-source"): set(),
    ("root-on-one-platform", "image-user"): set(),
    ("tools", "image-shell"): {"shells := []", "0 := Ellipsis", "deleted := True"},
    ("tools", "image-build-tools"): {"buildTools := []", "0 := Ellipsis", "deleted := True"},
    ("tools", "image-package-manager"): set(),
    ("tools", "image-setuid"): set(),
    ("tools", "image-healthcheck"): set(),
    ("untrusted-scan", "image-numeric-user"): set(),
    ("missing-image", "image-exec-form"): set(),
    ("missing-image", "image-multi-stage"): set(),
    ("clean", "image-layer-order"): {"packages := []"},
    ("tools", "image-leftovers"): set(),
    ("tools", "image-secrets"): {"secrets := []", "0 := Ellipsis"},
    ("root-on-one-platform", "image-secrets"): set(),
    ("untrusted-scan", "image-shell"): set(),
    ("missing-image", "image-secrets"): set(),
}


@pytest.mark.parametrize(("name", "asked"), list(LIFTED))
def test_no_junk_turns_a_refusal_into_a_pass(
    opa_binary: Path, documents: dict[str, Any], name: str, asked: str
) -> None:
    policies = asked.split()
    needs = DESCRIBED[policies[0]][2]
    document = (inside if "contents" in needs else signed if "attestations" in needs else bare)(documents[name])
    tried = {
        where: mutant
        for where, mutant in mutants(document)
        # Without containers there is nothing to judge; the schema says that they are a list of objects.
        if not where.startswith(("containers :=", "containers/0 :="))
    }
    rulings = judge(opa_binary, tried, {}, policies)
    passed = {where for where, ruling in rulings.items() if not any(ruling[policy] for policy in policies)}
    assert {where.rpartition("/")[2] for where in passed} == LIFTED[name, asked]


DOCS = FOLDER.parent / "docs"


def test_the_examples_for_authors_work(opa_binary: Path, tmp_path: Path) -> None:
    """Every Rego block of docs/authors.md is formatted, compiles, and passes its own tests."""
    blocks = re.findall(r"```rego\n(.*?)```", (DOCS / "authors.md").read_text("utf-8"), flags=re.DOTALL)
    assert len(blocks) == 5
    schema = tmp_path / "input.json"
    schema.write_text(json.dumps(document_schema()))
    folder = tmp_path / "my-policies"
    folder.mkdir()
    for number, block in enumerate(blocks):
        kind = "_test" if "_test\n" in block else ""
        (folder / f"{number}{kind}.rego").write_text(block)
    for arguments in (
        ("fmt", "--diff", "--fail", str(folder)),
        ("check", "--strict", "--schema", str(schema), *(str(folder / f"{number}.rego") for number in (0, 2, 3))),
        ("test", str(folder / "0.rego"), str(folder / "1_test.rego"), "--coverage", "--threshold", "95"),
        ("test", str(folder / "3.rego"), str(folder / "4_test.rego"), "--coverage", "--threshold", "95"),
    ):
        done = opa(opa_binary, *arguments)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_the_pages_of_policies_name_every_parameter_and_reason() -> None:
    pages = {name: (DOCS / "policies" / f"{name}.md").read_text("utf-8") for name in POLICIES}
    index = (DOCS / "policies.md").read_text("utf-8")
    for name, page in pages.items():
        source = (FOLDER / name / "policy.rego").read_text("utf-8")
        parameters = re.findall(r'"(\w+)": \{"type":', source)
        for word in {*parameters, *reasons(source)}:
            assert f"`{word}`" in page, f"{name}: {word}"
        if name in READ_SIGNED:
            for word in {word for library in libraries(source) for word in reasons(library)}:
                shared = (pages["scan-required"], pages["scan-severity"], index, page)
                assert any(f"`{word}`" in text for text in shared), f"{name}: {word}"
        mode, severity, _ = DESCRIBED[name]
        assert re.search(rf"\[{name}\]\(policies/{name}\.md\) \| [^|]+ \| {mode}[^|]* \| {severity} \|", index), name


def reasons(source: str) -> set[str]:
    return {"".join(found) for found in re.findall(r'"reason": "([a-z-]+)"|said\("([a-z-]+)"', source)}


def libraries(source: str) -> Iterator[str]:
    """The libraries about evidence that a policy imports, and those that they import."""
    names = "|".join(("attestations", "findings", "freshness", "scans", "signed", "wholeness"))
    for name in re.findall(rf"^import data\.portcullis\.lib\.({names})$", source, flags=re.MULTILINE):
        library = (FOLDER / "lib" / f"{name}.rego").read_text("utf-8")
        yield library
        yield from libraries(library)
