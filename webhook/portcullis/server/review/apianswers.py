"""The answers of the JSON API: what the ledger gives, under the names of apimodels.py."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from portcullis.model.record import (
    AuditRecord,
    ChainPlace,
    Counted,
    Extent,
    ImageUse,
    PolicyBucket,
    PolicyTally,
    RecordPage,
    Span,
    VerdictBucket,
    WorkloadUse,
)
from portcullis.model.ruling import CompiledBundle, PolicyInfo
from portcullis.server.recordjson import record_json
from portcullis.server.review.apimodels import API_VERSION
from portcullis.server.review.imagefacts import best_known, seen_in
from portcullis.tasks import aside
from portcullis.times import rfc3339

_ROW_BYTES = 8 * 1024
"""Of a record, as a guess."""
_MEDIA_TYPE = "application/json"

Tree = Mapping[str, Any]


async def json_answer(make: Callable[[], Tree], *, rows: int = 0) -> Response:
    """What ``make`` gives, made in a thread where it has many rows: the webhook has the same event loop."""
    content = await aside(rows * _ROW_BYTES, lambda: _encoded(make()))
    return Response(content, media_type=_MEDIA_TYPE)


async def record_whole(record: AuditRecord, place: ChainPlace | None, *, document: bool) -> Response:
    """One record; its document goes in as it is kept, which is JSON: nobody has to read 32 MiB for it."""
    tree = {**record_json(record, document=False), "place": place_json(place) if place is not None else None}
    content = _encoded(tree)
    if document:
        content = content[:-1] + b',"input":' + (record.decision.document or b"null") + b"}"
    return Response(content, media_type=_MEDIA_TYPE)


def _encoded(tree: Tree) -> bytes:
    """In ASCII, so that half of a surrogate pair in an old message is no error."""
    return json.dumps(tree, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _instant(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None


def records_json(page: RecordPage) -> Tree:
    return {
        "apiVersion": API_VERSION,
        "kind": "AuditRecordList",
        "items": [record_json(record, document=False) for record in page.records],
        "next": page.next,
        "searchedTo": _instant(page.searched_to),
    }


def place_json(place: ChainPlace) -> Tree:
    return {"chain": place.chain, "replica": place.replica, "position": place.position, "hash": place.hash}


def image_json(image: ImageUse) -> Tree:
    return {
        "digest": image.digest,
        "written": image.written,
        "firstAt": _instant(image.first_at),
        "lastAt": _instant(image.last_at),
        "decisions": image.decisions,
        "refused": image.refused,
        "namespaces": image.namespaces,
    }


def image_whole(image: ImageUse, workloads: Sequence[WorkloadUse], records: Sequence[AuditRecord]) -> Tree:
    """Args:
    records: decisions about it with their documents.
    """
    known = best_known(seen_in(records, image.digest))
    facts = None
    if known is not None:
        facts = {"decisionId": known.decision_id, "decidedAt": _instant(known.at), "image": known.image}
    return {**image_json(image), "workloads": [_workload(workload) for workload in workloads], "facts": facts}


def _workload(workload: WorkloadUse) -> Tree:
    return {
        "namespace": workload.namespace,
        "kind": workload.kind,
        "name": workload.name,
        "written": workload.written,
        "decisionId": workload.decision_id,
        "decidedAt": _instant(workload.decided_at),
        "verdict": workload.verdict,
        "because": workload.because,
    }


def policies_json(compiled: CompiledBundle, span: Span, tallies: Sequence[PolicyTally]) -> Tree:
    loaded = {policy.name: policy for policy in compiled.policies}
    names = sorted({*loaded, *(tally.policy for tally in tallies)})
    return {
        "apiVersion": API_VERSION,
        "kind": "AuditPolicyList",
        **_span(span),
        "policyRevision": compiled.revision,
        "items": [
            _policy(name, loaded.get(name), [tally for tally in tallies if tally.policy == name]) for name in names
        ],
    }


def policy_json(
    name: str,
    info: PolicyInfo | None,
    span: Span,
    tallies: Sequence[PolicyTally],
    *,
    buckets: Sequence[PolicyBucket],
    namespaces: Sequence[Counted],
    images: Sequence[Counted],
) -> Tree:
    return {
        **_policy(name, info, tallies),
        **_span(span),
        "buckets": [
            {
                "start": _instant(bucket.start),
                "violations": bucket.violations,
                "excepted": bucket.excepted,
                "undecided": bucket.undecided,
            }
            for bucket in buckets
        ],
        "namespaces": [_counted(one) for one in namespaces],
        "images": [_counted(one) for one in images],
    }


def overview_json(
    span: Span,
    extent: Extent,
    buckets: Sequence[VerdictBucket],
    tallies: Sequence[PolicyTally],
    namespaces: Sequence[Counted],
) -> Tree:
    return {
        "apiVersion": API_VERSION,
        "kind": "AuditOverview",
        **_span(span),
        "extent": {
            "records": extent.records,
            "oldest": _instant(extent.oldest),
            "newest": _instant(extent.newest),
        },
        "verdicts": [_bucket(bucket) for bucket in buckets],
        "policies": [{"policy": tally.policy, **_tally(tally)} for tally in tallies],
        "namespaces": [{"namespace": one.name, "refused": one.count} for one in namespaces],
    }


def _bucket(bucket: VerdictBucket) -> Tree:
    return {
        "start": _instant(bucket.start),
        "admitted": bucket.admitted,
        "refused": bucket.refused,
        "outages": bucket.outages,
        "pending": bucket.pending,
        "excepted": bucket.excepted,
        "breakGlass": bucket.break_glass,
        "dryRuns": bucket.dry_runs,
    }


def _policy(name: str, info: PolicyInfo | None, tallies: Sequence[PolicyTally]) -> Tree:
    return {
        "name": name,
        "loaded": info is not None,
        "title": info.title if info is not None else "",
        "description": info.description if info is not None else "",
        "severity": info.severity if info is not None else "",
        "category": info.category if info is not None else "",
        "defaultMode": info.mode.value if info is not None else "",
        "docs": info.docs if info is not None else "",
        "tallies": [_tally(tally) for tally in tallies],
    }


def _tally(tally: PolicyTally) -> Tree:
    return {
        "mode": tally.mode,
        "violations": tally.violations,
        "excepted": tally.excepted,
        "undecided": tally.undecided,
    }


def _counted(one: Counted) -> Tree:
    return {"name": one.name, "count": one.count}


def _span(span: Span) -> Tree:
    return {"since": _instant(span.since), "until": _instant(span.until)}
