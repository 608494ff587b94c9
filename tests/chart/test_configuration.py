"""portcullis.yaml as the chart writes it, read by the program itself."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chart.generate_schema import OWNED
from chart.support import CHART, CI_FILES, NAMESPACE, configuration_of, container_of, objects, pod_of, values_of
from portcullis.decision.modes import Modes
from portcullis.model.place import Place
from portcullis.model.ruling import Mode, PolicyInfo
from portcullis.server.auditfiles import journal_path
from portcullis.server.settings import Settings, load_settings

POD = "portcullis-6d4cf56db6-x2x9p"
SERVICE = f"portcullis.{NAMESPACE}.svc"
HOSTILE = {
    "modes": {"*": "deny", "image-user": "deny"},
    "namespaces": {"shop": {"*": "deny", "image-user": "deny"}},
    "overrides": [
        {"namespaces": ["*"], "modes": {"*": "deny"}},
        {"namespaces": ["shop"], "modes": {"image-user": "deny"}, "parameters": {"image-user": {"allowed": [1]}}},
    ],
}
"""Everything by which an operator makes policies refuse."""


def ci(name: str) -> dict[str, Any]:
    return values_of(CHART / "ci" / f"{name}-values.yaml")


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Reads the very bytes of the ConfigMap, and the variables of the container as the kubelet hands them in."""

    def settings(values: Mapping[str, Any]) -> Settings:
        file = tmp_path / "portcullis.yaml"
        file.write_text(objects(values)["ConfigMap"]["data"]["portcullis.yaml"], encoding="utf-8")
        values_given = {entry["name"]: entry["value"] for entry in container_of(values)["env"] if "value" in entry}
        variables = {name: value.replace("$(POD_NAME)", POD) for name, value in values_given.items()}
        return load_settings(file, variables)

    return settings


def strongest(settings: Settings, namespace: str) -> Mode:
    """What a policy can do that refuses by default."""
    policy = PolicyInfo(
        name="image-user",
        title="",
        description="",
        severity="high",
        mode=Mode.DENY,
        docs="",
        needs=frozenset(),
        rules=(Mode.DENY,),
    )
    policies = settings.policies
    overrides = tuple(section.override() for section in policies.overrides)
    modes = Modes(modes=policies.modes, namespaces=policies.namespaces, overrides=overrides)
    return modes.strongest(policy, Place(namespace))


@pytest.mark.parametrize("file", CI_FILES, ids=lambda file: file.stem)
def test_the_program_reads_it(file: Path, read: Any) -> None:
    values = values_of(file)
    settings = read(values)
    server = settings.server
    assert (server.address, server.port) == ("0.0.0.0", 8443)
    assert (server.health_address, server.health_port) == ("0.0.0.0", 8081)
    assert settings.cluster.webhook.name == "portcullis"
    assert settings.cluster.webhook.pod == f"{NAMESPACE}/{POD}"
    assert settings.cluster.webhook.stand_down == values.get("webhook", {}).get("standDown", True)
    assert journal_path(settings.audit).parent == Path("/var/lib/portcullis")


@pytest.mark.parametrize("enabled", [True, False])
def test_events_are_on_unless_they_are_not_wanted(read: Any, enabled: bool) -> None:
    assert read({"events": {"enabled": enabled}}).cluster.events is enabled


def test_the_defaults(read: Any) -> None:
    settings = read({})
    managed = settings.server.tls.self_managed
    assert (managed.directory, managed.secret) == (None, "portcullis-shared")
    assert settings.cluster.caller.path_secret == "portcullis-shared"
    assert settings.cluster.webhook.deployment == ""
    assert managed.names == (SERVICE, f"{SERVICE}.cluster.local")
    assert settings.audit.database == "sqlite:////var/lib/portcullis/audit.db"
    assert settings.policies.modes == {"*": Mode.AUDIT}
    assert (settings.policies.namespaces, settings.policies.folders) == ({}, ())


def test_what_the_operator_sets_arrives_whole() -> None:
    values = ci("enforce")
    found = configuration_of(values)
    found["policies"].pop("configMaps")  # the chart's own
    for section in ("registries", "trust", "policies", "platforms", "limits"):
        assert found[section] == values["config"][section], section
    assert found["cluster"]["podSpecPaths"] == values["config"]["cluster"]["podSpecPaths"]
    assert found["server"].items() >= values["config"]["server"].items()


def test_large_numbers_and_null_arrive(read: Any) -> None:
    limits = {"reviewBytes": 16_777_216, "factCacheBytes": 1_073_741_824, "tagSeconds": 0.25}
    parameters = {"scan-severity": {"max": {"critical": None, "high": 3}}}
    values = {"profile": "enforce", "config": {"limits": limits, "policies": {"parameters": parameters}}}
    settings = read(values)
    assert settings.limits.review_bytes == 16_777_216
    assert settings.limits.fact_cache_bytes == 1_073_741_824
    assert settings.limits.tag_seconds == 0.25
    assert settings.policies.parameters == parameters


@pytest.mark.parametrize("namespace", ["shop", "elsewhere"])
def test_profile_audit_never_refuses(namespace: str, read: Any) -> None:
    audit = read({"profile": "audit", "config": {"policies": {**HOSTILE, "enabled": ["image-user"]}}})
    assert audit.policies.modes == {"*": Mode.AUDIT}
    assert audit.policies.namespaces == {}
    assert audit.policies.enabled == ("image-user",)
    assert strongest(audit, namespace) is Mode.AUDIT
    assert strongest(read({"profile": "enforce", "config": {"policies": HOSTILE}}), namespace) is Mode.DENY


def test_profile_enforce_leaves_the_modes_to_the_policies() -> None:
    assert configuration_of({"profile": "enforce"})["policies"] == {"configMaps": {"namespaces": []}}
    off = {"profile": "enforce", "policies": {"configMaps": {"enabled": False}}}
    assert "policies" not in configuration_of(off)


def test_a_given_certificate(read: Any) -> None:
    tls = read(ci("given-secret")).server.tls
    assert (tls.cert_file, tls.key_file) == (Path("/etc/portcullis/tls/tls.crt"), Path("/etc/portcullis/tls/tls.key"))
    assert tls.self_managed is None
    volumes = {volume["name"]: volume for volume in pod_of(ci("given-secret"))["volumes"]}
    # 0440: for the group of the pod.
    assert volumes["tls"]["secret"] == {"secretName": "gate-tls", "defaultMode": 0o440}
    mounts = {mount["mountPath"]: mount for mount in container_of(ci("given-secret"))["volumeMounts"]}
    assert mounts["/etc/portcullis/tls"] == {"name": "tls", "mountPath": "/etc/portcullis/tls", "readOnly": True}


def test_a_client_certificate_of_the_api_server(read: Any) -> None:
    caller = read(ci("client-certificate")).cluster.caller
    assert caller.client_certificate.common_names == ("kube-apiserver",)
    assert caller.client_certificate.ca_file == Path("/etc/portcullis/client-ca/ca.crt")
    assert read({}).cluster.caller.client_certificate is None

    def mounted(values: dict[str, Any]) -> dict[str, Any]:
        mounts = {mount["mountPath"]: mount["name"] for mount in container_of(values)["volumeMounts"]}
        volumes = {volume.pop("name"): volume for volume in copy.deepcopy(pod_of(values)["volumes"])}
        found = volumes[mounts["/etc/portcullis/client-ca"]]
        assert isinstance(found, dict)
        return found

    assert mounted(ci("client-certificate")) == {
        "configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    }
    secret = {"caller": {"clientCertificate": {"secret": "ours", "key": "x.pem", "commonNames": ["a", "b"]}}}
    assert mounted(secret) == {
        "secret": {"secretName": "ours", "items": [{"key": "x.pem", "path": "ca.crt"}], "defaultMode": 0o440}
    }


def test_policies_of_ones_own(read: Any) -> None:
    values = ci("custom-policies")
    folders = ["/opt/acme/policies", "/etc/portcullis/policies/team-policies", "/etc/portcullis/policies/labels"]
    assert [str(folder) for folder in read(values).policies.folders] == folders
    volumes = {volume["name"]: volume for volume in pod_of(values)["volumes"]}
    mounted = {
        mount["mountPath"]: volumes[mount["name"]]["configMap"]["name"]
        for mount in container_of(values)["volumeMounts"]
        if mount["name"].startswith("policies-")
    }
    assert mounted == {folders[1]: "team-policies", folders[2]: "labels"}


def test_the_schema_takes_out_what_the_chart_sets() -> None:
    """Each key of OWNED is there in what is rendered, or is one that the chart does not support yet."""
    values = {"pages": {"service": {"enabled": True}}, "config": {"audit": {"pages": {"tokens": {}}}}}
    found = configuration_of({**values, **ci("client-certificate"), "mutation": {"enabled": True}})
    found["pagessection"] = found["audit"]["pages"]
    found["callersection"] = found["cluster"]["caller"]
    for section, keys in OWNED.items():
        rendered = found[section.lower()].keys()
        assert set(keys) - rendered <= {"pathSegment"}, section


def test_a_changed_configuration_is_a_new_pod() -> None:
    def annotations(values: dict[str, Any]) -> dict[str, str]:
        return dict(objects(values)["Deployment"]["spec"]["template"]["metadata"]["annotations"])

    changed = {"config": {"platforms": ["linux/arm64"]}}
    assert annotations({}) != annotations(changed)
    assert annotations({}) == annotations({"webhook": {"timeoutSeconds": 20}})
    assert annotations({}).keys() == {"checksum/config"}
