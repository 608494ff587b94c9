"""The API server's audit log joined with our records, both ways, with every request told apart.

The joint is the decision's id, which the API server keeps with the annotations of an answer (see e2e.cluster.gate).
"""

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from e2e.cluster.gate import WEBHOOK, Installed, unmatched
from e2e.faulting.asking import DENIED, UNANSWERED

JSON = Mapping[str, Any]
COLUMNS = "id, username, operation, kind, namespace, name, verdict, code, because, dry_run, config_revision"
DECISION = f"{WEBHOOK}/decision-id"


class Fate(StrEnum):
    """What became of a request that a rule covers."""

    RECORDED = "has its record"
    BEFORE = "ended before validating admission, and never came"
    UNANSWERED = "refused by the API server, which had no answer of the gate"
    UNRECORDED = "refused by the gate with 503, because the record could not be kept"
    UNGATED = "came before there was a gate"
    LATE = "the API server gave it up, and refused"
    UNMATCHED = "a hole in the log"


@dataclass(frozen=True, slots=True)
class Joined:
    """``events`` of the API server with their fates; ``unclaimed`` records, to which no request refers; ``twice``:
    decisions to which more than one does."""

    events: Sequence[tuple[JSON, Fate]]
    unclaimed: Sequence[JSON]
    twice: Sequence[str]

    def of(self, fate: Fate) -> list[JSON]:
        return [event for event, found in self.events if found is fate]

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(fate.name for _, fate in self.events))

    def __str__(self) -> str:
        shown = [short(event) for event in self.of(Fate.UNMATCHED)[:10]]
        return "\n".join(map(json.dumps, [self.counts, *shown, list(self.twice[:10]), list(self.unclaimed[:10])]))


def join(
    events: Iterable[JSON],
    records: Sequence[JSON],
    rules: Sequence[JSON],
    exempt: Sequence[str],
    *,
    ungated: int = 0,
) -> Joined:
    """Joins them. ``rules`` and ``exempt`` namespaces are the webhook's; so many events, ``ungated``, had been logged
    when it was registered.

    A record that no request refers to is no fault where the API server asked twice about one request, which it does
    when a patch meets another write: then there is a record with the same words that is claimed.
    """
    by_id = {record["id"]: record for record in records}
    told = []
    for number, event in enumerate(events):
        if not unmatched([event], (), rules, exempt):
            # No rule covers it, or it ended before: e2e.cluster.gate says which, and is tested by test_join.py.
            if unmatched([{**event, "responseStatus": {}}], (), rules, exempt):
                told.append((event, Fate.BEFORE))
            continue
        fate = _fate(event, by_id)
        told.append((event, Fate.UNGATED if fate is Fate.UNMATCHED and number < ungated else fate))
    claims = Counter(_decision(event) for event, fate in told if fate is Fate.RECORDED)
    claimed = {_words(by_id[decision]) for decision in claims}
    unclaimed = [one for one in records if one["id"] not in claims and _words(one) not in claimed]
    return Joined(told, unclaimed, [decision for decision, count in claims.items() if count > 1])


def joined(installed: Installed, records: Callable[[], Sequence[JSON]], *, ungated: int = 0) -> Joined:
    """The join of this cluster, by the rules that its webhook has now. Controllers go on: records are read after the
    events, since each is there before its answer."""
    webhook = installed.webhook()
    (exempt,) = webhook["namespaceSelector"]["matchExpressions"]
    events = installed.cluster.audit_events()
    return join(events, records(), webhook["rules"], exempt["values"], ungated=ungated)


def short(event: JSON) -> JSON:
    return {key: event.get(key) for key in ("auditID", "verb", "requestURI", "responseStatus", "user", "annotations")}


def sqlite_records(installed: Installed, where: str = "true", *values: object) -> list[dict[str, Any]]:
    """Of every database on the claims of the cluster; those for which the SQL ``where`` holds."""
    statement = f"SELECT {COLUMNS} FROM decisions WHERE {where} ORDER BY sequence"
    found = []
    for database in sorted(installed.kubelet.claims.glob("*/audit.db")):
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            found += [dict(row) for row in connection.execute(statement, values)]
    return found


def postgres_records(installed: Installed) -> list[dict[str, Any]]:
    """Of the database that replicas share."""
    rows = installed.shared(f"SELECT {COLUMNS} FROM decisions ORDER BY sequence")
    names = COLUMNS.split(", ")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _decision(event: JSON) -> str:
    found: str = event.get("annotations", {}).get(DECISION, "")
    return found


def _fate(event: JSON, by_id: Mapping[str, JSON]) -> Fate:
    if _decision(event) in by_id:
        return Fate.RECORDED
    status = event.get("responseStatus", {})
    code, message = status.get("code", 0), status.get("message", "")
    if code >= 500 and UNANSWERED in message:
        return Fate.UNANSWERED
    if code == 503 and message.startswith(f"{DENIED}[audit-unavailable] "):
        return Fate.UNRECORDED
    if code == 504 and WEBHOOK not in message:
        return Fate.LATE
    return Fate.UNMATCHED


def _words(record: JSON) -> tuple[object, ...]:
    return tuple(record[key] for key in ("username", "operation", "kind", "namespace", "name", "dry_run"))
