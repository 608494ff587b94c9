"""Namespaces among the manifests that a command was given: the labels that they would have in the cluster."""

from collections.abc import Mapping, Sequence

from portcullis.cli.manifests import Manifest
from portcullis.errors import ClusterError
from portcullis.model.place import NamespaceFacts, texts_of


class GivenNamespaces:
    """Implements the Namespaces port over manifests."""

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self._facts = {facts.name: facts for one in manifests if (facts := _facts(one)) is not None}

    async def get(self, name: str) -> NamespaceFacts:
        """See :class:`portcullis.ports.Namespaces`."""
        if name not in self._facts:
            raise ClusterError(f"{name} is not among the manifests; add the Namespace with its labels")
        return self._facts[name]


def _facts(manifest: Manifest) -> NamespaceFacts | None:
    tree = manifest.object
    metadata = tree.get("metadata")
    if (tree.get("apiVersion"), tree.get("kind")) != ("v1", "Namespace") or not isinstance(metadata, Mapping):
        return None
    name = metadata.get("name")
    if not isinstance(name, str):
        return None
    labels = {"kubernetes.io/metadata.name": name} | texts_of(metadata.get("labels"))
    return NamespaceFacts(name, labels, texts_of(metadata.get("annotations")))
