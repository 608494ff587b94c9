"""The policy input as a tree of needs: which class of facts stands behind which field (design rule 3).

The tree must cover every field that document.py writes; a field that it does not know counts as every need.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

from portcullis.model.contents import FindingClass
from portcullis.model.ruling import Need

EVERY_NEED = frozenset(Need) - {Need.INVENTORY}
"""Of the input. The inventory is no part of it: policies from elsewhere read it as ``data.inventory`` (foreign.py)."""


class Node:
    """One place of the input.

    ``own`` is what must have been fetched for this value to be there and to have its right size; ``below`` what
    the whole of it needs. A record has ``fields``; a list or a map has one node ``each`` for all its elements;
    a leaf has neither, and whatever lies below is part of it.
    """

    def __init__(
        self, own: Iterable[Need], *, fields: Mapping[str, "Node"] | None = None, each: "Node | None" = None
    ) -> None:
        self.own = frozenset(own)
        self._fields = fields
        self._each = each

    def child(self, key: str) -> "Node":
        """The field of that name, or the element under any key."""
        if self._fields is not None:
            return self._fields.get(key, ANYTHING)
        return self._each or self

    def children(self) -> "frozenset[Node]":
        """Every node that a key may lead to which is not known."""
        return frozenset(self._fields.values()) if self._fields is not None else frozenset({self._each or self})

    @cached_property
    def below(self) -> frozenset[Need]:
        return self.own.union(*(node.below for node in self.children() if node is not self))


ANYTHING = Node(EVERY_NEED)
"""A field that nobody has described."""


def _leaf(*needs: Need) -> Node:
    return Node(needs)


def _record(own: Need, **fields: Node) -> Node:
    return Node({own}, fields=fields)


def _fields(node: Node, *names: str) -> dict[str, Node]:
    return dict.fromkeys(names, node)


_REQUEST = _leaf(Need.REQUEST)
_IMAGE = _leaf(Need.IMAGE)
_CONFIG = _leaf(Need.CONFIG)
_USER = _leaf(Need.USER)
_CONTENTS = _leaf(Need.CONTENTS)
_ATTESTATIONS = _leaf(Need.ATTESTATIONS)
_NAMESPACE = _leaf(Need.NAMESPACE)

_CONTAINER = _record(
    Need.REQUEST,
    **_fields(_REQUEST, "name", "kind", "path", "image", "pinned", "spec"),
    digest=_IMAGE,
    user=_USER,
)

_INSIDE = _record(
    Need.CONTENTS,
    **_fields(_CONTENTS, "status", "files", "bytes", "os", "layers", "application", "libcMismatches", *FindingClass),
    packages=Node({Need.CONTENTS, Need.PACKAGES}),
)

_PLATFORM = _record(
    Need.IMAGE,
    **_fields(_IMAGE, "platform", "digest"),
    **_fields(_CONFIG, "created", "ageHours", "compressedBytes", "layers", "layerList", "config"),
    user=_USER,
    contents=_INSIDE,
)

_SBOM = _record(
    Need.ATTESTATIONS,
    **_fields(
        _ATTESTATIONS,
        *("format", "specVersion", "createdAt", "ageHours", "tools"),
        *("platform", "signer", "attestation", "componentCount"),
    ),
    components=Node({Need.ATTESTATIONS, Need.COMPONENTS}),
)

_IMAGE_FACTS = _record(
    Need.REQUEST,
    **_fields(_REQUEST, "reference", "registry", "repository", "tag"),
    **_fields(_IMAGE, "digest", "isIndex", "staleSince", "problems"),
    **_fields(_ATTESTATIONS, "attestations", "scans", "evaluations", "vex", "provenance", "lint"),
    sboms=Node({Need.ATTESTATIONS}, each=_SBOM),
    platforms=Node({Need.IMAGE}, each=_PLATFORM),
)

INVENTORY_TREE = _leaf(Need.INVENTORY)
"""Objects of the cluster at ``data.inventory``: no part of the input, and read like one."""

INPUT = _record(
    Need.REQUEST,
    **_fields(_REQUEST, "time", "request", "workload"),
    namespace=_record(Need.REQUEST, name=_REQUEST, labels=_NAMESPACE, annotations=_NAMESPACE),
    containers=Node({Need.REQUEST}, each=_CONTAINER),
    images=Node({Need.REQUEST}, each=_IMAGE_FACTS),
)

_IMPLIED = {
    Need.CONFIG: frozenset({Need.IMAGE}),
    Need.USER: frozenset({Need.CONFIG, Need.IMAGE}),
    Need.CONTENTS: frozenset({Need.IMAGE}),
    Need.PACKAGES: frozenset({Need.CONTENTS, Need.IMAGE}),
    Need.ATTESTATIONS: frozenset({Need.IMAGE}),
    Need.COMPONENTS: frozenset({Need.ATTESTATIONS, Need.IMAGE}),
}


def closed(needs: Iterable[Need]) -> frozenset[Need]:
    """The needs and what they rest on; ``request`` is always there."""
    direct = frozenset(needs) | {Need.REQUEST}
    return direct.union(*(_IMPLIED.get(need, frozenset()) for need in direct))
