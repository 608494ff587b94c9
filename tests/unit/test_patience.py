"""Who waits for facts, and how long."""

import asyncio
from dataclasses import replace

import pytest

from fakes.reviews import pod, request
from portcullis.limits import Limits
from portcullis.model.request import AdmissionRequest, Caller, UserInfo
from portcullis.patience import Patience

pytestmark = pytest.mark.anyio

PERSON = "jane@acme.example"
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
CONTROL_PLANE = "system:kube-controller-manager"
NODE = "system:node:node-1"
OPERATOR = "system:serviceaccount:argocd:argocd-application-controller"

LIMITS = Limits(moment_seconds=0.02, waiting_per_controller=1, waiting_per_account=3)
LONG = 0.3


def asking(username: str, caller: Caller = Caller.PATH) -> AdmissionRequest:
    return replace(request(pod("registry.example/web:1")), user=UserInfo(username), caller=caller)


async def wait(patience: Patience, asked: AdmissionRequest | None, until: asyncio.Event | None = None) -> str:
    """Waits for an event, or for ever: how that ended."""
    cut_short = False
    try:
        async with asyncio.timeout(LONG) as limit:
            with patience.shared(asked, limit) as shared:
                try:
                    await (until or asyncio.Event()).wait()
                finally:
                    cut_short = shared.cut_short
    except TimeoutError:
        return "cut short" if cut_short else "waited"
    return "done"


async def all_wait(patience: Patience, username: str, count: int) -> list[str]:
    return sorted(await asyncio.gather(*(wait(patience, asking(username)) for _ in range(count))))


@pytest.mark.parametrize(
    ("username", "waiting"),
    [(PERSON, 5), ("", 1), (CONTROLLER, 1), (CONTROL_PLANE, 1), (NODE, 1), (OPERATOR, 3), ("system:admin", 1)],
)
async def test_how_many_of_one_user_wait(username: str, waiting: int) -> None:
    ends = await all_wait(Patience(LIMITS), username, 5)
    assert ends == ["cut short"] * (5 - waiting) + ["waited"] * waiting


async def test_users_do_not_wait_for_one_another() -> None:
    patience = Patience(LIMITS)
    ends = await asyncio.gather(*(wait(patience, asking(name)) for name in (CONTROLLER, CONTROL_PLANE, NODE)))
    assert ends == ["waited"] * 3


@pytest.mark.parametrize("asked", [None, asking("", Caller.LOCAL), asking(CONTROLLER, Caller.LOCAL)])
async def test_what_is_asked_by_a_command_waits(asked: AdmissionRequest | None) -> None:
    patience = Patience(LIMITS)
    assert await asyncio.gather(*(wait(patience, asked) for _ in range(3))) == ["waited"] * 3


async def test_a_turn_is_free_again_after_its_request() -> None:
    patience = Patience(LIMITS)
    assert await all_wait(patience, CONTROLLER, 2) == ["cut short", "waited"]
    assert await all_wait(patience, CONTROLLER, 2) == ["cut short", "waited"]


async def test_what_is_quick_takes_no_turn() -> None:
    patience = Patience(LIMITS)
    there = asyncio.Event()
    there.set()
    quick = [wait(patience, asking(CONTROLLER), there) for _ in range(10)]
    assert await asyncio.gather(wait(patience, asking(CONTROLLER)), *quick) == ["waited", *["done"] * 10]


async def test_a_request_whose_own_time_is_over_was_not_cut_short() -> None:
    patience = Patience(replace(LIMITS, moment_seconds=60))
    assert await wait(patience, asking(CONTROLLER)) == "waited"
