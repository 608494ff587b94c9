"""Full text of what is said of decisions: an FTS5 table in SQLite, a tsvector with a GIN index in PostgreSQL.

What a word is, is decided here and not in the databases, so that both find the same and no text that is searched for
is a syntax error: a row of letters and digits, without case and accents. FTS5's tokenizer ``ascii`` and PostgreSQL's
``string_to_array`` take such words, separated by blanks, as they are.

The migrations make the table. It is not in :mod:`portcullis.audit.tables`, for SQLAlchemy knows neither kind of it;
``rowid`` is the sequence of the decision.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    String,
    bindparam,
    column,
    func,
    insert,
    select,
    table,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from portcullis.model.record import AuditRecord

TEXT_CHARS = 20_000
"""What is indexed of one decision, counted in characters; the record itself keeps all of it."""

WORD_CHARS = 128
"""What is indexed of one word; a digest has 64. PostgreSQL refuses words above 2,046 bytes."""

TEXTS = table("texts", column("rowid", BigInteger))

_WORD = re.compile(r"[^\W_]+")

_INSERT = text("INSERT INTO texts (rowid, text) VALUES (:decision, :text)")


class Holding(FunctionElement[Any]):
    """That a row of TEXTS holds all of some words, as the index knows it."""

    name = "holding"
    type = NullType()  # as a Boolean, SQLAlchemy would write "… MATCH ? = 1" for SQLite
    inherit_cache = True

    def __init__(self, wanted: Sequence[str]) -> None:
        super().__init__(_bound(" ".join(wanted)))


class HoldingItself(FunctionElement[Any]):
    """The same, as the row itself tells it: for few rows that were found by something else."""

    name = "holding_itself"
    type = NullType()
    inherit_cache = True

    def __init__(self, wanted: Sequence[str]) -> None:
        super().__init__(_bound(" ".join(wanted)), *(_bound(f" {word} ") for word in wanted))


def _bound(value: str) -> BindParameter[str]:
    return bindparam("wanted", value, String, unique=True)


@compiles(Holding, "sqlite")
def _match(element: Holding, compiler: Any, **options: Any) -> str:
    """FTS5 reads words of letters and digits as such, and several as "all of these"
    (https://www.sqlite.org/fts5.html#full_text_query_syntax); its operators are in upper case, our words never."""
    return f"texts MATCH {compiler.process(element.clauses, **options)}"


@compiles(HoldingItself, "sqlite")
def _instr(element: HoldingItself, compiler: Any, **options: Any) -> str:
    _, *each = element.clauses
    return " AND ".join(f"instr(' ' || texts.text || ' ', {compiler.process(one, **options)}) > 0" for one in each)


@compiles(Holding, "postgresql")
@compiles(HoldingItself, "postgresql")
def _matches(element: Holding | HoldingItself, compiler: Any, **options: Any) -> str:
    wanted, *_ = element.clauses
    return f"texts.words @@ CAST(replace({compiler.process(wanted, **options)}, ' ', ' & ') AS tsquery)"


def words(text: str) -> Sequence[str]:
    """The words of a text, each once."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(one for one in decomposed if not unicodedata.combining(one))
    return tuple(dict.fromkeys(word[:WORD_CHARS] for word in _WORD.findall(text.casefold())))


def insert_texts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Indexes ``{"decision": sequence, "text": …}`` in SQLite."""
    if rows:
        connection.execute(_INSERT, list(rows))


def text_rows(rows: Any) -> Any:
    """The same in PostgreSQL for a list of them in JSON, as an INSERT that may be part of a larger statement."""
    given = (
        func.json_to_recordset(rows)
        .table_valued(column("decision", BigInteger), column("text", String))
        .render_derived(name="given_texts", with_types=True)
    )
    words = func.array_to_tsvector(func.string_to_array(given.c.text, " "))
    return insert(table("texts", column("rowid"), column("words"))).from_select(
        ["rowid", "words"], select(given.c.decision, words)
    )


def words_of(record: AuditRecord) -> str:
    """What is indexed of a record: the words of policies, messages, remedies and reasons, each once; those of the
    message where there is nothing else. "" where there are none."""
    said = list(dict.fromkeys(_said(record))) or [record.decision.message]
    return " ".join(words("\n".join(said)[:TEXT_CHARS]))


def _said(record: AuditRecord) -> Iterator[str]:
    decision = record.decision
    for violation in decision.violations:
        yield from (violation.policy, violation.msg, violation.fix)
    for undecided in decision.undecided:
        yield undecided.policy
        for problem in undecided.problems:
            yield from (problem.reason, problem.msg)
    for problem in decision.problems:
        yield from (problem.reason, problem.msg)
