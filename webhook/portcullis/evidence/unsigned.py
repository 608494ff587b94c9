"""What is not signed by itself: statements that BuildKit puts into an index, and reports that are attached as they are.

The proof. Such content is evidence about a digest, if:

 (1) its bytes have the digest under which a manifest lists it, and that manifest the digest D1 by which it was asked
     for (both hold of everything that a Registry gives);
 (2) D1 is signed: it is the manifest that a signature names, or an index that leads to it by digests is (gather.py);
 (3) it is strict JSON: with one meaning for everybody;
 (4) a statement names the judged digest among its subjects; a report has no statement, and there the manifest D1,
     signed as a whole, says in its own ``subject`` that it is attached to the judged digest (discover.py).

Who signed is trusted for what the content is about, as with any attestation.
"""

from hashlib import sha256

from portcullis.evidence.decode import require_strict
from portcullis.evidence.refusal import ATTESTATION_SUBJECT_MISMATCH, EvidenceError, shown
from portcullis.evidence.statement import names, parse_statement, predicate_object
from portcullis.limits import Limits
from portcullis.model.evidence import Rejected, Statement, Verified
from portcullis.model.image import Digest


def read_unsigned(content: bytes, report: str, subject: Digest, limits: Limits) -> Verified | Rejected:
    """What the content says, once somebody trusted has signed what leads to it: ``signers`` is empty.

    Args:
        report: the media type of a report, "" for a statement.
    """
    try:
        statement = _report(content, report, limits) if report else _statement(content, subject, limits)
    except EvidenceError as error:
        return Rejected(error.reason, error.message, report)
    return Verified(statement, (), payload=sha256(content).hexdigest())


def _report(content: bytes, report: str, limits: Limits) -> Statement:
    require_strict(content, limits=limits, what="the report")  # (3)
    return Statement(report, content)


def _statement(content: bytes, subject: Digest, limits: Limits) -> Statement:
    require_strict(content, limits=limits, what="the statement")  # (3)
    statement = parse_statement(content, limits)
    if not names(statement, subject):  # (4)
        raise EvidenceError(
            f"the statement is about {len(statement.subjects)} other artifacts, not about {shown(subject)}",
            ATTESTATION_SUBJECT_MISMATCH,
        )
    return Statement(statement.predicate_type, predicate_object(statement))
