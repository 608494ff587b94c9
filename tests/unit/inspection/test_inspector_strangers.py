"""A stranger's look into an image (design rule 13): nothing of it is others', and it does not go on for long."""

import asyncio
from dataclasses import replace

import pytest

from portcullis.audit.memory import MemoryFacts
from portcullis.errors import Denied, InspectionBusy, InspectionError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Access
from unit.inspection.test_inspector import SHOP, Bench, app

pytestmark = pytest.mark.anyio

STRANGER = Access(stranger=True)


async def test_facts_of_others_are_none_of_his_not_even_by_digest() -> None:
    """He may name the layers of an image that he cannot fetch in a manifest of his own."""
    bench = Bench()
    image = bench.image(*app())
    await bench.look(image, SHOP)
    kept = dict(bench.store.kept)
    assert kept
    bench.shelf.errors = {digest: Denied("not you") for digest in bench.shelf.blobs}
    with pytest.raises(Denied):
        await bench.look(image, STRANGER)
    assert bench.store.kept == kept
    assert (await bench.look(image, SHOP)).files > 0


async def test_his_own_are_not_stored() -> None:
    bench = Bench()
    image = bench.image(*app())
    bench.strangers = MemoryFacts(limits=DEFAULT_LIMITS)
    first = await bench.look(image, STRANGER)
    assert await bench.look(image, STRANGER) == first
    assert set(bench.shelf.asked.values()) == {1}, "he is spared his own work"
    assert bench.store.kept == {}
    bench.strangers = None
    assert await bench.look(image, STRANGER) == first
    assert set(bench.shelf.asked.values()) == {2}


async def test_his_work_ends() -> None:
    bench = Bench()
    bench.limits = replace(DEFAULT_LIMITS, stranger_seconds=0.2)
    bench.shelf.held = asyncio.Event()
    image = bench.image(*app())
    async with bench.inspector() as inspector:
        waiter = asyncio.create_task(inspector.inspect(image, STRANGER))
        other = asyncio.create_task(inspector.inspect(image, SHOP))
        with pytest.raises(InspectionError, match=r"within the limit strangerSeconds of 0\.2"):
            await waiter
        await asyncio.sleep(0.1)
        assert inspector.under_way == 1
        assert not other.done()
        bench.shelf.held.set()
        (found,) = await other
    assert found.files > 0


async def test_all_strangers_together_have_the_share_of_one_namespace() -> None:
    """Whatever namespaces they make up, none of them is theirs: Access(stranger=True) has none."""
    bench = Bench()
    bench.limits = replace(DEFAULT_LIMITS, inspections=2)
    bench.shelf.held = asyncio.Event()
    base, program = app()
    async with bench.inspector() as inspector:
        first = asyncio.create_task(inspector.inspect(bench.image(base), STRANGER))
        while not inspector.under_way:
            await asyncio.sleep(0.01)
        with pytest.raises(InspectionBusy):
            await inspector.inspect(bench.image(program), STRANGER)
        other = asyncio.create_task(inspector.inspect(bench.image(base, program), SHOP))
        while inspector.under_way < 2:
            await asyncio.sleep(0.01)
        bench.shelf.held.set()
        await asyncio.gather(first, other)
