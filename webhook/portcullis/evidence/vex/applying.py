"""Applies what verified VEX documents say to the findings of verified scans.

A statement says something of a finding if each of these holds:

1. Its document was verified, and has a signer.
2. One of its vulnerability's names is the finding's id or one of its aliases, in any case of letters.
3. The scan looked at nothing but platforms of which the statement speaks: that at whose manifest its attestation
   hangs, and those that its product names by digest or architecture.
4. Its product is (a) none: the subject of the attestation, which is this image; or (b) this image, by a package URL
   or a digest (:mod:`portcullis.evidence.vex.images`); or (c) a package, by a package URL that covers the finding's.
5. With (a) and (b), where it names subcomponents: one of them is the finding's package, by a package URL that covers
   the finding's or, where it is no package URL, by its name.

Anything else that names a product names another one. What applies is then weighed:

6. Of what one signer says of a finding the latest counts: people change their minds. What has no time could be later
   than anything, so it counts as well, beside the latest. Of several that count the least favourable does.
7. Of what several signers say the least favourable counts: affected, then under_investigation, then the rest. Nobody
   who may sign VEX can silence another who sees a danger.
8. Whether a statement has expired is judged later, with the request's time. It is no part of 6 and 7: an expired
   statement still hides what is more favourable, until its signer says something newer. So time alone never sets a
   finding aside. Between equally favourable ones the one that lasts longest is shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Final, NamedTuple

from portcullis.evidence.vex.images import NONE, Platforms, both, is_of_image, platforms_of, scanned, subject_platforms
from portcullis.evidence.vex.purls import Key, Purl, parse_purl
from portcullis.model.evidence import (
    AttestedScan,
    AttestedVex,
    Signer,
    VexMark,
    VexProduct,
    VexStatement,
    VexStatus,
    Vulnerability,
)
from portcullis.model.image import Digest, ResolvedImage

_RANK: Final[Mapping[VexStatus, int]] = {
    VexStatus.AFFECTED: 0,
    VexStatus.UNDER_INVESTIGATION: 1,
    VexStatus.FIXED: 2,
    VexStatus.NOT_AFFECTED: 2,
}

_Where = Key | str | None
"""What a statement is looked up by: a package's key, a package's name, None for all packages."""


class _Said:
    """A statement in its document. ``mark`` is made when it is wanted: most statements are about other packages."""

    __slots__ = ("_mark", "document", "number", "signer", "statement")

    def __init__(self, number: int, document: AttestedVex, statement: VexStatement, signer: Signer) -> None:
        self.number = number
        self.document = document
        self.statement = statement
        self.signer = signer
        self._mark: VexMark | None = None

    @property
    def mark(self) -> VexMark:
        if self._mark is None:
            self._mark = VexMark(
                status=self.statement.status,
                justification=self.statement.justification,
                impact=self.statement.impact,
                signer=self.signer,
                attestation=self.document.attestation.digest,
                issued_at=self.statement.issued_at,
                expires_at=self.document.expires_at,
            )
        return self._mark


class _Entry(NamedTuple):
    """What a document says of one product: ``package`` None stands for what it was looked up by, ``platforms`` None
    for all. ``words`` are those of its statements that may count (6): the one of the latest time, and one without."""

    package: Purl | None
    platforms: Platforms
    words: list[_Said]


_Index = Mapping[str, Mapping[_Where, Sequence[_Entry]]]


class _Reading:
    """Reads each package URL once, and looks for each product in the image once: documents and reports repeat them."""

    def __init__(self, image: ResolvedImage) -> None:
        self.image = image
        self._purls: dict[str, Purl | None] = {"": None}
        self._products: dict[tuple[str, tuple[str, ...], str], Platforms] = {}

    def purl(self, text: str) -> Purl | None:
        try:
            return self._purls[text]
        except KeyError:
            return self._purls.setdefault(text, parse_purl(text))

    def platforms(self, product: VexProduct, purl: Purl | None) -> Platforms:
        key = (product.purl, product.digests, product.identifier)
        try:
            return self._products[key]
        except KeyError:
            return self._products.setdefault(key, platforms_of(product, purl, self.image))


def apply_vex(
    scans: Sequence[AttestedScan], documents: Sequence[AttestedVex], image: ResolvedImage
) -> tuple[tuple[AttestedScan, ...], tuple[AttestedVex, ...]]:
    """The scans with a mark at each finding of which a document says something, and the documents with the number of
    those in ``applied``. The result does not depend on the order of the documents.

    Nothing that is handed in is changed: findings that get or lose a mark are new ones. Suppressions of the scanner
    itself are left as they are. Takes some 10 microseconds for each finding, in the caller's thread. Raises nothing.

    Args:
        image: what scans and documents are attached to.
    """
    reading = _Reading(image)
    index = _index(documents, reading)
    applied = [0] * len(documents)
    marked = tuple(_marked(scan, index, reading, applied) for scan in scans)
    counted = tuple(replace(one, applied=count) for one, count in zip(documents, applied, strict=True))
    return marked, counted


# -- what is said ---------------------------------------------------------------------------------------------------


def _index(documents: Sequence[AttestedVex], reading: _Reading) -> _Index:
    index: dict[str, dict[_Where, list[_Entry]]] = {}
    for number, document in enumerate(documents):
        signer = document.attestation.signer
        platforms = subject_platforms(document.attestation, reading.image)
        if not document.attestation.verified or signer is None:  # 1
            continue
        # Statements of one document about one thing are one entry: some documents repeat themselves a thousand times.
        known: dict[tuple[str, _Where, int, Platforms], _Entry] = {}
        for statement in document.fact.statements:
            said = _Said(number, document, statement, signer)
            names = {name.lower() for name in statement.vulnerabilities}  # 2
            for where, package, meant in _about(statement, reading):
                reach = both(platforms, meant)
                if reach == NONE:  # 3
                    continue
                for name in names:
                    key = (name, where, id(package), reach)  # one text is one object
                    entry = known.get(key)
                    if entry is None:
                        known[key] = _Entry(package, reach, [said])
                        index.setdefault(name, {}).setdefault(where, []).append(known[key])
                    else:
                        entry.words[:] = _counting([*entry.words, said])
    return index


def _about(statement: VexStatement, reading: _Reading) -> Iterator[tuple[_Where, Purl | None, Platforms]]:
    """4 and 5: of which packages on which platforms a statement speaks."""
    for product in statement.products or (VexProduct(),):
        purl = reading.purl(product.purl)
        if purl is not None and not is_of_image(purl):
            yield purl.key, purl, None
            continue
        platforms = reading.platforms(product, purl)
        if not product.subcomponents:
            yield None, None, platforms
        for name in product.subcomponents:
            package = reading.purl(name)
            if package is not None:
                yield package.key, package, platforms
            elif name[:4].lower() != "pkg:":  # a package URL that cannot be read is not a name
                yield name, None, platforms


# -- what it is said of ---------------------------------------------------------------------------------------------


def _marked(scan: AttestedScan, index: _Index, reading: _Reading, applied: list[int]) -> AttestedScan:
    platforms = scanned(scan, reading.image)
    findings: list[Vulnerability] = []
    changed = False
    for finding in scan.report.vulnerabilities:
        words = _of(finding, index, platforms, reading)
        mark = None
        if words:
            mark = _weighed(words).mark
            for number in {said.number for said in words}:
                applied[number] += 1
        if mark is finding.vex:
            findings.append(finding)
        else:
            findings.append(_with_mark(finding, mark))
            changed = True
    if not changed:
        return scan
    return replace(scan, report=replace(scan.report, vulnerabilities=tuple(findings)))


def _with_mark(finding: Vulnerability, mark: VexMark | None) -> Vulnerability:
    """A new finding: reports are kept between requests. ``replace`` would take four times as long."""
    marked = Vulnerability(*_all_fields(finding))
    marked.vex = mark
    return marked


_all_fields: Final = attrgetter(*(field.name for field in fields(Vulnerability)))


def _of(finding: Vulnerability, index: _Index, platforms: frozenset[Digest], reading: _Reading) -> Sequence[_Said]:
    """What is said of a finding by anybody."""
    words: list[_Said] = []
    for name in (finding.id, *finding.aliases):
        places = index.get(name.lower())
        if places is None:
            continue
        found = list(places.get(None, ()))
        if len(places) > bool(found):
            found += places.get(finding.package, ())
            purl = reading.purl(finding.purl)
            if purl is not None:
                found += (entry for entry in places.get(purl.key, ()) if entry.package and entry.package.covers(purl))
        for entry in found:
            if _within(platforms, entry.platforms):
                words += entry.words
    return words


def _within(scanned: frozenset[Digest], allowed: Platforms) -> bool:
    """3: a scan of an unknown platform is within none."""
    return allowed is None or (bool(scanned) and scanned <= allowed)


def _weighed(words: Sequence[_Said]) -> _Said:
    """6 and 7, for statements of which there is at least one."""
    if len(words) == 1:
        return words[0]
    by_signer: dict[str, list[_Said]] = {}
    for said in words:
        by_signer.setdefault(said.signer.name, []).append(said)
    return min((said for own in by_signer.values() for said in _counting(own)), key=_weight)


def _counting(words: Sequence[_Said]) -> Sequence[_Said]:
    """Those of one signer's statements that count, at most two: of those of the latest time, and of those of none, the
    least favourable."""
    if len(words) == 1:
        return words
    newest = max((time for said in words if (time := said.statement.issued_at) is not None), default=None)
    latest = [said for said in words if said.statement.issued_at == newest]
    timeless = [said for said in words if said.statement.issued_at is None]
    return [min(group, key=_weight) for group in (latest, timeless if newest is not None else []) if group]


def _weight(said: _Said) -> tuple[int, float, float, str, str, str, str, str]:
    """Of two statements that may count the one of the smaller weight does: the less favourable (7), then the longer
    lasting (8), then the later; the rest makes the choice the same in any order."""
    mark = said.mark
    return (
        _RANK[mark.status],
        float("-inf") if mark.expires_at is None else -mark.expires_at.timestamp(),
        float("inf") if mark.issued_at is None else -mark.issued_at.timestamp(),
        mark.signer.name,
        str(mark.attestation),
        str(mark.status),
        mark.justification,
        mark.impact,
    )
