"""The Pod Security Standards: their policies, the profiles made of them, and pods full of junk."""

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from fakes.judging import FOLDER, POLICIES, judge, mutants
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import Mode, Need, PolicyInfo
from portcullis.policy.bundle import load_bundle
from portcullis.policy.profiles import load_profile

pytestmark = pytest.mark.opa

PSS = [name for name in POLICIES if name.startswith("pss-")]
STANDARD = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"
BASELINE = {
    *("pss-apparmor", "pss-capabilities", "pss-host-namespaces", "pss-host-path", "pss-host-ports", "pss-host-probes"),
    *("pss-host-process", "pss-privileged", "pss-proc-mount", "pss-seccomp", "pss-selinux", "pss-sysctls"),
}
RESTRICTED = {
    *("pss-drop-capabilities", "pss-non-root", "pss-non-root-user", "pss-privilege-escalation"),
    *("pss-seccomp-required", "pss-volume-types"),
}
STRICTNESS = (Mode.AUDIT, Mode.WARN, Mode.DENY)


@pytest.fixture(scope="module")
def policies(opa_binary: Path) -> dict[str, PolicyInfo]:
    """All of the library, as the engine has compiled them."""

    async def compiled() -> dict[str, PolicyInfo]:
        bundle = load_bundle([FOLDER], parameters={}, enabled=POLICIES, limits=DEFAULT_LIMITS)
        async with opa.running(opa_binary) as engine:
            return {policy.name: policy for policy in (await engine.compile(bundle)).policies}

    return asyncio.run(compiled())


def taken(profile: str = "") -> set[str]:
    """The policies that count with this profile, or without one."""
    modes = load_profile(FOLDER, profile).modes if profile else None
    bundle = load_bundle([FOLDER], parameters={}, enabled=None, limits=DEFAULT_LIMITS, profile=modes)
    return {source.path.split("/")[-2] for source in bundle.sources} - {"lib"}


def test_each_control_is_a_policy_on_request(policies: dict[str, PolicyInfo]) -> None:
    by_category = {
        category: {policy.name for policy in policies.values() if policy.category == category}
        for category in ("pod security baseline", "pod security restricted")
    }
    assert by_category == {"pod security baseline": BASELINE, "pod security restricted": RESTRICTED}
    assert set(PSS) == BASELINE | RESTRICTED
    assert not set(PSS) & taken()
    for name in PSS:
        policy = policies[name]
        assert (policy.mode, policy.needs, policy.docs) == (Mode.DENY, frozenset({Need.REQUEST}), STANDARD), name


def test_profile_baseline(policies: dict[str, PolicyInfo]) -> None:
    """The controls of level baseline, and what holds without a profile in the modes that hold without one."""
    expected = {name: policies[name].mode for name in taken() if name != "pod-privileges"}
    expected |= dict.fromkeys(BASELINE, Mode.DENY)
    profile = load_profile(FOLDER, "baseline")
    assert profile.modes == expected
    assert profile.parameters == {}
    assert profile.title
    assert "pod-privileges" in profile.description


def test_profile_restricted() -> None:
    """The profile baseline, in which each difference is a stricter mode that the description names."""
    baseline, profile = load_profile(FOLDER, "baseline"), load_profile(FOLDER, "restricted")
    assert {name: mode for name, mode in profile.modes.items() if name not in baseline.modes} == dict.fromkeys(
        RESTRICTED, Mode.DENY
    )
    assert profile.modes.keys() > baseline.modes.keys()
    assert profile.parameters == {}
    stricter = {name for name, mode in baseline.modes.items() if profile.modes[name] is not mode}
    assert stricter == {
        *("image-package-manager", "image-pinned", "image-setuid", "image-signed", "provenance", "sbom-required"),
    }
    for name in stricter:
        assert STRICTNESS.index(profile.modes[name]) > STRICTNESS.index(baseline.modes[name])
        assert name in profile.description


@pytest.mark.parametrize("name", ["baseline", "restricted"])
def test_a_profile_brings_its_policies(name: str) -> None:
    assert taken(name) == set(load_profile(FOLDER, name).modes)


# A pod that violates each control at one place, by the path to the field that may be absent.
CONTEXT = "containers/0/spec/securityContext"
POD = "workload/podSpec"
PLACES = {
    "pss-apparmor": f"{CONTEXT}/appArmorProfile",
    "pss-capabilities": f"{CONTEXT}/capabilities/add/0",
    "pss-drop-capabilities": f"{CONTEXT}/capabilities/drop",
    "pss-host-namespaces": f"{POD}/hostPID",
    "pss-host-path": f"{POD}/volumes/0/hostPath",
    "pss-host-ports": "containers/0/spec/ports/0/hostPort",
    "pss-host-probes": "containers/0/spec/livenessProbe/httpGet/host",
    "pss-host-process": f"{CONTEXT}/windowsOptions/hostProcess",
    "pss-non-root": f"{CONTEXT}/runAsNonRoot",
    "pss-non-root-user": f"{CONTEXT}/runAsUser",
    "pss-privilege-escalation": f"{CONTEXT}/allowPrivilegeEscalation",
    "pss-privileged": f"{CONTEXT}/privileged",
    "pss-proc-mount": f"{CONTEXT}/procMount",
    "pss-seccomp": f"{CONTEXT}/seccompProfile",
    "pss-seccomp-required": f"{CONTEXT}/seccompProfile",
    "pss-selinux": f"{CONTEXT}/seLinuxOptions/type",
    "pss-sysctls": f"{POD}/securityContext/sysctls/0",
    "pss-volume-types": f"{POD}/volumes/0/hostPath",
}
CONTAINER = {
    "name": "web",
    "image": "registry.example/acme/web:1.4",
    "ports": [{"hostPort": 80}],
    "livenessProbe": {"httpGet": {"host": "169.254.169.254"}},
    "securityContext": {
        "allowPrivilegeEscalation": True,
        "appArmorProfile": {"type": "Unconfined"},
        "capabilities": {"add": ["SYS_ADMIN"], "drop": []},
        "privileged": "true",
        "procMount": "Unmasked",
        "runAsNonRoot": False,
        "runAsUser": 0,
        "seLinuxOptions": {"type": "spc_t"},
        "seccompProfile": {"type": "Unconfined"},
        "windowsOptions": {"hostProcess": "true"},
    },
}
DOCUMENT: dict[str, Any] = {
    "workload": {
        "podMetadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/web": "localhost/web"}},
        "podSpec": {
            "containers": [{"name": "web"}],
            "hostPID": "true",
            "os": {"name": "linux"},
            "securityContext": {"sysctls": [{"name": "kernel.msgmax"}]},
            "volumes": [{"name": "run", "hostPath": {"path": "/run"}}],
        },
    },
    "containers": [
        {
            "name": "web",
            "kind": "container",
            "path": "spec.containers[0]",
            "image": "registry.example/acme/web:1.4",
            "spec": CONTAINER,
        }
    ],
    "images": {},
}
ASKED_FOR = {"pss-drop-capabilities", "pss-non-root", "pss-privilege-escalation", "pss-seccomp-required"}
"""What must be said: nothing said is no way out."""


def lifted(policy: str) -> Iterator[str]:
    """The changes that may lift the refusal: nothing said, at the place or above it."""
    if policy == "pss-non-root":
        yield f"{PLACES[policy]} := True"
    if policy in ASKED_FOR:
        return
    steps = PLACES[policy].split("/")
    root = 3 if steps[0] == "containers" else 2
    yield f"{'/'.join(steps[:root])} := {{}}"
    for length in range(root + 1, len(steps) + 1):
        path = "/".join(steps[:length])
        yield f"{path} := {...!r}"
        if steps[length - 1] != "0":
            yield f"{path} := {None!r}"
        if length < len(steps):
            yield f"{path} := {[] if steps[length] == '0' else {}!r}"


@pytest.fixture(scope="module")
def rulings(opa_binary: Path) -> dict[str, dict[str, Any]]:
    tried = dict(mutants(copy.deepcopy(DOCUMENT)))
    assert len(tried) > 400
    return judge(opa_binary, {"": DOCUMENT, **tried}, {}, PSS)


def test_junk_never_stops_a_policy(rulings: dict[str, dict[str, Any]]) -> None:
    assert [where for where, ruling in rulings.items() if set(ruling) != set(PSS)] == []


@pytest.mark.parametrize("policy", PSS)
def test_no_junk_turns_a_refusal_into_a_pass(rulings: dict[str, dict[str, Any]], policy: str) -> None:
    assert rulings[""][policy], "the pod violates every control"
    passed = {
        where
        for where, ruling in rulings.items()
        # Without containers there is nothing to judge; the schema says that they are a list of objects.
        if not ruling[policy] and not where.startswith(("containers :=", "containers/0 :="))
    }
    assert passed == set(lifted(policy))
