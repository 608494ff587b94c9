"""The suite of the port Records, over the store, the log in front of it and the fake; and that of Bundles."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from fakes.records import NOON, InMemoryBundles, InMemoryRecords, SystemClock, a_decision, a_record
from portcullis.audit.fulltext import words
from portcullis.audit.journal import Journal
from portcullis.audit.sql import SqlRecords
from portcullis.audit.writer import AuditLog
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Because, Verdict
from portcullis.model.grant import Grant
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode
from portcullis.ports import Bundles, Records

pytestmark = pytest.mark.anyio

LIMITS = Limits(search_rows=60, append_seconds=30.0, store_seconds=30.0)
HOSTILE = [
    "'; DROP TABLE decisions; --",
    '" OR 1=1 --',
    "%",
    "_",
    "*",
    "a\0b",
    "\ud800 lone",
    "\u202eevil",
    "<script>alert(1)</script>",
    "x" * 10_000,
    "x" * 9_999 + "y",
]


def url_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of that kind."""
    url: str = request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/audit.db"
    return url


@pytest.fixture(params=["memory", "sqlite", "postgresql", "log"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Records]:
    if request.param == "memory":
        yield InMemoryRecords(limits=LIMITS)
        return
    store = SqlRecords(url=url_of(request.param, request, tmp_path), limits=LIMITS)
    log = AuditLog(
        store=store, journal=Journal(path=tmp_path / "journal", limits=LIMITS), limits=LIMITS, clock=SystemClock()
    )
    async with AsyncExitStack() as stack:
        if request.param != "log":
            stack.push_async_callback(store.aclose)
            await store.start()
            yield store
        else:
            stack.push_async_callback(log.aclose)
            await log.start()
            yield log


async def append(records: Records, *made: AuditRecord) -> Sequence[AuditRecord]:
    for record in made:
        await records.append(record)
    return made


async def names(records: Records, query: RecordFilter) -> list[str]:
    return [record.name for record in await records.search(query)]


async def test_a_record_comes_back_whole(records: Records) -> None:
    decision = a_decision(
        verdict=Verdict.REFUSED,
        code=403,
        images=[("web:1", "sha256:aa"), ("db", "")],
        denied=["image-user"],
        undecided=["scan-required"],
    )
    (record,) = await append(records, a_record(decision, dry_run=True))

    found = await records.get(decision.id)

    assert found is not None
    assert found.sequence > 0
    assert replace(found, sequence=0) == record
    assert found.decision.document == decision.document != b""


async def test_what_was_never_appended_is_not_found(records: Records) -> None:
    await append(records, a_record())
    assert await records.get("no such decision") is None
    assert await records.search(RecordFilter(namespace="elsewhere")) == ()


async def test_search_is_newest_first_without_documents(records: Records) -> None:
    await append(records, *(a_record(name=f"n{number}") for number in range(5)))

    found = await records.search(RecordFilter())

    assert [record.name for record in found] == ["n4", "n3", "n2", "n1", "n0"]
    assert [record.decision.document for record in found] == [b""] * 5
    sequences = [record.sequence for record in found]
    assert sequences == sorted(set(sequences), reverse=True)


async def test_pages_by_sequence_show_every_record_once(records: Records) -> None:
    await append(records, *(a_record(name=f"n{number}") for number in range(7)))
    seen: list[str] = []
    before: int | None = None
    while page := await records.search(RecordFilter(limit=3, before=before)):
        seen += [record.name for record in page]
        before = page[-1].sequence
    assert seen == [f"n{number}" for number in reversed(range(7))]


@pytest.mark.parametrize("limit", [0, -1, LIMITS.search_rows + 1])
async def test_a_page_over_the_limit_is_refused(records: Records, limit: int) -> None:
    with pytest.raises(RecordsError):
        await records.search(RecordFilter(limit=limit))


FILTERS = [
    (RecordFilter(namespace="shop"), ["b", "a"]),
    (RecordFilter(kind="Pod"), ["c"]),
    (RecordFilter(name="b"), ["b"]),
    (RecordFilter(username="jane@example.com"), ["c", "a"]),
    (RecordFilter(verdict="refused"), ["b"]),
    (RecordFilter(verdict="undecided"), ["c"]),
    (RecordFilter(policy="image-user"), ["b"]),
    (RecordFilter(policy="scan-required"), ["c", "b"]),
    (RecordFilter(policy="image"), []),
    (RecordFilter(image="reg.example/web:1"), ["a"]),
    (RecordFilter(image="reg.example/web"), ["c", "b", "a"]),
    (RecordFilter(image="reg.example/we"), []),
    (RecordFilter(image="reg.example"), []),
    (RecordFilter(image="localhost:5000/web"), ["c"]),
    (RecordFilter(image="REG.example/web"), []),
    (RecordFilter(digest="sha256:aa"), ["c", "a"]),
    (RecordFilter(digest="sha256:AA"), []),
    (RecordFilter(image="reg.example/web", digest="sha256:bb"), ["b"]),
    (RecordFilter(image="reg.example/web", digest="sha256:cc"), []),  # another image of the same decision has it
    (RecordFilter(image="reg.example/web", policy="scan-required"), ["c", "b"]),
    (RecordFilter(since=NOON), ["c", "b", "a"]),
    (RecordFilter(since=NOON + timedelta(microseconds=1)), ["c", "b"]),
    (RecordFilter(until=NOON), []),
    (RecordFilter(until=NOON + timedelta(hours=1)), ["a"]),
    (
        RecordFilter(until=(NOON + timedelta(hours=1, microseconds=1)).astimezone(timezone(timedelta(hours=-9)))),
        ["b", "a"],
    ),
    (RecordFilter(since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=2)), ["b"]),
    (RecordFilter(namespace="shop", username="jane@example.com"), ["a"]),
    (RecordFilter(namespace="shop", verdict="undecided"), []),
    (RecordFilter(policy="scan-required", limit=1), ["c"]),
    (RecordFilter(mode="deny"), ["b"]),
    (RecordFilter(mode="warn"), ["c"]),
    (RecordFilter(policy="scan-required", mode="warn"), ["c"]),
    (RecordFilter(policy="image-user", mode="warn"), []),  # another policy of another decision has that mode
    (RecordFilter(exception="EX-1"), []),
    (RecordFilter(reason="registry-unreachable"), ["c"]),
    (RecordFilter(reason="registry"), []),
    (RecordFilter(reason="registry-unreachable", namespace="shop"), []),
    (RecordFilter(because="judged"), ["c", "b", "a"]),
    (RecordFilter(because="break-glass"), []),
    (RecordFilter(caller="certificate", kind="Pod"), ["c"]),
    (RecordFilter(caller="unverified"), []),
    (RecordFilter(dry_run=False), ["b", "a"]),
    (RecordFilter(dry_run=True), ["c"]),
    (RecordFilter(dry_run=True, namespace="shop"), []),
    (RecordFilter(text="root"), ["b"]),
    (RecordFilter(text="RUNS as Root"), ["b"]),
    (RecordFilter(text="image-user"), ["b"]),
    (RecordFilter(text="roo"), []),
    (RecordFilter(text="root host"), []),
    (RecordFilter(text="host"), ["c"]),
    (RecordFilter(text="host", namespace="shop"), []),
    (RecordFilter(text="host", namespace="tools"), ["c"]),
    (RecordFilter(text="root", policy="image-user", verdict="refused", namespace="shop"), ["b"]),
    (RecordFilter(text="?!"), []),
    (RecordFilter(visible=frozenset({"shop"})), ["b", "a"]),
    (RecordFilter(visible=frozenset({"shop", "tools", "other"})), ["c", "b", "a"]),
    (RecordFilter(visible=frozenset(f"n{number}" for number in range(50)) | {"tools"}), ["c"]),
    (RecordFilter(visible=frozenset()), []),
    (RecordFilter(visible=frozenset({"shop"}), namespace="tools"), []),
    (RecordFilter(visible=frozenset({"shop"}), namespace="shop", verdict="refused"), ["b"]),
    (RecordFilter(visible=frozenset({"tools"}), policy="scan-required"), ["c"]),
    (RecordFilter(visible=frozenset({"tools"}), image="reg.example/web"), ["c"]),
    (RecordFilter(namespace="shop", kind="Deployment", name="b"), ["b"]),
    (RecordFilter(namespace="shop", kind="Pod", name="b"), []),
    (RecordFilter(image="reg.example/web", limit=2), ["c", "b"]),
]


async def test_filters(records: Records) -> None:
    await append(
        records,
        a_record(a_decision(images=[("reg.example/web:1", "sha256:aa")]), name="a"),
        a_record(
            a_decision(
                verdict=Verdict.REFUSED,
                images=[("reg.example/web@sha256:bb", "sha256:bb"), ("reg.example/db", "sha256:cc")],
                denied=["image-user", "image-user", "scan-required"],
                decided_at=NOON + timedelta(hours=1),
            ),
            name="b",
            username="system:serviceaccount:shop:builder",
        ),
        a_record(
            a_decision(
                verdict=Verdict.UNDECIDED,
                images=[
                    ("reg.example/web", "sha256:aa"),
                    ("reg.example/web:2", "sha256:aa"),
                    ("localhost:5000/web:1", "sha256:dd"),
                ],
                undecided=["scan-required"],
                decided_at=NOON + timedelta(hours=2),
            ),
            name="c",
            kind="Pod",
            namespace="tools",
            dry_run=True,
        ),
    )
    for query, expected in FILTERS:
        assert await names(records, query) == expected, query


async def test_an_exception_is_found_with_its_own_violation(records: Records) -> None:
    covered = a_decision(denied=["image-user"])
    (violation,) = covered.violations
    two = (replace(violation, exception="EX-1"), replace(violation, policy="image-shell", mode=Mode.WARN))
    await append(records, a_record(replace(covered, violations=two), name="a"), a_record())
    assert await names(records, RecordFilter(exception="EX-1")) == ["a"]
    assert await names(records, RecordFilter(exception="EX-1", policy="image-user", mode="deny")) == ["a"]
    assert await names(records, RecordFilter(exception="EX-1", policy="image-shell")) == []
    assert await names(records, RecordFilter(exception="EX-1", mode="warn")) == []


async def test_a_grant_is_found_by_what_it_covers(records: Records) -> None:
    """Violations and policies that could not be evaluated alike, as the record comes back."""
    grant = Grant("shop", "d" * 253, "u-1", ("*",), (), (), True, "it is needed", NOON, NOON)
    made = a_decision(denied=["image-user"], undecided=["scan-required"])
    (violation,), (waiting,) = made.violations, made.undecided
    covered = replace(waiting, exception=grant.id, excepted_until=grant.expires)
    by_grant = replace(made, because=Because.BREAK_GLASS, violations=(), undecided=(covered,), grants=(grant,))
    both = replace(made, id="both", violations=(replace(violation, exception=grant.id),), undecided=(waiting,))
    await append(records, a_record(by_grant, name="a"), a_record(both, name="b"), a_record())
    assert await names(records, RecordFilter(exception=grant.id)) == ["b", "a"]
    assert await names(records, RecordFilter(exception=grant.id, policy="scan-required")) == ["a"]
    assert await names(records, RecordFilter(exception=grant.id, policy="image-user")) == ["b"]
    (found,) = await records.search(RecordFilter(because="break-glass"))
    assert (found.decision.grants, found.decision.undecided) == ((grant,), (covered,))


async def test_what_is_rare_is_found(records: Records) -> None:
    broken = replace(a_decision(), because=Because.BREAK_GLASS)
    rare = replace(a_record(broken, name="rare"), caller=Caller.UNVERIFIED)
    await append(records, a_record(), rare, a_record())
    assert await names(records, RecordFilter(because="break-glass")) == ["rare"]
    assert await names(records, RecordFilter(caller="unverified")) == ["rare"]


WORDS = (
    *('"', 'root"', "AND", "root AND", "NOT root", "NEAR(root)", "ro*", "text:root", "root OR nothing", "(", "-root"),
    *("it's", "\\", "root & !root", "<->", "root:*", "\0root", "\ud800", "\u202eroot", "rööt", "𝔯𝔬𝔬𝔱", "x" * 5000, "%"),
)


async def test_no_words_are_a_syntax_error(records: Records) -> None:
    """What is searched for are words, whatever else stands there; what holds none finds nothing."""
    await append(records, a_record(a_decision(denied=["image-user"]), name="a"), a_record())
    for text in WORDS:
        wanted = set(words(text))
        held = bool(wanted) and wanted <= {"image", "user", "runs", "as", "root"}
        assert await names(records, RecordFilter(text=text)) == (["a"] if held else []), text
        assert await names(records, RecordFilter(text=text, namespace="shop")) == (["a"] if held else []), text


async def test_accents_and_case_do_not_matter(records: Records) -> None:
    decision = a_decision(denied=["image-user"])
    (violation,) = decision.violations
    said = replace(violation, msg="Läuft als Root: ÉCRIT, İstanbul, straße")
    await append(records, a_record(replace(decision, violations=(said,)), name="a"))
    for text in ("lauft", "LÄUFT", "la\u0308uft", "écrit", "istanbul", "strasse", "STRASSE root"):
        assert await names(records, RecordFilter(text=text)) == ["a"], text


async def test_too_many_words_are_refused(records: Records) -> None:
    with pytest.raises(RecordsError, match=r"limits\.searchWords"):
        await records.search(RecordFilter(text=" ".join(f"w{number}" for number in range(513))))
    assert await records.search(RecordFilter(text=" ".join(f"w{number}" for number in range(512)))) == ()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
async def test_hostile_text_is_a_value_like_any_other(records: Records, text: str) -> None:
    decision = a_decision(images=[(text, text)], denied=[text])
    hostile = a_record(decision, namespace=text, kind=text, name=text, username=text)
    await append(records, hostile, a_record(name="innocent"))

    for query in (
        RecordFilter(namespace=text),
        RecordFilter(kind=text),
        RecordFilter(name=text),
        RecordFilter(username=text),
        RecordFilter(image=text),
        RecordFilter(digest=text),
        RecordFilter(policy=text),
    ):
        assert await names(records, query) == [text], query
    assert await records.search(RecordFilter(verdict=text)) == ()
    found = await records.get(decision.id)
    assert found is not None
    assert replace(found, sequence=0) == hostile
    assert len(await records.search(RecordFilter())) == 2


async def test_a_decision_is_kept_once(records: Records) -> None:
    decision = a_decision(images=[("web", "sha256:aa")], denied=["image-user"])
    record = a_record(decision)
    await append(records, record, a_record(), record)
    assert len(await records.search(RecordFilter())) == 2
    assert len(await records.search(RecordFilter(image="web"))) == 1
    assert len(await records.search(RecordFilter(policy="image-user"))) == 1


async def test_a_decision_without_a_document(records: Records) -> None:
    decision = a_decision(document=b"")
    await append(records, a_record(decision))
    found = await records.get(decision.id)
    assert found is not None
    assert found.decision.document == b""


async def test_times_come_back_to_the_microsecond_in_utc(records: Records) -> None:
    moment = datetime(2026, 7, 1, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    decision = a_decision(decided_at=moment)
    await append(records, a_record(decision))
    found = await records.get(decision.id)
    assert found is not None
    assert found.decision.decided_at == moment
    assert await names(records, RecordFilter(since=moment.astimezone(UTC), limit=1)) == ["checkout"]


# -- bundles -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def bundles(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bundles]:
    if request.param == "memory":
        yield InMemoryBundles()
        return
    store = SqlRecords(url=url_of(request.param, request, tmp_path), limits=LIMITS)
    await store.start()
    yield store.bundles
    await store.aclose()


async def test_a_bundle_comes_back_byte_for_byte(bundles: Bundles) -> None:
    content = bytes(range(256)) * 100
    await bundles.put("sha256:one", "policies", content)
    await bundles.put("sha256:two", "configuration", b"")
    assert await bundles.get("sha256:one") == content
    assert await bundles.get("sha256:two") == b""
    assert await bundles.get("sha256:three") is None


async def test_a_bundle_stays_what_it_was(bundles: Bundles) -> None:
    await bundles.put("sha256:one", "policies", b"first")
    await bundles.put("sha256:one", "policies", b"second")
    assert await bundles.get("sha256:one") == b"first"
