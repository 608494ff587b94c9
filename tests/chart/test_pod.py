"""The pod: what it may do, what it is called, how long it has."""

from pathlib import Path
from typing import Any

import pytest

from chart.support import CHART, CI_FILES, Object, configuration_of, container_of, objects, pod_of, values_of
from portcullis.server.sections import Server

ci_file = pytest.mark.parametrize("file", CI_FILES, ids=lambda file: file.stem)

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def offences(pod: Object) -> list[str]:
    """Against each control of the standard `restricted`, those of `baseline` among them.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if pod.get(key)]
    of_pod = pod.get("securityContext", {})
    found += [f"volume {volume['name']}" for volume in pod["volumes"] if not (volume.keys() & VOLUMES)]
    found += [key for key in ("sysctls", "supplementalGroups") if of_pod.get(key)]
    found += _of_context(of_pod)
    for container in containers(pod):
        own = container.get("securityContext", {})
        found += _of_context(own) + _of_container(container, {**of_pod, **own})
    return found


def _of_context(context: Object) -> list[str]:
    """What a pod and a container may both say."""
    found = [key for key in ("windowsOptions", "seLinuxOptions", "privileged", "procMount") if context.get(key)]
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
        found.append("appArmorProfile")
    return found


def _of_container(container: Object, effective: Object) -> list[str]:
    found = ["hostPort" for port in container.get("ports", ()) if "hostPort" in port]
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    handlers = [*(container.get(probe, {}) for probe in probes), *container.get("lifecycle", {}).values()]
    asked = [handler.get(kind, {}) for handler in handlers for kind in ("httpGet", "tcpSocket")]
    found += ["host of a probe" for asks in asked if "host" in asks]
    if effective.get("allowPrivilegeEscalation") is not False:
        found.append("allowPrivilegeEscalation")
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
        found.append("runAsNonRoot")
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("seccompProfile")
    capabilities = effective.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        found.append("capabilities")
    return found


@ci_file
def test_meets_pod_security_restricted(file: Path) -> None:
    pod = pod_of(values_of(file))
    assert offences(pod) == []
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize(
    ("change", "offence"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"securityContext": {}}, "runAsNonRoot"),
        ({"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
        ({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "volume x"),
        ({"containers": [{"securityContext": {}}]}, "allowPrivilegeEscalation"),
        ({"containers": [{"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}}]}, "capabilities"),
        ({"containers": [{"securityContext": {"privileged": True}}]}, "privileged"),
        ({"containers": [{"ports": [{"hostPort": 1}]}]}, "hostPort"),
        ({"containers": [{"livenessProbe": {"httpGet": {"host": "x"}}}]}, "host of a probe"),
        ({"containers": [{"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}]}, "appArmorProfile"),
        ({"containers": [{"securityContext": {"seLinuxOptions": {"type": "x"}}}]}, "seLinuxOptions"),
        ({"initContainers": [{"securityContext": {"privileged": True}}]}, "privileged"),
    ],
)
def test_the_check_sees_an_offence(change: Object, offence: str) -> None:
    assert offence in offences({**pod_of(), **change})


@ci_file
def test_every_mount_has_its_volume(file: Path) -> None:
    pod = pod_of(values_of(file))
    volumes = [volume["name"] for volume in pod["volumes"]]
    mounts = [mount for container in containers(pod) for mount in container["volumeMounts"]]
    assert set(volumes) == {mount["name"] for mount in mounts}
    assert len(set(volumes)) == len(volumes)
    written = {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}
    assert written - {"/run/opa"} == {"/var/lib/portcullis", "/tmp"}


def test_how_the_program_is_started() -> None:
    pod, container = pod_of(), container_of()
    assert "command" not in container
    assert container["args"] == ["serve", "--config", "/etc/portcullis/portcullis.yaml"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert mounts["/etc/portcullis"]["configMap"]["name"] == objects()["ConfigMap"]["metadata"]["name"]
    assert mounts["/tmp"]["emptyDir"]["sizeLimit"]
    assert pod["automountServiceAccountToken"] is True
    assert pod["enableServiceLinks"] is False
    assert objects()["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert objects()["Deployment"]["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"repository": "r.example/p"}, "r.example/p:0.1.0"),
        ({"repository": "r.example/p", "tag": "x"}, "r.example/p:x"),
        (
            {"repository": "r.example/p", "tag": "x", "digest": f"sha256:{'a' * 64}"},
            f"r.example/p:x@sha256:{'a' * 64}",
        ),
    ],
)
def test_the_image(image: dict[str, str], expected: str) -> None:
    assert container_of({"image": image})["image"] == expected


def test_the_probes_ask_the_health_port() -> None:
    container = container_of({"ports": {"health": 9081}})
    assert configuration_of({"ports": {"health": 9081}})["server"]["healthPort"] == 9081
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"webhook": 8443, "health": 9081, "pages": 8082}
    for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}


def test_the_start_has_the_time_that_the_limits_allow() -> None:
    from portcullis.limits import DEFAULT_LIMITS

    probe = container_of()["startupProbe"]
    allowed = DEFAULT_LIMITS.compile_seconds + DEFAULT_LIMITS.engine_start_seconds
    assert probe["periodSeconds"] * probe["failureThreshold"] > allowed


def test_the_cluster_knows_of_a_stop_before_the_port_is_closed() -> None:
    """Also where the pod stays, so that nothing but the probe tells it."""
    probe = container_of()["readinessProbe"]
    stop = Server.model_fields["stop_delay_seconds"].default
    assert probe["periodSeconds"] * probe["failureThreshold"] < stop


@pytest.mark.parametrize(
    ("server", "seconds"),
    [
        ({}, 40),
        ({"stopDelaySeconds": 0}, 35),
        ({"drainSeconds": 60}, 80),
        ({"stopDelaySeconds": 7.5, "drainSeconds": 40}, 63),
        ({"stopDelaySeconds": 3600, "drainSeconds": 3600}, 7215),
    ],
)
def test_the_stop_has_the_time_that_it_needs(server: dict[str, Any], seconds: int) -> None:
    found = pod_of({"config": {"server": server}})["terminationGracePeriodSeconds"]
    assert found == seconds
    assert found > server.get("stopDelaySeconds", 5) + server.get("drainSeconds", 20)


@pytest.mark.parametrize(
    ("persistence", "volume", "claims"),
    [
        ({}, {"persistentVolumeClaim": {"claimName": "portcullis"}}, True),
        ({"existingClaim": "mine"}, {"persistentVolumeClaim": {"claimName": "mine"}}, False),
        ({"enabled": False, "size": "2Gi"}, {"emptyDir": {"sizeLimit": "2Gi"}}, False),
        ({"enabled": False, "existingClaim": "mine"}, {"emptyDir": {"sizeLimit": "5Gi"}}, False),
    ],
)
def test_persistence(persistence: dict[str, Any], volume: Object, claims: bool) -> None:
    values = {"persistence": persistence}
    (data,) = (found for found in pod_of(values)["volumes"] if found["name"] == "data")
    assert data == {"name": "data", **volume}
    assert ("PersistentVolumeClaim" in objects(values)) is claims


def test_the_claim() -> None:
    claim = objects()["PersistentVolumeClaim"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    chosen = objects(values_of(CHART / "ci" / "enforce-values.yaml"))["PersistentVolumeClaim"]
    assert "annotations" not in chosen["metadata"]
    assert chosen["spec"]["storageClassName"] == "fast"


def test_the_network_policy() -> None:
    spec = objects()["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    webhook, health = spec["ingress"]
    assert webhook == {"ports": [{"protocol": "TCP", "port": "webhook"}]}
    assert health == {"ports": [{"protocol": "TCP", "port": "health"}]}
    allowed = {(port["protocol"], port["port"]) for rule in spec["egress"] for port in rule["ports"]}
    assert allowed == {("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 6443)}
    assert "NetworkPolicy" not in objects({"networkPolicy": {"enabled": False}})

    values = values_of(CHART / "ci" / "enforce-values.yaml")
    narrowed = objects(values)["NetworkPolicy"]["spec"]
    assert [rule.get("from") for rule in narrowed["ingress"]] == [None, values["networkPolicy"]["metricsFrom"]]
    assert narrowed["egress"][-1:] == values["networkPolicy"]["extraEgress"]


def test_what_is_passed_on_to_the_pod() -> None:
    values = values_of(CHART / "ci" / "enforce-values.yaml")
    pod, container = pod_of(values), container_of(values)
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets"):
        assert pod[key] == values[key], key
    assert container["env"][-len(values["extraEnv"]) :] == values["extraEnv"]
    assert container["volumeMounts"][-1:] == values["extraVolumeMounts"]
    assert pod["volumes"][-1:] == values["extraVolumes"]
    metadata = objects(values)["Deployment"]["spec"]["template"]["metadata"]
    assert metadata["annotations"].items() >= values["podAnnotations"].items()
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "1Gi"},
    }


LONG = "a" * 52


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("portcullis", {}, "portcullis"),
        ("prod-portcullis", {}, "prod-portcullis"),
        ("gate", {}, "gate-portcullis"),
        ("gate", {"nameOverride": "door"}, "gate-door"),
        ("gate", {"fullnameOverride": "door"}, "door"),
    ],
)
def test_names(release: str, values: dict[str, Any], name: str) -> None:
    found = objects(values, release)
    parts = {f"{name}-{part}" for part in ("shared", "recheck", "break-glass", "break-glass-reader")}
    kind = "breakglasses.portcullis.dev"
    assert {item["metadata"]["name"] for item in found.values()} == {name, kind, *parts}
    configuration = configuration_of(values, release)
    assert configuration["cluster"]["webhook"]["name"] == name
    assert configuration["server"]["tls"]["selfManaged"]["names"][0].startswith(f"{name}.")


def test_odd_names_are_services_all_the_same_and_differ() -> None:
    """Names of services are the narrowest: 63 characters, no dot, a letter first."""
    # With the chart's name behind them both are too long; a longer name differs only where it is cut.
    ends = [{}, {"nameOverride": f"{LONG}x"}, {"nameOverride": f"{LONG}y"}]
    releases = [f"{LONG}b", f"{LONG}c", "a.b", "a-b", "1a", "p-1a"]
    names = [objects(values, release)["Service"]["metadata"]["name"] for release in releases for values in ends]
    assert len(set(names)) == len(releases) * len(ends)
    for name in names:
        assert len(name) <= 63
        assert name[0].isalpha()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert not name.endswith("-")
