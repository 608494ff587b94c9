"""Proof that the audit log is as it was written, or the first record of each chain that is not.

 1. The genesis of each chain has the hash that its row says, and says what the row says.
 2. The checkpoints of each chain are of that chain, name one another in order, and never go back.
 3. A signature is one of a given key; behind a signed checkpoint of a chain none is unsigned.
 4. A chain begins behind its genesis, or where its newest checkpoint allows to remove records up to.
 5. Each record stands one position behind the one before it, and its hash covers that one's.
 6. Where somebody says what stands at a position (a checkpoint, the genesis of another chain, what was published
    elsewhere), that stands there; and no chain ends before such a position, or goes on where its writer left it.
 7. What a record is found by (columns, images, violations, reasons) is what its body says.
 8. Its judged input is the one that its body names; policy sets and configurations are those that their names say.
 9. Each chain that somebody names, or that a record stands in, is there.
10. Records that stand in no chain are older than the first chain, and no more than that one counted.

Not proven by this: what nobody published elsewhere, if whoever changed the store did it in all places and computed
every hash again (docs/threat-model.md).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from portcullis.audit.chain import genesis_hash, heads_in
from portcullis.audit.chainreading import ChainReader, ChainRow
from portcullis.audit.checkpointproof import Checkpoints, Keys, Said, covered, prove_checkpoints
from portcullis.audit.checkpoints import Place
from portcullis.audit.published import Published
from portcullis.audit.verification import ChainResult, Finding, Verification, Wrong
from portcullis.audit.walking import Walk
from portcullis.text import clean
from portcullis.times import rfc3339

RESTARTS = 10
"""How often a chain is begun with again because its beginning was pruned meanwhile."""
SHOWN = 5
"""Chains or keys that a sentence names."""

BundleHolds = Callable[[str, str, bytes], bool | None]
Progress = Callable[[int, int], None]


class Verifier:
    """Looks at a whole audit log.

    Args:
        keys: that may have signed checkpoints; without any, signatures are not looked at.
        lost: ids of chains that are known to be missing, or to lack their end.
        bundle_holds: whether a policy set or configuration, by kind, revision and content, is the one that its
            revision names; None where that cannot be told.
        progress: is told how many records were looked at, and of how many.
    """

    def __init__(
        self,
        reader: ChainReader,
        *,
        keys: Keys,
        published: Iterable[Published] = (),
        lost: Iterable[str] = (),
        bundle_holds: BundleHolds | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._published = published
        self._lost = frozenset(lost)
        self._bundle_holds = bundle_holds
        self._progress = progress
        self._findings: list[Finding] = []
        self._doubts: list[str] = []
        self._said: defaultdict[str, list[Said]] = defaultdict(list)
        self._left: dict[str, tuple[int, str]] = {}
        self._signed: dict[str, int] = {}
        self._done = self._of = self._heard = self._signatures = self._untold = 0
        self._unknown: set[str] = set()

    async def run(self) -> Verification:
        """The outcome.

        Raises:
            RecordsError: the store is down.
            ConfigError: what was published cannot be read.
        """
        numbers = await self._reader.numbers()  # before the chains, which others may begin meanwhile
        chains = await self._reader.chains()
        sound = [chain for chain in chains if self._genesis_holds(chain)]
        self._listen(sound)
        self._of = sum([max(await self._reader.last(chain.number) - chain.pruned, 0) for chain in chains])
        self._require_chains(chains, numbers)
        results = [await self._chain(chain) for chain in chains]
        reached = covered(sound, self._signed)
        results = [replace(one, signed=reached.get(one.chain, -1)) for one in results]
        unchained = await self._unchained(chains)
        await self._bundles()
        self._doubt(results)
        return Verification(
            chains=results,
            findings=self._findings,
            doubts=self._doubts,
            notes=self._notes(results, unchained),
            records=self._done,
            unchained=unchained,
            published=self._heard,
        )

    # -- what is said ----------------------------------------------------------------------------------------------

    def _genesis_holds(self, chain: ChainRow) -> bool:
        """(1)"""
        problem = ""
        try:
            tree = json.loads(chain.genesis)
            stated = (tree["chain"], tree["replica"], tree["startedAt"], tree["webhookVersion"])
        except (ValueError, LookupError, TypeError, RecursionError):
            problem = "the genesis is none"
        else:
            if stated != (chain.id, chain.replica, rfc3339(chain.started_at), chain.version):
                problem = "the genesis is not that of this chain"
        if genesis_hash(chain.genesis.encode("utf-8", "surrogatepass")) != chain.hash:
            problem = "the genesis was changed"
        if problem:
            self._findings.append(Finding(Wrong.GENESIS, problem, chain.id, chain.replica))
        return not problem

    def _listen(self, chains: Sequence[ChainRow]) -> None:
        """(6): gathers what is said by others."""
        for chain in chains:
            who = f"the chain that {chain.replica} began at {rfc3339(chain.started_at, 'seconds')}"
            for head in heads_in(chain.genesis):
                self._said[head.chain].append(Said(Place(head.position, head.hash), who))
            for head in heads_in(chain.genesis, "left"):
                self._said[head.chain].append(Said(Place(head.position, head.hash), who))
                self._left[head.chain] = (head.position, who)
        for one in self._published:
            self._heard += 1
            self._said[one.chain].append(Said(one.place, one.where))
            if self._keys.known(one.signed.key) and not self._keys.signed(one.signed):
                message = f"{one.where}: its signature is not one of its key"
                self._findings.append(Finding(Wrong.CHECKPOINT, message, one.chain, "", one.place.position))

    def _require_chains(self, chains: Sequence[ChainRow], numbers: Sequence[int]) -> None:
        """(9)"""
        known = {chain.id for chain in chains}
        for chain, said in self._said.items():
            if chain not in known and chain not in self._lost:
                last = max(said, key=lambda one: one.place.position)
                message = f"the chain is gone with its {last.place.position} records or more, which {last.who} names"
                self._findings.append(Finding(Wrong.VANISHED, message, chain, "", last.place.position))
        for number in sorted({*numbers} - {chain.number for chain in chains}):
            message = f"records or checkpoints stand in the chain number {number}, which is gone"
            self._findings.append(Finding(Wrong.VANISHED, message))

    # -- one chain -------------------------------------------------------------------------------------------------

    async def _chain(self, chain: ChainRow) -> ChainResult:
        begun = self._done
        for _ in range(RESTARTS):
            self._done = begun
            proven, walk = await self._prove(chain)
            findings = [*proven.findings, *walk.findings]
            now = await self._reader.chain(chain.number) if findings else None
            if now is None or now.pruned == chain.pruned:
                break
            chain = now  # it was pruned while it was read
        else:
            self._doubts.append(f"the chain {chain.id} is being pruned: verify it again afterwards")
            findings = []
        self._findings += findings
        self._signed[chain.id] = -1 if findings else proven.signed
        self._signatures += proven.signatures
        self._unknown |= proven.unknown
        return ChainResult(
            chain=chain.id,
            replica=chain.replica,
            started_at=chain.started_at,
            first=chain.pruned + 1,
            last=walk.position,
            hash=walk.place.hash,
            checkpoints=proven.count,
            signed=-1,
            whole=not findings,
        )

    async def _prove(self, chain: ChainRow) -> tuple[Checkpoints, Walk]:
        proven = prove_checkpoints(chain, await self._reader.checkpoints(chain.number), self._keys)
        walk = Walk(
            self._reader,
            chain,
            said=[*self._said[chain.id], *proven.said],
            left=self._left.get(chain.id),
            lost=chain.id in self._lost,
            seen=self._count,
        )
        await walk.run(await self._reader.last(chain.number))  # read after the checkpoints: none of them is ahead of it
        return proven, walk

    def _count(self, records: int) -> None:
        self._done += records
        if self._progress is not None:
            self._progress(self._done, self._of)

    # -- the rest --------------------------------------------------------------------------------------------------

    async def _unchained(self, chains: Sequence[ChainRow]) -> int:
        """(10)"""
        records, last = await self._reader.unchained()
        if records and chains:
            try:
                stated = json.loads(chains[0].genesis)["unchained"]
                most, through = int(stated["records"]), int(stated["through"])
            except (ValueError, LookupError, TypeError, RecursionError):
                return records  # step 1 has told
            if records > most or last > through:
                message = (
                    f"{records} records stand in no chain, the last with the sequence {last}; when the first chain "
                    f"began there were {most}, up to {through}"
                )
                self._findings.append(Finding(Wrong.INSERTED, message))
        return records

    async def _bundles(self) -> None:
        """(8)"""
        if self._bundle_holds is None:
            return
        for revision, kind in await self._reader.bundles():
            content = await self._reader.bundle(revision)
            holds = None if content is None else self._bundle_holds(kind, revision, content)
            self._untold += holds is None
            if holds is False:
                message = f"what is kept as the {kind} {clean(revision, 80)} is not what was kept under that name"
                self._findings.append(Finding(Wrong.BUNDLE, message))

    def _doubt(self, results: Sequence[ChainResult]) -> None:
        if self._unknown:
            hints = ", ".join(sorted(clean(one, 80) for one in self._unknown)[:SHOWN])
            self._doubts.append(f"checkpoints are signed by keys that were not given: {hints}")
        bare = [one for one in results if one.signed < 0 and one.records]
        if self._keys and bare:
            records = sum(one.records for one in bare)
            named = ", ".join(one.chain for one in bare[:SHOWN])
            self._doubts.append(
                f"no signature by a given key covers {len(bare)} chains with {records} records: {named}"
            )

    def _notes(self, results: Sequence[ChainResult], unchained: int) -> Sequence[str]:
        notes = []
        if unchained:
            notes.append(f"{unchained} records are older than chains: nothing shows whether they were changed")
        if self._signatures and not self._keys:
            notes.append(f"{self._signatures} checkpoints are signed; --key PUBLIC.pem checks by whom")
        behind = sum(one.unsigned for one in results if one.signed >= 0)
        if behind:
            notes.append(f"{behind} records are newer than the last signature that covers their chain")
        if self._untold:
            notes.append(f"{self._untold} policy sets are those of another version of Portcullis, or were changed")
        if not self._heard:
            notes.append(
                "whether the newest records were cut off shows with --checkpoints, what was published elsewhere"
            )
        return notes
