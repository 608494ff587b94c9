"""What the configuration says of sources that change and of what is watched, and how it is wired."""

import asyncio
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from aiohttp import web

from fakes.cluster import MemoryConfigurations
from portcullis.cluster.certificatestate import Terms
from portcullis.cluster.registration import Registration
from portcullis.errors import CompileProblem, ConfigError, PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import CompiledBundle, Constraint, Mode
from portcullis.policy.opabundle import packed
from portcullis.server.clock import SystemClock
from portcullis.server.compose import compose
from portcullis.server.health import examine
from portcullis.server.lifecycle import background
from portcullis.server.live.policies import LivePolicies
from portcullis.server.live.remarks import Remarks
from portcullis.server.live.watching import watching
from portcullis.server.registrar import Registrar
from portcullis.server.segments import PathSegments
from portcullis.server.settings import Settings, load_settings
from portcullis.server.sharing import Sharing
from portcullis.server.telemetry import Metrics
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

HTTPS = {"name": "central", "url": "https://policies.example/b.tar.gz"}
HOOK = {"webhook": {"name": "portcullis"}}


def read(folder: Path, tree: Mapping[str, Any]) -> Settings:
    path = folder / "portcullis.yaml"
    path.write_text(yaml.safe_dump({"audit": {"database": "sqlite:///audit.db"}, **tree}))
    return load_settings(path, {})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"policies": {"bundles": [{**HTTPS, "url": "http://policies.example/b"}]}}, "needs a signature"),
    (
        {
            "policies": {
                "bundles": [{**HTTPS, "url": "http://x/b", "tokenFile": "t", "signature": {"keyFile": "k"}}],
            }
        },
        "tokenFile needs https",
    ),
    ({"policies": {"bundles": [{**HTTPS, "url": "ftp://x/b"}]}}, "url"),
    ({"policies": {"bundles": [{**HTTPS, "url": "https://user:word@x/b"}]}}, "url"),
    ({"policies": {"bundles": [HTTPS, HTTPS]}}, "two bundles named central"),
    ({"policies": {"bundles": [{**HTTPS, "signature": {"keyFile": "k", "algorithm": "none"}}]}}, "algorithm"),
    ({"policies": {"bundles": [{**HTTPS, "name": "../x"}]}}, "name"),
    ({"policies": {"configMaps": {"namespaces": ["*"]}}}, "namespaces"),
    ({"cluster": {"inventory": [{"resource": "services"}]}}, "inventory needs webhook"),
    ({"cluster": {"mutation": {"webhook": "portcullis"}}}, "mutation needs webhook"),
    ({"cluster": {"webhook": {"name": "a"}, "mutation": {"webhook": "A B"}}}, "webhook"),
    ({"cluster": {**HOOK, "inventory": [{"resource": "secrets"}]}}, "Secrets are never watched"),
    ({"cluster": {**HOOK, "inventory": [{"resource": "*"}]}}, "resource"),
]


@pytest.mark.parametrize(("tree", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_refused(tree: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, tree)


def test_the_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path, {"policies": {"bundles": [HTTPS], "configMaps": {}}})
    assert settings.policies.config_maps is not None
    assert settings.policies.config_maps.namespaces == ()
    assert (settings.policies.bundles[0].poll_seconds, settings.policies.reload_seconds) == (60.0, 5.0)
    assert settings.cluster.watch.namespaces


async def test_config_maps_need_a_cluster_and_nothing_else_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("policies.configMaps needs cluster.webhook")):
        async with watching(read(tmp_path, {"policies": {"configMaps": {}}}), DEFAULT_LIMITS):
            pass
    async with watching(read(tmp_path, {}), DEFAULT_LIMITS) as nothing:
        assert (nothing.namespaces, nothing.maps, nothing.inventory, nothing.check()) == (None, None, None, None)
        nothing.observe(Metrics())


@pytest.mark.opa
@pytest.mark.usefixtures("opa_binary")
async def test_a_bundle_is_in_force_and_its_next_version_as_well(tmp_path: Path) -> None:
    policy = b'package portcullis.policies.central\n\nimport rego.v1\n\ndeny contains {"msg": "x", "fix": "y"}\n'
    answers = [packed({"a.rego": policy})]

    async def get(_: web.Request) -> web.Response:
        return web.Response(body=answers[-1])

    app = web.Application()
    app.router.add_get("/b.tar.gz", get)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        (tmp_path / "key").write_text("unused")
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/b.tar.gz"
        signed = {**HTTPS, "url": url, "pollSeconds": 1, "signature": {"keyFile": "key", "algorithm": "HS256"}}
        settings = read(tmp_path, {"policies": {"builtin": False, "bundles": [signed]}})
        with pytest.raises(PolicyCompileError, match="central: the bundle is not signed"):
            async with compose(settings, with_audit=False):
                pass
        # A test's own server has no certificate: what follows is believed as it comes.
        (unsigned,) = (one.model_copy(update={"signature": None}) for one in settings.policies.bundles)
        policies = settings.policies.model_copy(update={"bundles": (unsigned,)})
        async with compose(settings._changed(policies=policies), with_audit=True) as parts:
            assert [policy.name for policy in parts.compiled.policies] == ["central"]
            before = parts.compiled.revision
            answers.append(packed({"a.rego": policy, "b.rego": policy.replace(b"central", b"second")}))
            async with asyncio.timeout(20):
                while parts.compiled.revision == before:
                    await asyncio.sleep(0.05)
            assert [policy.name for policy in parts.compiled.policies] == ["central", "second"]
            metrics = Metrics()
            parts.live.observe(metrics)
            page = metrics.page().decode()
            assert "portcullis_policy_reloads_total 1.0" in page
            assert 'portcullis_policy_bundle_failures_total{bundle="central"} 0.0' in page
    finally:
        await runner.cleanup()


async def test_what_nobody_asks_the_gate_about_is_said() -> None:
    rule = {"apiGroups": ("",), "resources": ("pods",)}
    configurations = MemoryConfigurations(found=Registration("uid", {"gate.portcullis.dev": b""}, {}, (rule,)))
    registrar = Registrar(
        configurations=configurations,
        sharing=Sharing(terms=Terms(), segments=PathSegments(), clock=SystemClock()),
        store=None,
        release=None,
        stand_down=False,
        settle_seconds=0,
        clock=SystemClock(),
    )
    kinds = {"kinds": [{"apiGroups": ["networking.k8s.io"], "kinds": ["Ingress"]}]}
    constraint = Constraint(
        name="k8sx.y", unit="K8sX", kind="K8sX", path="own/c.yaml", row=3, match=kinds, mode=Mode.DENY
    )
    template = CompileProblem("own/t.yaml", 1, 0, "CEL is not supported")
    standing = Standing(CompiledBundle("sha256:1", (), (template,)))
    reloader = SimpleNamespace(constraints=(constraint,))
    live = SimpleNamespace(current=Current(standing), reloader=reloader)
    remarks = Remarks(cast(LivePolicies, live), registrar)
    assert await remarks.check().probe() == "own/t.yaml:1: CEL is not supported"  # the rules are not known yet
    async with asyncio.timeout(5), background(registrar.watch(functools.partial(examine, []))):
        while registrar.rules is None:
            await asyncio.sleep(0.01)
    said = await remarks.check().probe()
    assert "own/c.yaml:3: the webhook configuration does not send Ingress of networking.k8s.io" in said
    metrics = Metrics()
    remarks.observe(metrics)
    assert "portcullis_policy_remarks 2.0" in metrics.page().decode()
