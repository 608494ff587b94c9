"""How many of the named signers have signed: never more than can be told apart, however names and people overlap."""

from collections.abc import Sequence
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import KeylessSigner
from portcullis.evidence.trust import Accept, Trust, TrustRule
from portcullis.model.evidence import PredicateClass, Signer
from portcullis.model.image import Repository

NAMES = ("a", "b", "c", "d")
PEOPLE = ("ann", "bob", "cem", "dee")
PAIRS = st.lists(st.tuples(st.sampled_from((*NAMES, "stranger")), st.sampled_from(PEOPLE)), min_size=1, max_size=8)
SCAN = PredicateClass.VULNERABILITY


def most(pairs: Sequence[tuple[str, str]]) -> int:
    """The largest number of pairs without a name or a person in common, by trying all."""
    fits = {pair for pair in pairs if pair[0] in NAMES}
    return max(
        sum((name, person) in fits for name, person in zip(NAMES, order, strict=True)) for order in permutations(PEOPLE)
    )


def accepted(pairs: Sequence[tuple[str, str]], count: int) -> bool:
    signers = [Signer(name, "keyless", "https://i.test", person) for name, person in pairs]
    trust = Trust(
        signers=[KeylessSigner(name, "https://i.test", name) for name in NAMES],
        rules=[TrustRule(("**",), (Accept((SCAN,), NAMES, count=count),))],
    )
    try:
        found = trust.accept(Repository("a.test", "b"), SCAN, signers)
    except EvidenceError:
        return False
    assert found.signer in signers
    return True


@given(PAIRS, st.integers(1, len(NAMES)))
def test_as_many_as_can_be_told_apart(pairs: Sequence[tuple[str, str]], count: int) -> None:
    assert accepted(pairs, count) == (most(pairs) >= count)
