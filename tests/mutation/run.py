"""`make mutate`: do the tests of the policies fail when a condition is removed?

    python -m mutation.run [--workers N] [POLICY ...]

Of each policy one condition, branch or rule after the other is dropped, and the policy's own tests are asked in OPA
until one fails. POLICY may hold wildcards. Exit 0: every mutant was killed, is no valid Rego, or is justified in
justified.toml; 1: there are others, or entries there that are not needed; 2: nothing could be judged.
"""

import argparse
import contextlib
import enum
import fnmatch
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from mutation.justified import Key, outdated, read_justified, unjustified
from mutation.library import Library, Module, load_library, policies_below
from mutation.mutants import Mutant, mutants
from mutation.server import NotCompiled, Server

ROOT = Path(__file__).resolve().parents[2]
JUSTIFIED = Path(__file__).with_name("justified.toml")
BATCH = 24
"""Mutants that are judged by one OPA. Starting one takes as long as judging two or three."""


class Outcome(enum.StrEnum):
    KILLED = "killed"
    INVALID = "invalid"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some mutants of one module, and the tests in the order in which they are asked; the order is shared by all
    batches of a policy, and the tests that kill move to its front."""

    policy: str
    module: Module
    mutants: Sequence[Mutant]
    order: list[str]


@dataclass(frozen=True, slots=True)
class Judged:
    batch: Batch
    outcomes: Sequence[Outcome]
    seconds: float


@dataclass(slots=True)
class Tally:
    """What is known of a policy so far."""

    batches: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    survivors: list[tuple[Module, Mutant]] = field(default_factory=list)
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make mutate", description="Drops conditions of policies one by one.")
    parser.add_argument("policies", nargs="*", metavar="POLICY", help="names, with wildcards; all if none is given")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many OPAs at a time")
    parser.add_argument("--folder", type=Path, default=ROOT / "policies")
    parser.add_argument("--justified", type=Path, default=JUSTIFIED)
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    with ThreadPoolExecutor(max(1, chosen.workers)) as executor:
        try:
            justified = read_justified(chosen.justified)
            names = _chosen(chosen.folder, chosen.policies)
            library = load_library(chosen.folder, names, executor)
            batches = [batch for found in executor.map(lambda name: _batches(library, name), names) for batch in found]
            tallies = _judge(library, batches, executor)
        except (ValueError, RuntimeError) as error:
            print(f"make mutate: {error}", file=sys.stderr)
            return 2
    return _report(library, names, tallies, justified, time.monotonic() - started)


def _chosen(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Raises ValueError where a pattern matches no policy."""
    known = policies_below(folder)
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise ValueError(f"there is no policy {pattern!r} in {folder}")
    return [name for name in known if not patterns or any(fnmatch.fnmatchcase(name, one) for one in patterns)]


def _batches(library: Library, policy: str) -> list[Batch]:
    """The quickest tests come first.

    Raises:
        ValueError: the policy has no tests, or one fails as it is.
    """
    timed: list[tuple[float, str]] = []
    with _server(library, policy) as server:
        for test in library.tests(policy):
            started = time.monotonic()
            if not server.holds(test):
                raise ValueError(f"{policy}: {test} fails before anything is dropped")
            timed.append((time.monotonic() - started, test))
    if not timed:
        raise ValueError(f"{policy}: has no tests")
    order = [test for _, test in sorted(timed)]
    return [
        Batch(policy, module, found[start : start + BATCH], order)
        for module in library.sources(policy)
        for found in [list(mutants(module.text, module.tree))]
        for start in range(0, len(found), BATCH)
    ]


def _server(library: Library, policy: str) -> Server:
    return Server({str(module.path): module.text for module in library.needed(policy)})


def _judge(library: Library, batches: Sequence[Batch], executor: ThreadPoolExecutor) -> dict[str, Tally]:
    tallies = {name: Tally(count) for name, count in Counter(batch.policy for batch in batches).items()}
    futures = [executor.submit(_judge_batch, library, batch) for batch in batches]
    for done, future in enumerate(as_completed(futures), 1):
        judged = future.result()
        tally = tallies[judged.batch.policy]
        tally.batches -= 1
        tally.seconds += judged.seconds
        tally.outcomes.update(judged.outcomes)
        for mutant, outcome in zip(judged.batch.mutants, judged.outcomes, strict=True):
            if outcome is Outcome.SURVIVED:
                tally.survivors.append((judged.batch.module, mutant))
        if tally.batches == 0:
            print(f"[{done}/{len(batches)}] {judged.batch.policy}: {_figures(tally)}", file=sys.stderr, flush=True)
    return tallies


def _judge_batch(library: Library, batch: Batch) -> Judged:
    started = time.monotonic()
    with _server(library, batch.policy) as server:
        outcomes = [_outcome(server, batch, mutant) for mutant in batch.mutants]
    return Judged(batch, outcomes, time.monotonic() - started)


def _outcome(server: Server, batch: Batch, mutant: Mutant) -> Outcome:
    if not _exchanged(server, batch.module, mutant):
        return Outcome.INVALID
    for test in tuple(batch.order):
        if not server.holds(test):
            _to_front(batch.order, test)
            return Outcome.KILLED
    return Outcome.SURVIVED


def _exchanged(server: Server, module: Module, mutant: Mutant) -> bool:
    for source in filter(None, (mutant.source, mutant.weakened)):
        with contextlib.suppress(NotCompiled):
            server.exchange(str(module.path), source)
            return True
    return False


def _to_front(order: list[str], test: str) -> None:
    """Two workers may do so at once: a test that is missing from a copy for a moment would be a lost one, so the
    list is replaced in one step."""
    order[:] = [test, *(other for other in order if other != test)]


def _figures(tally: Tally) -> str:
    counts = tally.outcomes
    return (
        f"{counts.total()} mutants, {counts[Outcome.KILLED]} killed, {counts[Outcome.INVALID]} invalid, "
        f"{counts[Outcome.SURVIVED]} survived ({tally.seconds:.1f} s)"
    )


def _report(
    library: Library, names: Sequence[str], tallies: Mapping[str, Tally], justified: Mapping[Key, int], seconds: float
) -> int:
    survivors = [
        (Key(name, mutant.rule, mutant.dropped), module, mutant)
        for name in names
        for module, mutant in sorted(tallies[name].survivors, key=lambda item: (str(item[0].path), item[1].row))
    ]
    keys = [key for key, _, _ in survivors]
    failing = unjustified(keys, justified)
    wrong = 0
    for line in _lines(library, survivors, failing):
        print(line)
        wrong += 1
    for entry in outdated(keys, justified, names):
        print(f"{JUSTIFIED.name}: {entry}")
        wrong += 1
    total: Counter[Outcome] = sum((tallies[name].outcomes for name in names), Counter())
    print(
        f"{len(names)} policies, {total.total()} mutants: {total[Outcome.KILLED]} killed, "
        f"{total[Outcome.INVALID]} invalid, {total[Outcome.SURVIVED]} survived, "
        f"of which {len(keys) - sum(key in failing for key in keys)} justified; {seconds:.0f} s"
    )
    return 1 if wrong else 0


def _lines(library: Library, survivors: Sequence[tuple[Key, Module, Mutant]], failing: set[Key]) -> Iterator[str]:
    for key, module, mutant in survivors:
        if key in failing:
            place = module.path.relative_to(library.folder.parent)
            yield f"{place}:{mutant.row}: survives in {mutant.rule} without: {mutant.dropped}"


if __name__ == "__main__":
    sys.exit(main())
