"""Reports from anybody: whatever the document, an answer or a refusal with a reason."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports import detect, read_facts, read_report
from portcullis.evidence.reports.anchore import read_anchore
from portcullis.evidence.reports.clair import read_clair
from portcullis.evidence.reports.cvss import base_score
from portcullis.evidence.reports.findings import unique
from portcullis.evidence.reports.grype import read_grype
from portcullis.evidence.reports.trivy import read_trivy
from portcullis.evidence.reports.vuln import read_vuln
from portcullis.evidence.reports.vulns import read_vulns
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import PredicateClass, Severity, Statement, Vulnerability
from vectors import reports as made
from vectors.attestations import SUBJECT

Reader = Callable[[bytes, Limits], object]

REASONS = {"attestation-invalid", "attestation-unsupported", "too-large"}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))

SUPPRESSED = {"Type": "vulnerability", "Status": "ignored", "Source": "x", "Finding": made.finding()}
TRIVY = made.trivy(made.finding(CVSS={"nvd": {"V3Score": 7.5}}, VendorIDs=["DSA-1"], PkgPath="x"))
TRIVY["Results"][0] |= {"ExperimentalModifiedFindings": [SUPPRESSED], "Packages": [{"Name": "openssl"}]}
IGNORED = {**made.match("CVE-2"), "appliedIgnoreRules": [made.rule(vulnerability="CVE-2")]}
RELATED = {"id": "CVE-3", "epss": [{"epss": 0.5}], "knownExploited": [{}]}
FIX = {"versions": ["2"], "state": "fixed", "available": [{"date": "2026-11-01"}]}
GRYPE = made.grype(made.match(related=[RELATED], fix=FIX), ignoredMatches=[IGNORED])
ENRICHED: dict[str, Any] = {f"x; enricher=clair.{name} y": [{"v0": [{}]}] for name in ("cvss", "epss", "kev")}
OLD_TABLE = {"result": {"header": ["Gate", "Gate_Action"], "rows": [["g", "stop", False]]}}
OLD_DETAIL = {"result": {"final_action": "stop", "result": {"x": OLD_TABLE, "policy_data": []}}}
OLD = [{SUBJECT: {"tag": [{"detail": OLD_DETAIL, "last_evaluation": "", "policyId": "x", "status": "fail"}]}}]
PASSED = {"status": "pass", "details": {"findings": [{"gate": "g"}]}}
ENTERPRISE = {"imageDigest": SUBJECT, "evaluations": [PASSED]}
NVD = [{"cvss_v3": {"base_score": 9.1}}]
GRADED = {"id": "CVE-1", "severity": [{"method": "x", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}

GOOD: Sequence[tuple[Reader, object]] = [
    (read_trivy, TRIVY),
    (read_trivy, TRIVY["Results"]),
    (read_grype, GRYPE),
    (read_anchore, made.engine(made.engine_row(nvd_data=NVD))),
    (read_anchore, [made.anchorectl_row()]),
    (read_anchore, made.exported(made.exported_row())),
    (read_anchore, [made.evaluated()]),
    (read_anchore, ENTERPRISE),
    (read_anchore, OLD),
    (read_clair, made.clair(made.clair_vulnerability(), made.clair_vulnerability("RHSA-2022:1"), enrichments=ENRICHED)),
    (read_vuln, made.vuln(made.grype(made.match()), started="2026-11-01T00:00:00Z", db={"lastUpdate": ""})),
    (read_vulns, made.vulns(GRADED, {"vulnerability": GRADED})),
    (read_report, made.custom([made.finding()])),
]
READERS = [*dict.fromkeys(reader for reader, _ in GOOD), detect]


def answers(reader: Reader, document: object) -> object | None:
    """What the reader says, and None where it refuses with a reason. Anything else fails the test."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        return reader(content, DEFAULT_LIMITS)
    except EvidenceError as error:
        refused = error
    assert refused.reason in REASONS
    assert refused.message
    return None


def places(document: object) -> Sequence[tuple[Any, Any]]:
    """Where something stands in ``document``: its container and its key or index."""
    found: list[tuple[Any, Any]] = []
    level: list[Any] = [document]
    while level:
        one = level.pop()
        keys: Sequence[Any] = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            level.append(one[key])
    return found


def test_what_the_others_are_made_of_is_read() -> None:
    for reader, document in GOOD:
        if reader is not read_report:
            assert answers(reader, document) is not None, document


@given(st.sampled_from(GOOD), st.data())
def test_a_document_with_anything_in_one_place(case: tuple[Reader, object], data: st.DataObject) -> None:
    reader, document = case
    changed = json.loads(json.dumps(document))
    container, key = data.draw(st.sampled_from(places(changed)))
    if isinstance(container, dict) and data.draw(st.booleans()):
        del container[key]
    else:
        container[key] = data.draw(JSON)
    answers(reader, changed)
    answers(detect, changed)


@given(st.sampled_from(READERS), JSON)
def test_any_json(reader: Reader, document: object) -> None:
    answers(reader, document)


@given(st.sampled_from(READERS), st.one_of(st.binary(max_size=60), st.just(b"["), TEXT.map(str.encode)))
def test_any_bytes(reader: Reader, content: bytes) -> None:
    answers(reader, content)


OPENED = [b"[", b'{"a":', b'{"scanner":', b'{"scanner":{"result":', b'{"matches":[']


@given(st.sampled_from(READERS), st.integers(1, 200_000), st.sampled_from(OPENED))
def test_any_depth(reader: Reader, depth: int, opened: bytes) -> None:
    answers(reader, opened * min(depth, 200_000 // len(opened)))


@given(st.sampled_from(list(PredicateClass)), st.sampled_from(GOOD), TEXT)
def test_a_statement_of_any_class(about: PredicateClass, case: tuple[Reader, object], kind: str) -> None:
    statement = Statement(kind, json.dumps(case[1]).encode())
    answers(lambda content, limits: read_facts(statement, about, limits), {})


@given(st.permutations(range(6)))
def test_the_order_of_rows_says_nothing(order: list[int]) -> None:
    rows = [
        made.finding(severity=severity, FixedVersion=fixed)
        for severity in ("LOW", "CRITICAL", "UNKNOWN")
        for fixed in (None, "2")
    ]
    report = read_trivy(made.text(made.trivy(*(rows[number] for number in order))), DEFAULT_LIMITS)
    (only,) = report.vulnerabilities
    assert (only.severity, only.fixed) == (Severity.CRITICAL, "2")


FINDINGS = st.builds(
    Vulnerability,
    id=st.sampled_from(["CVE-1", "CVE-2"]),
    aliases=st.sampled_from([(), ("A",), ("A", "B")]),
    package=st.sampled_from(["p", "q"]),
    installed=st.sampled_from(["", "1"]),
    fixed=st.sampled_from(["", "2"]),
    severity=st.sampled_from(list(Severity)),
    score=st.none() | st.floats(0, 10),
    exploited=st.none() | st.booleans(),
)


@given(st.lists(FINDINGS, max_size=12))
def test_each_finding_once_and_none_milder(findings: list[Vulnerability]) -> None:
    found = unique(findings)
    by_key = {(one.id, one.package, one.installed): one for one in found}
    assert len(by_key) == len(found)
    assert unique(found) == found
    for one in findings:
        kept = by_key[one.id, one.package, one.installed]
        order = list(Severity)
        assert order.index(kept.severity) <= order.index(one.severity)
        assert kept.fixed or not one.fixed
        assert kept.exploited or not one.exploited
        assert (kept.score or 0) >= (one.score or 0)
        assert set(one.aliases) <= set(kept.aliases)


METRICS = ["AV:N", "AC:L", "PR:N", "PR:H", "UI:N", "S:U", "S:C", "C:H", "C:L", "I:N", "A:L", "A:N", "E:X"]


@given(st.one_of(TEXT, st.lists(st.sampled_from(METRICS), max_size=12, unique=True).map("/".join)))
def test_any_vector(vector: str) -> None:
    for prefix in ("", "CVSS:3.1/", "CVSS:3.0/"):
        score = base_score(prefix + vector)
        assert score is None or (0 <= score <= 10 and round(score, 1) == score)
