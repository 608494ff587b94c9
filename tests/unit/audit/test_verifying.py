"""Each step of the proof in audit/verifying.py, broken as whoever may write the database can."""

import asyncio
import hashlib
import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from fakes.chains import KEY, OTHER_KEY, made, tamper, url_of, verified, writing, written
from fakes.oldlog import insert_old
from portcullis.audit.checkpoints import Signed, Signer
from portcullis.audit.verification import Finding, Verdict, Wrong

pytestmark = pytest.mark.anyio

BODY_OF_3 = "SELECT body FROM decisions WHERE id = 'a-3'"
SHIFT_UP = (
    "UPDATE decisions SET position = -position - 1 WHERE chain = 1 AND position >= {0}",
    "UPDATE decisions SET position = -position WHERE position < 0",
)
COPY_OF_3 = """INSERT INTO decisions SELECT 100, 'fake', decided_at, uid, username, operation, kind, namespace, name,
    verdict, code, because, dry_run, caller, policy_revision, config_revision, elapsed_ms, input_hash,
    replace(body, 'a-3', 'fake'), chain, {0}, {1} FROM decisions WHERE id = 'a-3'"""


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, list[Signed]]]:
    """Logs with a chain of six and one of three records, and checkpoints after every second: not signed, and signed."""
    made = {}
    for signs in (False, True):
        path = tmp_path_factory.mktemp("templates") / "audit.db"
        made[signs] = (path, asyncio.run(_two_chains(url_of(path), Signer(KEY) if signs else Signer())))
    return made


async def _two_chains(url: str, signer: Signer) -> list[Signed]:
    first = await written(url, 6, name="a", every=2, signer=signer)
    return first + await written(url, 3, name="b", every=2, signer=signer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may be made."""
    return tmp_path / "audit.db"


@pytest.fixture
def two(path: Path, templates: dict[bool, tuple[Path, list[Signed]]]) -> list[Signed]:
    """At ``path`` there is a log of two chains that nobody signed; what was published of it."""
    shutil.copy(templates[False][0], path)
    return templates[False][1]


@pytest.fixture
def two_signed(path: Path, templates: dict[bool, tuple[Path, list[Signed]]]) -> list[Signed]:
    """The same, signed with KEY."""
    shutil.copy(templates[True][0], path)
    return templates[True][1]


def rehash(path: Path, first: int, last: int = 1000) -> None:
    """What a careful forger does: computes the hashes of the first chain again, from one position to another."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (previous,) = connection.execute(
            "SELECT hash FROM decisions WHERE chain = 1 AND position = ?", (first - 1,)
        ).fetchone()
        rows = connection.execute(
            "SELECT sequence, body FROM decisions WHERE chain = 1 AND position BETWEEN ? AND ? ORDER BY position",
            (first, last),
        ).fetchall()
        for sequence, body in rows:
            previous = hashlib.sha256(b"portcullis audit record 1\n" + previous + body.encode()).digest()
            connection.execute("UPDATE decisions SET hash = ? WHERE sequence = ?", (previous, sequence))


async def finding_of(path: Path) -> Finding:
    found = await verified(url_of(path))
    assert found.verdict is Verdict.TAMPERED
    return found.findings[0]


async def test_an_untouched_log_is_proven(path: Path, two_signed: list[Signed]) -> None:
    found = await verified(url_of(path), keys=[KEY.public_key()], published=two_signed)
    assert (found.verdict, found.records, found.notes) == (Verdict.PROVEN, 9, [])
    assert [(one.first, one.last, one.checkpoints, one.signed) for one in found.chains] == [(1, 6, 4, 6), (1, 3, 3, 3)]
    assert found.chains[0].replica == "gate-0"


async def test_it_is_verified_while_it_is_written(path: Path) -> None:
    async with writing(url_of(path)) as records:
        await records.append(made(1))
        assert (await verified(url_of(path))).verdict is Verdict.PROVEN
        await records.append(made(2))
        assert (await verified(url_of(path))).records == 2


# -- 5: each record follows the one before it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "what", "position", "decision"),
    [
        (
            ["UPDATE decisions SET body = replace(body, 'runs as root', 'runs as user') WHERE id = 'a-3'"],
            Wrong.CHANGED,
            3,
            "a-3",
        ),
        (["UPDATE decisions SET hash = zeroblob(32) WHERE id = 'a-3'"], Wrong.CHANGED, 3, "a-3"),
        (["UPDATE decisions SET hash = NULL WHERE id = 'a-3'"], Wrong.CHANGED, 3, "a-3"),
        (["DELETE FROM decisions WHERE id = 'a-3'"], Wrong.REMOVED, 3, "a-4"),
        (["DELETE FROM decisions WHERE id IN ('a-1', 'a-2')"], Wrong.REMOVED, 1, "a-3"),
        (
            [
                "DELETE FROM decisions WHERE id = 'a-3'",
                "UPDATE decisions SET position = position - 1 WHERE chain = 1 AND position = 4",
                "UPDATE decisions SET position = position - 1 WHERE chain = 1 AND position = 5",
                "UPDATE decisions SET position = position - 1 WHERE chain = 1 AND position = 6",
            ],
            Wrong.REMOVED,
            3,
            "a-4",
        ),
        (
            [
                "UPDATE decisions SET position = 99 WHERE id = 'a-3'",
                "UPDATE decisions SET position = 3 WHERE id = 'a-4'",
                "UPDATE decisions SET position = 4 WHERE id = 'a-3'",
            ],
            Wrong.REORDERED,
            3,
            "a-4",
        ),
        ([*(one.format(3) for one in SHIFT_UP), COPY_OF_3.format(3, "zeroblob(32)")], Wrong.INSERTED, 3, "fake"),
        ([COPY_OF_3.format("NULL", "NULL")], Wrong.INSERTED, 0, ""),
        ([COPY_OF_3.format(0, "hash")], Wrong.INSERTED, 0, ""),
    ],
)
@pytest.mark.usefixtures("two")
async def test_the_first_record_that_does_not_fit_is_named(
    path: Path, statements: list[str], what: Wrong, position: int, decision: str
) -> None:
    tamper(path, *statements)
    found = await finding_of(path)
    assert (found.what, found.position, found.decision) == (what, position, decision)
    assert found.replica == "gate-0"
    assert (found.at is not None) == bool(decision)


@pytest.mark.usefixtures("two")
async def test_an_inserted_record_with_a_right_hash_is_named(path: Path) -> None:
    tamper(path, *(one.format(3) for one in SHIFT_UP), COPY_OF_3.format(3, "hash"))
    rehash(path, 3, 3)
    found = await finding_of(path)
    assert (found.what, found.position, found.decision) == (Wrong.INSERTED, 3, "fake")


@pytest.mark.usefixtures("two")
async def test_each_chain_is_told_of(path: Path) -> None:
    tamper(path, "UPDATE decisions SET body = replace(body, 'runs as root', 'runs as user') WHERE id IN ('a-5', 'b-2')")
    found = await verified(url_of(path))
    assert [(one.what, one.decision, one.position) for one in found.findings] == [
        (Wrong.CHANGED, "a-5", 5),
        (Wrong.CHANGED, "b-2", 2),
    ]
    assert [one.whole for one in found.chains] == [False, False]


# -- 6: what others say ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two")
async def test_hashes_that_were_computed_again_contradict_the_checkpoints(path: Path) -> None:
    tamper(path, "UPDATE decisions SET body = replace(body, 'runs as root', 'runs as user') WHERE id = 'a-3'")
    rehash(path, 3)
    found = await finding_of(path)
    assert (found.what, found.position) == (Wrong.CHANGED, 3)
    assert "records 3 to 4 are not what was written" in found.message


@pytest.mark.usefixtures("two")
async def test_without_checkpoints_the_genesis_of_a_later_chain_contradicts(path: Path) -> None:
    tamper(
        path,
        "DELETE FROM checkpoints",
        "UPDATE decisions SET body = replace(body, 'runs as root', 'runs as user') WHERE id = 'a-5'",
    )
    rehash(path, 5)
    found = await finding_of(path)
    assert (found.what, found.position) == (Wrong.CHANGED, 1)
    assert "the chain that gate-0 began" in found.message


async def test_what_was_published_elsewhere_contradicts(path: Path) -> None:
    """The newest chain, all of it computed again: nothing in the store shows it."""
    signed = await written(url_of(path), 6, name="a", every=2)
    tamper(
        path,
        "DELETE FROM checkpoints",
        "UPDATE decisions SET body = replace(body, 'runs as root', 'runs as user') WHERE id = 'a-5'",
    )
    rehash(path, 5)
    assert (await verified(url_of(path))).verdict is Verdict.PROVEN
    found = await verified(url_of(path), published=signed)
    assert [(one.what, one.position) for one in found.findings] == [(Wrong.CHANGED, 5)]
    assert "line 4" in found.findings[0].message


@pytest.mark.parametrize("known", ["checkpoints", "a later chain", "published"])
async def test_an_end_that_was_cut_off_is_missed(path: Path, two: list[Signed], known: str) -> None:
    signed = two
    if known != "a later chain":
        path.unlink()
        signed = await written(url_of(path), 6, name="a", every=2)
    if known != "checkpoints":
        tamper(path, "DELETE FROM checkpoints")
    tamper(path, "DELETE FROM decisions WHERE chain = 1 AND position > 3")
    found = await verified(url_of(path), published=signed if known == "published" else [])
    assert (found.findings[0].what, found.findings[0].position) == (Wrong.CUT_OFF, 4)
    assert "records 4 to 6 are missing at the end" in found.findings[0].message
    chain = found.chains[0].chain
    assert (await verified(url_of(path), published=signed if known == "published" else [], lost=[chain])).findings == []


async def test_records_behind_an_end_that_was_left_are_found(path: Path) -> None:
    """Somebody writes into the chain of a running program, which begins another one at its next checkpoint."""
    async with writing(url_of(path)) as records:
        for number in range(1, 4):
            await records.append(made(number, name="a"))
        tamper(path, COPY_OF_3.format(4, "hash"), "UPDATE decisions SET id = 'a-4' WHERE id = 'fake'")
        rehash(path, 4)
        await records.checkpoint(Signer(), made(1).decision.decided_at)
        assert records.chain.left == 1
        await records.append(made(5, name="a"))
    found = await verified(url_of(path))
    assert (found.findings[0].what, found.findings[0].position) == (Wrong.INSERTED, 4)
    assert [one.last for one in found.chains] == [4, 1]


async def test_what_a_killed_program_had_not_signed_can_be_rewritten_unnoticed(path: Path) -> None:
    """A limit, which docs/threat-model.md names: only what was published elsewhere tells of these records."""
    async with writing(url_of(path)) as records:
        await records.append(made(1, name="a"))
        signed = await records.checkpoint(Signer(KEY), made(1).decision.decided_at)
        await records.append_many([made(2, name="a"), made(3, name="a")])
    tamper(path, "UPDATE decisions SET body = replace(body, 'runs as root', 'runs as user') WHERE id = 'a-3'")
    rehash(path, 3)
    await written(url_of(path), 1, name="b", signer=Signer(KEY))
    found = await verified(url_of(path), keys=[KEY.public_key()], published=[signed])
    assert found.verdict is Verdict.PROVEN


# -- 7 and 8: what is kept beside a record -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "what", "named"),
    [
        ("UPDATE decisions SET username = 'nobody' WHERE id = 'a-3'", Wrong.CHANGED, "column username"),
        ("UPDATE decisions SET verdict = 'admitted' WHERE id = 'a-3'", Wrong.CHANGED, "column verdict"),
        ("UPDATE decisions SET decided_at = '2020-01-01 00:00:00.000000' WHERE id = 'a-3'", Wrong.CHANGED, "column"),
        ("UPDATE decisions SET input_hash = NULL WHERE id = 'a-3'", Wrong.CHANGED, "column input_hash"),
        ("UPDATE images SET digest = 'sha256:bb' WHERE written = 'a:3'", Wrong.CHANGED, "table images"),
        ("DELETE FROM images WHERE written = 'a:3'", Wrong.CHANGED, "table images"),
        ("INSERT INTO images SELECT decision, 9, 'x', '', '' FROM images WHERE written = 'a:3'", Wrong.CHANGED, "tab"),
        ("UPDATE images SET repository = 'b' WHERE written = 'a:3'", Wrong.CHANGED, "table images"),
        ("UPDATE hours SET first_sequence = 4 WHERE chain = 1", Wrong.CHANGED, "table hours"),
        ("DELETE FROM violations WHERE decision = 3 AND position = 0", Wrong.CHANGED, "table violations"),
        ("UPDATE violations SET mode = 'audit' WHERE decision = 3", Wrong.CHANGED, "table violations"),
        ("DELETE FROM reasons WHERE decision = 3", Wrong.CHANGED, "table reasons"),
        ("UPDATE inputs SET content = x'00' WHERE hash = (SELECT input_hash FROM decisions WHERE sequence = 3)",
         Wrong.INPUT, "not the one that was judged"),
        ("DELETE FROM inputs WHERE hash = (SELECT input_hash FROM decisions WHERE sequence = 3)", Wrong.INPUT, "gone"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("two")
async def test_what_is_kept_beside_a_record_is_compared(path: Path, statement: str, what: Wrong, named: str) -> None:
    tamper(path, statement)
    found = await verified(url_of(path))
    (finding,) = found.findings
    assert (finding.what, finding.position) == (what, 1 if "hours" in named else 3)
    assert named in finding.message


@pytest.mark.usefixtures("two")
async def test_another_input_that_is_whole_is_not_taken(path: Path) -> None:
    tamper(
        path,
        "UPDATE inputs SET content = ? WHERE hash = (SELECT input_hash FROM decisions WHERE sequence = 3)",
        values=[zlib.compress(b'{"n":99}')],
    )
    assert (await finding_of(path)).what is Wrong.INPUT


# -- 1: the genesis ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE chains SET genesis = replace(genesis, '\"heads\":[', '\"heads\": [') WHERE number = 2", "was changed"),
        ("UPDATE chains SET genesis = 'x' WHERE number = 2", "was changed"),
        ("UPDATE chains SET replica = 'other' WHERE number = 2", "not that of this chain"),
        ("UPDATE chains SET started_at = '2020-01-01 00:00:00.000000' WHERE number = 2", "not that of this chain"),
    ],
)
@pytest.mark.usefixtures("two")
async def test_a_genesis_that_was_changed_is_found(path: Path, statement: str, named: str) -> None:
    tamper(path, "DELETE FROM checkpoints", statement)
    found = await finding_of(path)
    assert (found.what, found.position) == (Wrong.GENESIS, 0)
    assert named in found.message


@pytest.mark.usefixtures("two")
async def test_a_genesis_that_forgets_a_chain_contradicts_its_records(path: Path) -> None:
    """Hash of the genesis and all: the first record does not follow it any more."""
    tamper(path, "DELETE FROM checkpoints")
    import sqlite3

    with sqlite3.connect(path) as connection:
        (text,) = connection.execute("SELECT genesis FROM chains WHERE number = 2").fetchone()
        forged = json.dumps({**json.loads(text), "heads": []}, separators=(",", ":"))
        digest = hashlib.sha256(b"portcullis audit chain 1\n" + forged.encode()).digest()
        connection.execute("UPDATE chains SET genesis = ?, hash = ? WHERE number = 2", (forged, digest))
    connection.close()
    found = await finding_of(path)
    assert (found.what, found.position, found.decision) == (Wrong.CHANGED, 1, "b-1")


# -- 2 and 3: checkpoints ----------------------------------------------------------------------------------------------

FORGED = """INSERT INTO checkpoints SELECT NULL, chain, position, made_at, body, signature, key FROM checkpoints
    WHERE number = 2"""


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["UPDATE checkpoints SET body = replace(body, 'gate-0', 'gate-1') WHERE number = 2"], "another chain"),
        (["UPDATE checkpoints SET body = replace(body, ':2,', ': 2,') WHERE number = 2"], "not written as"),
        (["UPDATE checkpoints SET body = 'x' WHERE number = 2"], "no checkpoint"),
        (["UPDATE checkpoints SET position = 3 WHERE number = 2"], "its columns"),
        (["UPDATE checkpoints SET chain = 2 WHERE number = 2"], "removed, inserted or changed"),
        (["DELETE FROM checkpoints WHERE number = 1"], "the one before it was removed"),
        (["DELETE FROM checkpoints WHERE number = 2"], "removed, inserted or changed"),
        ([FORGED], "removed, inserted or changed"),
        (
            ["UPDATE checkpoints SET signature = NULL, key = '' WHERE number = 3"],
            "not signed, and the one before it is",
        ),
        (["UPDATE checkpoints SET signature = zeroblob(64) WHERE number = 2"], "not one of its key"),
    ],
)
@pytest.mark.usefixtures("two_signed")
async def test_checkpoints_that_were_changed_are_found(path: Path, statements: list[str], named: str) -> None:
    tamper(path, *statements)
    found = await verified(url_of(path), keys=[KEY.public_key()])
    assert Wrong.CHECKPOINT in {one.what for one in found.findings}
    assert named in " ".join(one.message for one in found.findings)


async def test_rotated_keys_are_given_together(path: Path) -> None:
    await written(url_of(path), 3, name="a", signer=Signer(KEY))
    await written(url_of(path), 3, name="b", signer=Signer(OTHER_KEY))
    both = await verified(url_of(path), keys=[KEY.public_key(), OTHER_KEY.public_key()])
    assert both.verdict is Verdict.PROVEN
    one = await verified(url_of(path), keys=[OTHER_KEY.public_key()])
    assert one.verdict is Verdict.UNVERIFIED
    assert "keys that were not given: sha256:" in one.doubts[0]


async def test_a_later_signed_chain_covers_those_that_its_genesis_names(path: Path) -> None:
    await written(url_of(path), 3, name="a")
    await written(url_of(path), 2, name="b")
    await written(url_of(path), 2, name="c", signer=Signer(KEY))
    found = await verified(url_of(path), keys=[KEY.public_key()])
    assert found.verdict is Verdict.PROVEN
    assert [one.signed for one in found.chains] == [3, 2, 2]


@pytest.mark.usefixtures("two")
async def test_a_log_that_nobody_signed_is_not_proven_by_a_key(path: Path) -> None:
    found = await verified(url_of(path), keys=[KEY.public_key()])
    assert found.verdict is Verdict.UNVERIFIED
    assert "no signature by a given key covers 2 chains with 9 records" in found.doubts[0]


async def test_a_published_line_with_a_wrong_signature_is_no_witness(path: Path, two_signed: list[Signed]) -> None:
    forged = Signed(two_signed[0].checkpoint, bytes(64), two_signed[0].key)
    found = await verified(url_of(path), keys=[KEY.public_key()], published=[forged])
    assert [one.what for one in found.findings] == [Wrong.CHECKPOINT]


# -- 4: pruning --------------------------------------------------------------------------------------------------------


PRUNED = (
    """UPDATE chains SET pruned_position = 2, pruned_hash = (SELECT hash FROM decisions WHERE id = 'a-2')
        WHERE number = 1""",
    "DELETE FROM decisions WHERE id IN ('a-1', 'a-2')",
)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("statements", [PRUNED, (*PRUNED, "DELETE FROM checkpoints")])
async def test_a_beginning_that_no_checkpoint_gave_up_is_missed(path: Path, statements: tuple[str, ...]) -> None:
    tamper(path, *statements)
    assert (await finding_of(path)).what is Wrong.PRUNED


# -- 9 and 10: chains and records without ------------------------------------------------------------------------------


@pytest.mark.usefixtures("two")
async def test_a_chain_that_vanished_is_missed(path: Path) -> None:
    tamper(
        path,
        "DELETE FROM checkpoints WHERE chain = 1",
        "DELETE FROM decisions WHERE chain = 1",
        "DELETE FROM chains WHERE number = 1",
    )
    found = await finding_of(path)
    assert (found.what, found.position) == (Wrong.VANISHED, 6)
    assert (await verified(url_of(path), lost=[found.chain])).verdict is Verdict.PROVEN


async def test_the_newest_chain_that_vanished_is_missed_by_what_was_published(path: Path, two: list[Signed]) -> None:
    for table, column in (("checkpoints", "chain"), ("decisions", "chain"), ("chains", "number")):
        tamper(path, f"DELETE FROM {table} WHERE {column} = 2")
    assert (await verified(url_of(path))).verdict is Verdict.PROVEN
    found = await verified(url_of(path), published=two)
    assert [(one.what, one.position) for one in found.findings] == [(Wrong.VANISHED, 3)]


async def test_records_of_a_chain_that_is_not_there_are_found(path: Path) -> None:
    await written(url_of(path), 3)
    tamper(path, "UPDATE decisions SET chain = 7 WHERE position = 3", "DELETE FROM checkpoints")
    assert (await finding_of(path)).what is Wrong.VANISHED


async def test_records_from_before_chains_are_counted_and_bounded(path: Path) -> None:
    async with writing(url_of(path)) as records:
        await records.change(lambda connection: insert_old(connection, made(1, name="old"), made(2, name="old")))
        await records.append(made(1))
    found = await verified(url_of(path))
    assert (found.verdict, found.unchained, found.records) == (Verdict.PROVEN, 2, 1)
    assert "2 records are older than chains" in found.notes[0]
    tamper(path, "UPDATE decisions SET chain = NULL, position = NULL, hash = NULL WHERE id = 'd-1'")
    assert (await finding_of(path)).what is Wrong.INSERTED
