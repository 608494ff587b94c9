"""Namespaces among the manifests of a command."""

from typing import Any

import pytest

from portcullis.cli.manifests import Manifest
from portcullis.cli.namespaces import GivenNamespaces
from portcullis.errors import ClusterError

pytestmark = pytest.mark.anyio


def manifest(tree: dict[str, Any]) -> Manifest:
    return Manifest("", "", 1, tree)


def namespace(**metadata: Any) -> Manifest:
    return manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


async def test_labels_of_a_namespace_that_was_given() -> None:
    given = GivenNamespaces([namespace(name="shop", labels={"team": "a", "odd": 7}, annotations={"b": "c"})])
    facts = await given.get("shop")
    # The API server sets the one label itself.
    assert facts.labels == {"team": "a", "kubernetes.io/metadata.name": "shop"}
    assert facts.annotations == {"b": "c"}


@pytest.mark.parametrize(
    "other",
    [
        namespace(name="other"),
        namespace(labels={}),
        manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop"}}),
        manifest({"apiVersion": "x.example/v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": []}),
    ],
)
async def test_what_was_not_given_is_not_known(other: Manifest) -> None:
    with pytest.raises(ClusterError, match="shop is not among the manifests"):
        await GivenNamespaces([other]).get("shop")
