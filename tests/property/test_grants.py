"""Any mix of grants and exceptions over any violations and outages: each covers by itself what it covers, and nothing
that a review says opens anything.

Decisions are made by the real Case, as the gate, the command line, the replay and the re-check make them. What one
grant covers alone is proven step by step in tests/unit/decision/test_grants.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.case import Case
from portcullis.decision.exceptions import Exceptions, PolicyException
from portcullis.decision.grants import Grants
from portcullis.decision.modes import Modes
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Because, Decision, Problem, Stage, Verdict
from portcullis.model.facts import ImageFacts
from portcullis.model.grant import Grant, is_grant
from portcullis.model.image import Digest, ImageReference, Repository
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.place import Scope
from portcullis.model.request import AdmissionRequest, GroupVersionKind, GroupVersionResource, Operation, UserInfo
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo, RuleHit, Ruling
from portcullis.standing import Standing

NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
POLICIES = ("p", "q", "r")
FORBIDDING = "r"
"""Its author lets no exception be made from it."""
REPOSITORIES = ("acme/web", "acme/tool", "other/web")
PATTERNS = ("registry.example/acme/**", "registry.example/acme/web", "registry.example/other/*", "**")
DIGESTS = tuple(Digest("sha256:" + digit * 64) for digit in "ab")


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def info(name: str) -> PolicyInfo:
    return PolicyInfo(
        name, name, "", "high", Mode.DENY, "", frozenset({Need.REQUEST}), (Mode.DENY,),
        exceptions_forbidden=name == FORBIDDING,
    )  # fmt: skip


INFOS = {name: info(name) for name in POLICIES}


@dataclass(frozen=True)
class Situation:
    """Images of a request, violations of policies and outages, and the modes in force."""

    images: tuple[ImageFacts, ...]
    hits: tuple[RuleHit, ...]
    undecided: tuple[tuple[str, tuple[Problem, ...]], ...]
    modes: Modes

    def decide(self, grants: Sequence[Grant], exceptions: Sequence[PolicyException] = (), **request: Any) -> Decision:
        standing = Standing(CompiledBundle("sha256:p", tuple(INFOS.values())), self.modes, Exceptions(exceptions))
        case = Case(replace(REQUEST, **request), standing=standing, clock=Clock(), limits=DEFAULT_LIMITS)
        case.grants, case.images = Grants(grants), self.images
        case.take([INFOS[name] for name in POLICIES], Ruling(frozenset(POLICIES), self.hits))
        for policy, problems in self.undecided:
            case.undecide([INFOS[policy]], problems)
        return case.conclude()


REQUEST = AdmissionRequest(
    uid="u-1",
    kind=GroupVersionKind("", "v1", "Pod"),
    resource=GroupVersionResource("", "v1", "pods"),
    sub_resource="",
    name="web",
    namespace="shop",
    operation=Operation.CREATE,
    user=UserInfo("dana"),
    object={"metadata": {"name": "web"}},
    old_object=None,
    dry_run=False,
    raw={},
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    paths = draw(st.lists(st.sampled_from(REPOSITORIES), max_size=3, unique=True))
    digests = st.none() | st.sampled_from(DIGESTS)
    images = tuple(
        ImageFacts(
            f"registry.example/{path}", ImageReference(Repository("registry.example", path), None, draw(digests))
        )
        for path in paths
    )
    named = st.sampled_from([image.written for image in images] + ["", "registry.example/acme/elsewhere"])
    hits = st.builds(
        RuleHit, policy=st.sampled_from(POLICIES), rule=st.just(Mode.DENY), msg=st.just("is wrong"), image=named
    )
    problems = st.builds(
        Problem,
        stage=st.just(Stage.REGISTRY),
        reason=st.just("registry-unreachable"),
        retryable=st.booleans(),
        msg=st.just("no answer"),
        image=named,
    )
    undecided = st.tuples(st.sampled_from(POLICIES), st.lists(problems, max_size=2).map(tuple))
    return Situation(
        images=images,
        hits=tuple(draw(st.lists(hits, max_size=3))),
        undecided=tuple(draw(st.lists(undecided, max_size=2, unique_by=lambda one: one[0]))),
        modes=Modes({name: draw(st.sampled_from(Mode)) for name in POLICIES}),
    )


GRANTS = st.builds(
    Grant,
    namespace=st.sampled_from(["shop"] * 4 + ["other", ""]),
    name=st.sampled_from("abc"),
    uid=st.just("u"),
    policies=st.lists(st.sampled_from([*POLICIES, "*"]), min_size=1, max_size=2).map(tuple),
    images=st.lists(st.sampled_from(PATTERNS), max_size=2).map(tuple),
    digests=st.lists(st.sampled_from(DIGESTS), max_size=1).map(tuple),
    covers_problems=st.booleans(),
    reason=st.just("payments must go out"),
    created=st.just(NOW - timedelta(hours=1)),
    expires=st.sampled_from([NOW + timedelta(hours=1)] * 3 + [NOW]),
)
EXCEPTIONS = st.builds(
    PolicyException,
    id=st.sampled_from(["EX-1", "EX-2"]),
    policies=st.lists(st.sampled_from(POLICIES), min_size=1, max_size=2).map(frozenset),
    scope=st.sampled_from([Scope(("shop",)), Scope(("other",))]),
    reason=st.just("soon"),
    owner=st.just("dana"),
    expires=st.sampled_from([NOW + timedelta(hours=1), NOW]),
    images=st.lists(st.sampled_from(PATTERNS), max_size=1).map(lambda texts: tuple(map(parse_pattern, texts))),
)
MIXES = st.lists(GRANTS, max_size=4, unique_by=lambda one: (one.namespace, one.name))


def coverings(decision: Decision) -> list[str]:
    """What covers each violation and each policy that could not be evaluated, in order."""
    return [one.exception for one in decision.violations] + [one.exception for one in decision.undecided]


@settings(max_examples=60, deadline=None)
@given(situations(), MIXES, st.lists(EXCEPTIONS, max_size=2, unique_by=lambda one: one.id))
def test_each_covers_by_itself_and_exceptions_come_first(
    situation: Situation, grants: list[Grant], exceptions: list[PolicyException]
) -> None:
    together = coverings(situation.decide(grants, exceptions))
    by_exception = [coverings(situation.decide((), [one])) for one in exceptions]
    by_grant = [coverings(situation.decide([one])) for one in sorted(grants, key=lambda one: one.id)]
    for place, found in enumerate(together):
        alone = [one[place] for one in (*by_exception, *by_grant) if one[place]]
        assert found == (alone[0] if alone else "")


@settings(max_examples=60, deadline=None)
@given(situations(), MIXES, st.lists(EXCEPTIONS, max_size=2, unique_by=lambda one: one.id))
def test_break_glass_is_said_exactly_where_only_grants_make_the_difference(
    situation: Situation, grants: list[Grant], exceptions: list[PolicyException]
) -> None:
    decision, without = situation.decide(grants, exceptions), situation.decide((), exceptions)
    if decision.verdict is without.verdict:
        assert decision.because is without.because
    else:
        assert (decision.verdict, decision.because) == (Verdict.ADMITTED, Because.BREAK_GLASS) or (
            without.verdict is Verdict.REFUSED and decision.verdict is Verdict.UNDECIDED
        )
    used = {name for name in coverings(decision) if is_grant(name)}
    assert {grant.id for grant in decision.grants} == used
    assert all(grant in grants for grant in decision.grants)


@settings(max_examples=60, deadline=None)
@given(situations(), MIXES)
def test_a_grant_for_an_image_lets_nothing_else_through(situation: Situation, grants: list[Grant]) -> None:
    for_web = [replace(one, images=("registry.example/acme/web",)) for one in grants]
    decision = situation.decide(for_web)
    web = "registry.example/acme/web"
    assert all(one.image == web for one in decision.violations if one.exception)
    for one in decision.undecided:
        if one.exception:
            assert [image.written for image in situation.images] == [web]
            assert {problem.image for problem in one.problems} <= {web, ""}


TEXTS = st.text(max_size=20) | st.sampled_from(
    ["break-glass:shop/a", "*", "true", "system:masters", "portcullis.dev/break-glass", "portcullis", "ignore"]
)
METADATA = st.fixed_dictionaries(
    {"labels": st.dictionaries(TEXTS, TEXTS, max_size=3), "annotations": st.dictionaries(TEXTS, TEXTS, max_size=3)},
    optional={"name": TEXTS, "namespace": TEXTS, "generateName": TEXTS, "ownerReferences": st.lists(st.just({}))},
)
OBJECTS = st.fixed_dictionaries(
    {"metadata": METADATA}, optional={"spec": st.dictionaries(TEXTS, TEXTS), "kind": st.just("BreakGlass")}
)


@settings(max_examples=60, deadline=None)
@given(situations(), MIXES, OBJECTS, st.builds(UserInfo, TEXTS, TEXTS, st.lists(TEXTS, max_size=3).map(tuple)))
def test_nothing_in_a_review_opens_anything(
    situation: Situation, grants: list[Grant], made: dict[str, Any], user: UserInfo
) -> None:
    """Neither without a grant, nor does any of it make a grant cover more."""
    plain = situation.decide(grants)
    told = situation.decide(grants, object=made, user=user, raw={"object": made, "options": made})
    assert coverings(told) == coverings(plain)
    assert (told.verdict, told.because) == (plain.verdict, plain.because)
