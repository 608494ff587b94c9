"""The log, read beside or after the server, and compared with what clients were told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from e2e.killing.serving import Told
from portcullis.audit.sql import open_records
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord, RecordFilter


@dataclass(slots=True)
class Log:
    """What was read of the log, oldest first. Only newer records are read the next time."""

    url: str
    records: list[AuditRecord] = field(default_factory=list)

    async def read(self) -> Sequence[AuditRecord]:
        """The newer ones. Each is whole: its input is inflated, and is the one of its hash."""
        known = self.records[-1].sequence if self.records else 0
        found: list[AuditRecord] = []
        async with open_records(self.url) as records:
            before: int | None = None
            while page := await records.search(RecordFilter(limit=DEFAULT_LIMITS.search_rows, before=before)):
                found += [record for record in page if record.sequence > known]
                before = page[-1].sequence
                if before <= known:
                    break
            for record in found:
                whole = await records.get(record.decision.id)
                assert whole is not None
                assert record.uid.encode() in whole.decision.document
        self.records += reversed(found)
        return found[::-1]

    def compare(self, *all_told: Told) -> None:
        """Every answer is in the log once, as it was given; what nobody was told was at least asked for; the order is
        that of the answers.

        Args:
            all_told: by servers that ran beside each other.
        """
        kept = {record.decision.id: record for record in self.records}
        assert len(kept) == len(self.records), "a decision is stored twice"
        uids = [record.uid for record in self.records]
        assert len(set(uids)) == len(uids), "a review was decided twice"
        assert set(uids) <= {uid for told in all_told for uid in told.asked}
        for uid, answer in (one for told in all_told for one in told.answers.items()):
            record = kept.get(answer.decision)
            assert record is not None, f"the answer to {uid} is lost"
            recorded = (record.uid, record.decision.verdict is Verdict.ADMITTED, record.decision.code)
            assert recorded == (uid, answer.allowed, answer.code)
        assert uids == sorted(uids, key=_round), "a server's records stand before those of the server before it"
        last: dict[str, int] = {}
        for uid in uids:
            client, _, number = uid.rpartition("-")
            assert last.get(client, -1) < int(number), f"{uid} stands before what was answered before it"
            last[client] = int(number)


def _round(uid: str) -> int:
    return int(uid.partition("-")[0].removeprefix("r"))
