"""What runs, under the names of apirunningmodels.py."""

from collections.abc import Mapping, Sequence
from typing import Any

from portcullis.model.running import Condition, FindingPage, MovedTag, Rejudged, Round
from portcullis.server.recordjson import decision_json, grant_json
from portcullis.server.review.apimodels import API_VERSION
from portcullis.server.review.runningstate import GrantInForce, Rounds, RunningNow
from portcullis.server.runningjson import owner_json
from portcullis.times import rfc3339

Tree = Mapping[str, Any]


def running_json(rounds: Rounds, totals: Mapping[Condition, int], page: FindingPage, *, whole: bool) -> Tree:
    """Args:
    whole: the reader may see everything, and so the sums of a round.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "RunningList",
        **_rounds(rounds, whole=whole),
        "totals": _totals(totals),
        "items": [result_json(one) for one in page.results],
        "next": page.next or None,
    }


def workload_json(rounds: Rounds, results: Sequence[Rejudged], *, whole: bool) -> Tree:
    return {
        "apiVersion": API_VERSION,
        "kind": "Running",
        **_rounds(rounds, whole=whole),
        "items": [result_json(one) for one in results],
    }


def running_now_json(running: RunningNow, *, whole: bool) -> Tree:
    """For the overview."""
    return {
        "breakGlass": {"grants": [_grant(one) for one in running.grants], "workloads": running.let_in_count},
        "running": {**_rounds(running.rounds, whole=whole), "totals": _totals(running.totals)},
    }


def result_json(result: Rejudged) -> Tree:
    """One group of pods."""
    return {
        "owner": owner_json(result.owner),
        "pods": list(result.pods),
        "count": result.count,
        "condition": result.condition.value,
        "moved": [_moved(one) for one in result.moved],
        "breakGlass": result.break_glass,
        "judgedAt": rfc3339(result.judged_at) if result.judged_at is not None else None,
        "passed": list(result.passed),
        "omitted": result.omitted,
        **decision_json(result.decision),
    }


def _moved(one: MovedTag) -> Tree:
    return {
        "container": one.container,
        "written": one.written,
        "judged": one.judged,
        "running": one.running,
        "decisionId": one.decision_id,
    }


def _grant(one: GrantInForce) -> Tree:
    return {**grant_json(one.grant), "madeBy": one.made_by}


def _totals(totals: Mapping[Condition, int]) -> Tree:
    return {condition.value: count for condition, count in totals.items()}


def _rounds(rounds: Rounds, *, whole: bool) -> Tree:
    shown, under_way = rounds.shown, rounds.under_way
    return {
        "round": _round(shown, whole=whole) if shown is not None else None,
        "underWaySince": rfc3339(under_way.started_at) if under_way is not None else None,
    }


def _round(one: Round, *, whole: bool) -> Tree:
    sums = {
        "workloads": one.workloads,
        "pods": one.pods,
        "images": one.images,
        "registryRequests": one.registry_requests,
        "replica": one.replica,
        "unreachable": one.unreachable,
    }
    return {
        "startedAt": rfc3339(one.started_at),
        "endedAt": rfc3339(one.ended_at) if one.ended_at is not None else None,
        "complete": not one.unreachable,
        **(sums if whole else dict.fromkeys(sums)),
    }
