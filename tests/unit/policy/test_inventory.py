"""The inventory as a tree and as patches; tests/contract/test_inventory.py writes it into a real OPA."""

import json
from dataclasses import replace
from typing import Any

import pytest

from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy import inventory as module
from portcullis.policy.inventory import Inventory


def put(inventory: Inventory, namespace: str, name: str, kind: str = "Deployment", **content: Any) -> None:
    inventory.put("apps/v1" if kind == "Deployment" else "v1", kind, namespace, name, content)


def tree(inventory: Inventory) -> Any:
    return json.loads(inventory.snapshot()[1])


def test_the_layout_is_gatekeepers() -> None:
    inventory = Inventory(DEFAULT_LIMITS)
    put(inventory, "shop", "a/~b", metadata={"name": "x"})
    put(inventory, "", "shop", kind="Namespace")
    assert tree(inventory) == {
        "cluster": {"v1": {"Namespace": {"shop": {"apiVersion": "v1", "kind": "Namespace"}}}},
        "namespace": {
            "shop": {
                "apps/v1": {
                    "Deployment": {"a/~b": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}}
                }
            }
        },
    }
    found = inventory.since(0)
    assert found is not None
    assert [step["path"] for step in json.loads(found[1])] == [
        "/namespace/shop",
        "/namespace/shop/apps~1v1",
        "/namespace/shop/apps~1v1/Deployment",
        "/namespace/shop/apps~1v1/Deployment/a~1~0b",
        "/cluster/v1",
        "/cluster/v1/Namespace",
        "/cluster/v1/Namespace/shop",
    ]
    inventory.remove("apps/v1", "Deployment", "shop", "a/~b")
    inventory.remove("apps/v1", "Deployment", "shop", "never was")
    assert inventory.objects == 1
    assert inventory.bytes == len('{"apiVersion":"v1","kind":"Namespace"}')


@pytest.mark.parametrize("limits", [{"inventory_objects": 2}, {"inventory_bytes": 150}])
def test_over_a_limit_there_is_nothing_and_a_patch_never_bridges_that(limits: dict[str, int]) -> None:
    inventory = Inventory(replace(DEFAULT_LIMITS, **limits))
    put(inventory, "shop", "a", data="x" * 20)
    version = inventory.version
    put(inventory, "shop", "b", data="x" * 20)
    assert not inventory.too_large
    put(inventory, "shop", "c", data="x" * 90)
    (name,) = limits
    assert name.partition("_")[2].capitalize() in inventory.too_large
    assert tree(inventory) == {"cluster": {}, "namespace": {}}
    assert inventory.since(version) is None
    during = inventory.version
    inventory.remove("apps/v1", "Deployment", "shop", "c")
    assert inventory.too_large == ""
    assert set(tree(inventory)["namespace"]["shop"]["apps/v1"]["Deployment"]) == {"a", "b"}
    assert inventory.since(during) is None
    assert inventory.since(inventory.version) == (inventory.version, b"[]")


def test_who_is_too_far_behind_needs_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = Inventory(DEFAULT_LIMITS)
    for number in range(module.KEPT_STEPS):
        put(inventory, "shop", f"n{number}")
    assert inventory.since(0) is None
    found = inventory.since(inventory.version - 2)
    assert found is not None
    assert [step["path"][-5:] for step in json.loads(found[1])] == ["n1998", "n1999"]
