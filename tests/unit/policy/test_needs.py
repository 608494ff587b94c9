"""Needs: what a policy reads, found in every way of writing it, and never too little."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import opa, samples
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.json import JSONObject
from portcullis.model.ruling import CompiledBundle, Need, PolicyInfo, PolicySource
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.policy.opa import OpaEngine
from portcullis.server.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

REQUEST = frozenset({Need.REQUEST})
IMAGE = REQUEST | {Need.IMAGE}
CONFIG = IMAGE | {Need.CONFIG}
USER = CONFIG | {Need.USER}
ATTESTED = IMAGE | {Need.ATTESTATIONS}
CONTENTS = IMAGE | {Need.CONTENTS}
COMPONENTS = ATTESTED | {Need.COMPONENTS}
PACKAGES = CONTENTS | {Need.PACKAGES}
NAMESPACE = REQUEST | {Need.NAMESPACE}
ALL = frozenset(Need) - {Need.INVENTORY}

EVIDENCE = ("attestations", "scans", "evaluations", "sboms", "vex", "provenance", "lint")

LIBRARY = """
import rego.v1
nonroot(c) if c.user.root == false
same(x) := x
named(name) := c if { some c in input.containers; c.name == name }
images := input.images
users := {c.name: c.user | some c in input.containers}
pinned contains c.name if { some c in input.containers; c.pinned }
by_kind[c.kind] contains c if some c in input.containers
pair(c) := [c.name, c.user]
inner := {"deep": input.images}
unused if input.images[_].scans
"""

CASES: dict[str, tuple[str, frozenset[Need]]] = {
    # -- plain references
    "pinned": ('deny contains "x" if { some c in input.containers; not c.pinned }', REQUEST),
    "constant": ('deny contains "x" if true', REQUEST),
    "no-body": ('deny contains "x"', REQUEST),
    "root": ('deny contains "x" if { some c in input.containers; not c.user.root == false }', USER),
    "helper": (
        (
            'deny contains "x" if { some container in input.containers; not nonroot(container) }\n'
            "nonroot(container) if container.user.root == false"
        ),
        USER,
    ),
    "digest": ('deny contains "x" if { some c in input.containers; c.digest == null }', IMAGE),
    "registry": ("deny contains i.registry if some i in input.images", REQUEST),
    "number-of-containers": ('deny contains "x" if count(input.containers) > 3', REQUEST),
    "number-of-scans": ('deny contains "x" if { some i in input.images; count(i.scans) == 0 }', ATTESTED),
    "number-of-sboms": ('deny contains "x" if { some i in input.images; count(i.sboms) == 0 }', ATTESTED),
    "sbom-head": ('deny contains "x" if { some i in input.images; i.sboms[0].componentCount == 0 }', ATTESTED),
    "sbom-components": ('deny contains "x" if { some i in input.images; i.sboms[0].components[_].name }', COMPONENTS),
    "number-of-platforms": ('deny contains "x" if { some i in input.images; count(i.platforms) > 1 }', IMAGE),
    "platform-digest": ("deny contains p.digest if some p in input.images[_].platforms", IMAGE),
    "platform-label": ('deny contains "x" if input.images[_].platforms[_].config.labels.a', CONFIG),
    "platform-user": ('deny contains "x" if input.images[_].platforms[_].user.uid == 0', USER),
    "platform-layer": ('deny contains "x" if count(input.images[_].platforms[_].layerList) > 9', CONFIG),
    "packages": ('deny contains "x" if input.images[_].platforms[_].contents.packages[_].name == "x"', PACKAGES),
    "platform-contents": ('deny contains "x" if count(input.images[_].platforms[_].contents.shells) > 0', CONTENTS),
    "problems": ('deny contains "x" if { some p in input.images[_].problems; p.reason == "a" }', IMAGE),
    "namespace-name": ('deny contains "x" if input.namespace.name == "a"', REQUEST),
    "namespace-labels": ('deny contains "x" if input.namespace.labels.team', NAMESPACE),
    "time": ("deny contains input.time.now", REQUEST),
    "clock": ('deny contains "x" if time.now_ns() > 5', REQUEST),
    "own-object": ('deny contains "x" if input.request.object.spec.user.root', REQUEST),
    "parameters": ('deny contains "x" if data.portcullis.parameters["a"].digest', REQUEST),
    "unknown-field": ('deny contains "x" if input.containers[_].nothing', ALL),
    "unknown-section": ('deny contains "x" if input.imgaes', ALL),
    # -- names for places
    "alias": ('deny contains "x" if { all := input.containers; all[_].user.root }', USER),
    "alias-unused-part": ("deny contains c.name if { c := input.containers[_]; c.image }", REQUEST),
    "chain": ('deny contains "x" if { a := input; b := a.images; c := b[_]; d := c.scans; d[_].complete }', ATTESTED),
    "import-alias": ('import input.images as pictures\ndeny contains "x" if pictures[_].isIndex', IMAGE),
    "by-key": ('deny contains "x" if { some c in input.containers; input.images[c.image].digest == null }', IMAGE),
    "field-by-name": ('deny contains "x" if { f := "user"; input.containers[_][f].root }', USER),
    "field-iterated": ('deny contains k if { some k, v in input.containers[0]; v == "x" }', USER),
    "get": ('deny contains "x" if { some c in input.containers; object.get(c, "digest", "") == "" }', IMAGE),
    "get-request": ('deny contains "x" if { some c in input.containers; object.get(c, "image", "") == "" }', REQUEST),
    "get-default": ('deny contains "x" if { object.get(input.workload, "a", input.containers[0].user).root }', USER),
    "get-path": ('deny contains "x" if object.get(input.containers[0], ["user", "root"], 1) == 1', USER),
    "get-dynamic": (
        'deny contains "x" if { some f in input.workload.labels; object.get(input.containers[0], f, 1) == 1 }',
        USER,
    ),
    "destructured": ('deny contains n if { {"name": n, "user": u} := input.workload.labels; u }', REQUEST),
    "destructured-container": ("deny contains n if { [n, _] := input.containers; n }", USER),
    "taken-apart": (
        'deny contains "x" if { pairs := [[c.name, c.user] | some c in input.containers]; [_, u] = pairs[_]; u.root }',
        USER,
    ),
    "taken-apart-and-compared": (
        'deny contains "x" if { [a, b] = input.workload.labels.pair; a = input.images[_].isIndex; b }',
        IMAGE,
    ),
    "compared-names": (
        'deny contains "x" if { x := input.containers[0]; y := input.containers[1]; x == y }',
        USER,
    ),
    "every": (
        'deny contains "x" if { not fine }\nfine if every c in input.containers { c.user.root == false }',
        USER,
    ),
    "every-request": ('deny contains "x" if { not fine }\nfine if every c in input.containers { c.pinned }', REQUEST),
    "every-scan": ('deny contains "x" if { every _, s in input.images["a"].scans { s.complete } }', ATTESTED),
    "comprehension": (
        'deny contains "x" if { bad := [c | some c in input.containers; not c.pinned]; count(bad) > 0 }',
        REQUEST,
    ),
    "set-comprehension-counted": ('deny contains "x" if count({c.user | some c in input.containers}) > 1', USER),
    "comprehension-then-field": (
        "deny contains bad[_].name if { bad := [c | some c in input.containers; not c.pinned] }",
        REQUEST,
    ),
    "object-comprehension": (
        "deny contains n if { users := {c.name: c.user | some c in input.containers}; some n, u in users; u.root }",
        USER,
    ),
    "join-on-set": (
        (
            'deny contains "x" if { some u; users[u]; data.portcullis.lib.shared.pinned[u] }\n'
            "users contains c.user.name if some c in input.containers"
        ),
        USER,
    ),
    # -- used whole
    "sprintf": ('deny contains sprintf("%v", [c]) if some c in input.containers', USER),
    "sprintf-name": ('deny contains sprintf("%v", [c.name]) if some c in input.containers', REQUEST),
    "template": ('deny contains $"{c.digest} is wrong" if some c in input.containers', IMAGE),
    "marshal": ('deny contains "x" if contains(json.marshal(input.images), "a")', IMAGE | USER | COMPONENTS | PACKAGES),
    "walk": ('deny contains "x" if { walk(input, [path, value]); value == "secret" }', ALL),
    "walk-request": ('deny contains "x" if { walk(input.request, [path, value]); value == "secret" }', REQUEST),
    "whole-input": ('deny contains "x" if input == {}', ALL),
    "dynamic-section": ('deny contains "x" if input[x] == 1', ALL),
    "dynamic-section-part": (
        'deny contains "x" if { some s in input.workload.labels; count(input[s]) > 2 }',
        REQUEST | NAMESPACE,
    ),
    "keys": ('deny contains "x" if "user" in object.keys(input.containers[0])', USER),
    "keys-of-images": ('deny contains "x" if "nginx" in object.keys(input.images)', REQUEST),
    "member": ('deny contains "x" if "a" in input.containers[0]', USER),
    "verdict-holds-it": ('deny contains {"msg": "x", "details": c} if some c in input.containers', USER),
    "verdict-is-it": ("deny contains input.containers[0].user", USER),
    "warn-too": ('deny contains "x" if false\nwarn contains "x" if input.images[_].isIndex', IMAGE),
    "audit-only": ('audit contains "x" if input.images[_].scans[_].complete', ATTESTED),
    # -- rules and functions between
    "value-rule": ('deny contains "x" if { not ok }\nok := input.images["a"].isIndex', IMAGE),
    "default-rule": ('deny contains "x" if not ok\ndefault ok := false\nok if input.containers[0].pinned', REQUEST),
    "rule-for-a-place": ('deny contains "x" if { all[_].pinned }\nall := input.containers', REQUEST),
    "rule-for-a-place-user": ('deny contains "x" if { all[_].user.root }\nall := input.containers', USER),
    "rule-not-used": ('deny contains "x" if false\nunused if input.containers[_].user', REQUEST),
    "partial-set": (
        "deny contains c.name if some c in bad\nbad contains c if { some c in input.containers; not c.pinned }",
        REQUEST,
    ),
    "partial-set-user": (
        'deny contains "x" if { some c in bad; c.user.root }\nbad contains c if { some c in input.containers }',
        USER,
    ),
    "partial-object": (
        'deny contains "x" if of["a"].root\nof[c.name] := c.user if some c in input.containers',
        USER,
    ),
    "nested-set": (
        (
            'deny contains "x" if { some j in bad["a"]; j > 1 }\n'
            "bad[written] contains j if { some written, j; input.images[written].platforms[j].ageHours > 3 }"
        ),
        CONFIG,
    ),
    "function-result": ('deny contains "x" if { of(input.containers[0]).root }\nof(c) := c.user', USER),
    "function-statement": ('deny contains "x" if { of(input.containers[0]) }\nof(c) := c.user.root', USER),
    "function-other-part": ('deny contains "x" if { of(input.containers[0]).a }\nof(c) := c.spec', REQUEST),
    "function-pattern": ('deny contains "x" if f(input.containers[0].user.name)\nf("root") := true', USER),
    "function-in-function": (
        'deny contains "x" if f(input.containers[0])\nf(c) := g(c)\ng(c) := h(c.user)\nh(u) := u.root == true',
        USER,
    ),
    "else": ('deny contains "x" if f(1)\nf(x) := 1 if { x > 1 } else := 2 if input.images["a"].digest == null', IMAGE),
    "negated": ('deny contains "x" if { not input.images["a"].scans }', ATTESTED),
    "lib-function": (
        'import data.portcullis.lib.shared\ndeny contains "x" if { some c in input.containers; not shared.nonroot(c) }',
        USER,
    ),
    "lib-identity": (
        'import data.portcullis.lib.shared\ndeny contains "x" if { some c in input.containers; shared.same(c).pinned }',
        REQUEST,
    ),
    "lib-identity-user": (
        'import data.portcullis.lib.shared.same\ndeny contains "x" if same(input.containers[_]).user.root',
        USER,
    ),
    "lib-found": ('deny contains "x" if data.portcullis.lib.shared.named("a").pinned', REQUEST),
    "lib-found-user": ('deny contains "x" if data.portcullis.lib.shared.named("a").user.root', USER),
    "lib-images": ('deny contains "x" if data.portcullis.lib.shared.images["a"].scans[0].complete', ATTESTED),
    "lib-users": ('deny contains "x" if data.portcullis.lib.shared.users["a"].root', USER),
    "lib-pinned": ('deny contains "x" if not "a" in data.portcullis.lib.shared.pinned', REQUEST),
    "lib-by-kind": ('deny contains c.name if some c in data.portcullis.lib.shared.by_kind["init"]', REQUEST),
    "lib-by-kind-user": (
        'deny contains "x" if { some c in data.portcullis.lib.shared.by_kind[_]; c.user.root }',
        USER,
    ),
    "lib-pair": ('deny contains "x" if data.portcullis.lib.shared.pair(input.containers[0])[1].root', USER),
    "lib-inner": ('deny contains "x" if data.portcullis.lib.shared.inner.deep["a"].isIndex', IMAGE),
    "lib-whole": ('deny contains "x" if json.marshal(data.portcullis.lib.shared) == "a"', ALL - {Need.NAMESPACE}),
    "lib-dynamic": ('deny contains "x" if data.portcullis.lib.shared[_] == 1', ALL - {Need.NAMESPACE}),
    # -- with
    "with-input": (
        'deny contains "x" if { some c in input.containers; bad with input as {"c": c} }\nbad if input.c.user.root',
        ALL,
    ),
    "with-part": (
        'deny contains "x" if { bad with input.workload as input.images }\nbad if input.workload["a"].isIndex',
        IMAGE | USER | COMPONENTS | PACKAGES,
    ),
    "with-constant": ('deny contains "x" if { bad with input as {} }\nbad if input.containers[_].pinned', REQUEST),
    "with-builtin": (
        (
            'deny contains "x" if { bad with count as look }\nbad if count(input.containers) == 1\n'
            "look(x) := 1 if x[0].user.root"
        ),
        ALL,
    ),
    "with-builtin-constant": ('deny contains "x" if { bad with time.now_ns as 3 }\nbad if time.now_ns() == 3', REQUEST),
    "with-function": (
        (
            'deny contains "x" if { bad with data.portcullis.lib.shared.same as look }\n'
            "bad if data.portcullis.lib.shared.same(input.containers[0]) == true\nlook(c) := c.user.root"
        ),
        ALL,
    ),
    "with-parameters": (
        (
            'deny contains "x" if { bad with data.portcullis.parameters.a as input.images["a"].digest }\n'
            "bad if data.portcullis.parameters.a == null"
        ),
        IMAGE,
    ),
    # -- METADATA widens
    "widened": ('deny contains "x" if false', REQUEST | {Need.CONFIG, Need.IMAGE}),
}


def source(name: str) -> PolicySource:
    made = opa.policy(name, CASES[name][0])
    if name == "widened":
        return PolicySource(made.path, f"# METADATA\n# custom: {{needs: [config]}}\n{made.text}")
    return made


class Compiled:
    """All cases and the built-in policies in one set, compiled once, with an engine that serves them."""

    def __init__(self, engine: OpaEngine, bundle: CompiledBundle) -> None:
        self.engine = engine
        self.bundle = bundle
        self.policies = {policy.name: policy for policy in bundle.policies}


@pytest.fixture(scope="module")
async def compiled(opa_binary: Path, anyio_backend: str) -> Any:
    async with opa.running(opa_binary) as engine:
        on_request: dict[str, JSONObject] = {"sbom-packages": {}}
        builtin = load_bundle([builtin_policies()], parameters=on_request, enabled=None, limits=DEFAULT_LIMITS)
        sources = [*map(source, CASES), opa.library("shared", LIBRARY), *builtin.sources]
        yield Compiled(engine, await engine.compile(opa.bundle(*sources)))


@pytest.mark.parametrize("name", CASES)
async def test_needs(compiled: Compiled, name: str) -> None:
    assert sorted(compiled.policies[name].needs) == sorted(CASES[name][1])


# -- the other way round: facts outside the needs change no ruling ------------------------------


def without_user(document: dict[str, Any]) -> None:
    for container in document["containers"]:
        container["user"] = {"root": "changed", "name": "changed"}
    for image in document["images"].values():
        for platform in image["platforms"]:
            platform["user"] = {"root": "changed"}


def without_config(document: dict[str, Any]) -> None:
    without_user(document)
    for image in document["images"].values():
        image["platforms"] = [
            {key: platform[key] for key in ("platform", "digest", "contents")} for platform in image["platforms"]
        ]


def without_packages(document: dict[str, Any]) -> None:
    for image in document["images"].values():
        for platform in image["platforms"]:
            platform["contents"]["packages"] = [{"name": "changed"}]


def without_contents(document: dict[str, Any]) -> None:
    for image in document["images"].values():
        for platform in image["platforms"]:
            platform["contents"] = {"status": "changed", "shells": ["changed"]}


def without_attestations(document: dict[str, Any]) -> None:
    for image in document["images"].values():
        image.update({key: ["changed"] for key in EVIDENCE})


def without_components(document: dict[str, Any]) -> None:
    for image in document["images"].values():
        for sbom in image["sboms"]:
            sbom["components"] = [{"name": "changed"}]


def without_image(document: dict[str, Any]) -> None:
    for remove in (without_config, without_contents, without_attestations):
        remove(document)
    for container in document["containers"]:
        container["digest"] = "changed"
    for image in document["images"].values():
        image.update(digest="changed", isIndex="changed", platforms=[], problems=["changed"])


def without_labels(document: dict[str, Any]) -> None:
    document["namespace"] = {"name": document["namespace"]["name"], "labels": {"team": "changed"}}


REMOVED: dict[Need, Callable[[dict[str, Any]], None]] = {
    Need.IMAGE: without_image,
    Need.CONFIG: without_config,
    Need.USER: without_user,
    Need.CONTENTS: without_contents,
    Need.PACKAGES: without_packages,
    Need.ATTESTATIONS: without_attestations,
    Need.COMPONENTS: without_components,
    Need.NAMESPACE: without_labels,
}


async def hits(compiled: Compiled, policies: list[PolicyInfo], document: dict[str, Any]) -> set[str]:
    ruling = await compiled.engine.evaluate(
        compiled.bundle,
        [policy.name for policy in policies],
        json.dumps(document).encode(),
        SystemClock().monotonic() + 30,
    )
    # A verdict of a wrong shape is a failure with a message, and as good for comparing.
    return {str(item) for item in (*ruling.hits, *ruling.failed)}


@pytest.mark.parametrize("need", REMOVED)
@pytest.mark.parametrize("sample", ["clean", "root-on-one-platform", "privileged"])
async def test_facts_outside_the_needs_change_nothing(compiled: Compiled, need: Need, sample: str) -> None:
    policies = [policy for policy in compiled.bundle.policies if need not in policy.needs]
    document = json.loads(samples.SAMPLES[sample].document())
    before = await hits(compiled, policies, document)
    REMOVED[need](document)
    assert await hits(compiled, policies, document) == before
    assert len(policies) > 10
    assert before
