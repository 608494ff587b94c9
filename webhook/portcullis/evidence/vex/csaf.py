"""CSAF 2.0 in the profile VEX (docs.oasis-open.org/csaf/csaf/v2.0, section 4.5).

Products are named by ids, which the document's product tree explains. Only package URLs and digests in it can be
compared with an image; a product that has neither is kept by its id, which nothing is compared with.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, EvidenceError, shown
from portcullis.evidence.times import parse_time
from portcullis.evidence.vex.purls import parse_purl
from portcullis.evidence.vex.wording import Tally, name, reason
from portcullis.limits import Limits
from portcullis.model.evidence import VexDocument, VexProduct, VexStatement, VexStatus

_WHAT: Final = "the CSAF document"
_PARTS: Final = frozenset({"default_component_of", "external_component_of", "optional_component_of"})
"""Relationships of a component to the product that it is a part of."""


class _FileHash(msgspec.Struct):
    algorithm: str = ""
    value: str = ""


class _Hashes(msgspec.Struct):
    file_hashes: list[_FileHash] = []


class _Helper(msgspec.Struct):
    purl: str | None = None
    hashes: list[_Hashes] | None = None


class _Product(msgspec.Struct):
    product_id: str
    name: str = ""
    product_identification_helper: _Helper | None = None


class _Branch(msgspec.Struct):
    branches: "list[_Branch] | None" = None
    product: _Product | None = None


class _Relationship(msgspec.Struct):
    category: str
    full_product_name: _Product
    product_reference: str
    relates_to_product_reference: str


class _Group(msgspec.Struct):
    group_id: str
    product_ids: list[str]


class _Tree(msgspec.Struct):
    branches: list[_Branch] | None = None
    full_product_names: list[_Product] | None = None
    relationships: list[_Relationship] | None = None
    product_groups: list[_Group] | None = None


class _Flag(msgspec.Struct):
    label: str
    product_ids: list[str] | None = None
    group_ids: list[str] | None = None


class _Threat(msgspec.Struct):
    category: str
    details: str = ""
    product_ids: list[str] | None = None
    group_ids: list[str] | None = None


class _Id(msgspec.Struct):
    text: str


class _Vulnerability(msgspec.Struct):
    cve: str | None = None
    ids: list[_Id] | None = None
    product_status: dict[str, list[str]] | None = None
    flags: list[_Flag] | None = None
    threats: list[_Threat] | None = None


class _Tracking(msgspec.Struct):
    id: str
    version: str
    current_release_date: str
    status: Literal["draft", "interim", "final"]


class _Publisher(msgspec.Struct):
    name: str = ""


class _Head(msgspec.Struct):
    category: str
    csaf_version: str
    tracking: _Tracking
    publisher: _Publisher | None = None


class _Document(msgspec.Struct):
    document: _Head
    product_tree: _Tree | None = None
    vulnerabilities: list[_Vulnerability] | None = None


# Section 3.2.3.9; "recommended" says which version to take, not what a vulnerability does to it.
_STATUS: Final[Mapping[str, VexStatus | None]] = {
    "first_affected": VexStatus.AFFECTED,
    "first_fixed": VexStatus.FIXED,
    "fixed": VexStatus.FIXED,
    "known_affected": VexStatus.AFFECTED,
    "known_not_affected": VexStatus.NOT_AFFECTED,
    "last_affected": VexStatus.AFFECTED,
    "recommended": None,
    "under_investigation": VexStatus.UNDER_INVESTIGATION,
}


def read_csaf(content: bytes, limits: Limits) -> VexDocument:
    """One statement for each status of each vulnerability, or several where products have different reasons.

    Raises:
        EvidenceError: it is none, a draft, or one that contradicts the profile: a status that does not exist, or
            "known_not_affected" without a reason (attestation-invalid); another profile or version
            (attestation-unsupported); more than ``vex_statements`` or ``vex_products`` (too-large).
    """
    document = decode_typed(content, _Document, _WHAT)
    head = document.document
    if head.csaf_version != "2.0" or head.category != "csaf_vex":
        raise EvidenceError(
            f"{_WHAT} is {shown(head.category)} of CSAF {shown(head.csaf_version)}; csaf_vex of CSAF 2.0 is read",
            ATTESTATION_UNSUPPORTED,
        )
    if head.tracking.status == "draft":
        raise EvidenceError(f"{_WHAT} is a draft")
    tree = document.product_tree or _Tree()
    products = _products(tree)
    groups = {group.group_id: group.product_ids for group in tree.product_groups or ()}
    issued = parse_time(head.tracking.current_release_date, f"the current_release_date of {_WHAT}")
    tally = Tally(limits)
    statements: list[VexStatement] = []
    for vulnerability in document.vulnerabilities or ():
        names = _names(vulnerability)
        for status, justification, impact, ids in _said(vulnerability, groups, tally):
            tally.statement()
            tally.products(len(ids), len(names))
            favourable = status in (VexStatus.NOT_AFFECTED, VexStatus.FIXED)
            about = tuple(_product(products.get(one), one, favourable=favourable) for one in ids)
            statements.append(VexStatement(names, status, justification, impact, about, issued))
    return VexDocument(
        format="csaf",
        id=name(head.tracking.id),
        author=name(head.publisher.name if head.publisher is not None else ""),
        version=name(head.tracking.version),
        issued_at=issued,
        statements=tuple(statements),
    )


def _names(vulnerability: _Vulnerability) -> tuple[str, ...]:
    names = [vulnerability.cve or "", *(one.text for one in vulnerability.ids or ())]
    found = tuple(dict.fromkeys(stripped for one in names if (stripped := one.strip())))
    if not found:
        raise EvidenceError(f"{_WHAT} has a vulnerability without an id")
    return found


# -- what is said ---------------------------------------------------------------------------------------------------


def _said(
    vulnerability: _Vulnerability, groups: Mapping[str, Sequence[str]], tally: Tally
) -> Iterator[tuple[VexStatus, str, str, Sequence[str]]]:
    """Status, justification, impact, and the ids of the products of which that is said."""
    flags: dict[str, str] = {}
    for flag in vulnerability.flags or ():
        for one in _about(flag, groups, tally):
            flags.setdefault(one, reason(flag.label))
    impacts: dict[str, str] = {}
    for threat in vulnerability.threats or ():
        if threat.category == "impact":
            for one in _about(threat, groups, tally):
                impacts.setdefault(one, reason(threat.details))
    for word, ids in (vulnerability.product_status or {}).items():
        if word not in _STATUS:
            raise EvidenceError(f"{_WHAT} has the unknown product_status {shown(word)}")
        status = _STATUS[word]
        if status is None:
            continue
        alike: dict[tuple[str, str], list[str]] = {}
        for one in dict.fromkeys(ids):
            # Flags say why not affected, and nothing about another status.
            why = flags.get(one, "") if status is VexStatus.NOT_AFFECTED else ""
            impact = impacts.get(one, "")
            if status is VexStatus.NOT_AFFECTED and not why and not impact:
                raise EvidenceError(
                    f"{_WHAT} says known_not_affected of {shown(one)} without a flag or an impact (section 4.5)"
                )
            alike.setdefault((why, impact), []).append(one)
        for (why, impact), same in alike.items():
            yield status, why, impact, same


def _about(said: _Flag | _Threat, groups: Mapping[str, Sequence[str]], tally: Tally) -> Iterator[str]:
    yield from said.product_ids or ()
    for group in said.group_ids or ():
        ids = groups.get(group, ())
        tally.reasons(len(ids))
        yield from ids


# -- products --------------------------------------------------------------------------------------------------------


class _Known(msgspec.Struct, frozen=True):
    """What the tree says of an id. ``whole`` is the product of which it is a part or on which it is installed, "" for
    none, or one that has no package URL (``on_unknown``)."""

    purl: str = ""
    digests: tuple[str, ...] = ()
    whole: str = ""
    on_unknown: bool = False


def _products(tree: _Tree) -> Mapping[str, _Known]:
    """All ids that the tree explains. Of an id that stands twice nothing is known."""
    found: dict[str, _Known] = {}

    def add(id_: str, known: _Known) -> None:
        found[id_] = known if id_ not in found else _Known()

    stack = list(tree.branches or ())
    for product in tree.full_product_names or ():
        add(product.product_id, _known(product))
    while stack:
        branch = stack.pop()
        stack.extend(branch.branches or ())
        if branch.product is not None:
            add(branch.product.product_id, _known(branch.product))
    for relation in tree.relationships or ():  # one that builds on a later one finds it unexplained
        own = _known(relation.full_product_name)
        part = found.get(relation.product_reference, _Known())
        whole = found.get(relation.relates_to_product_reference, _Known())
        known = own if own.purl or own.digests else _combined(part, whole, relation.category)
        add(relation.full_product_name.product_id, known)
    return found


def _combined(part: _Known, whole: _Known, category: str) -> _Known:
    if part.whole or part.on_unknown or whole.whole or whole.on_unknown or not part.purl:
        return _Known()
    if whole.purl and category in _PARTS:
        return _Known(purl=part.purl, whole=whole.purl)
    return _Known(purl=part.purl, on_unknown=True)


def _known(product: _Product) -> _Known:
    helper = product.product_identification_helper
    if helper is None:
        return _Known()
    hashes = (one for group in helper.hashes or () for one in group.file_hashes)
    return _Known(helper.purl or "", tuple(f"{one.algorithm.lower()}:{one.value.lower()}" for one in hashes))


def _product(known: _Known | None, id_: str, *, favourable: bool) -> VexProduct:
    identifier = id_ or "a product without an id"  # a product of which nothing is known must not read as the subject
    if known is None:
        return VexProduct(identifier=identifier)
    if known.whole:
        return VexProduct(purl=known.whole, identifier=identifier, subcomponents=(known.purl,))
    if known.on_unknown and favourable and not _has_version(known.purl):
        # "openssl of RHEL 9 is not affected" must not be said of every openssl.
        return VexProduct(identifier=identifier)
    return VexProduct(purl=known.purl, digests=known.digests, identifier=identifier)


def _has_version(purl: str) -> bool:
    parsed = parse_purl(purl)
    return parsed is not None and bool(parsed.version)
