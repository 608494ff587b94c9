"""What an operator may not write: each slip is refused, with words that name it."""

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from chart.support import template

PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").decode()
INJECTED = {"cert-manager.io/inject-ca-from": "portcullis-system/gate"}
ROLLOUTS = {"apiGroups": ["argoproj.io"], "apiVersions": ["v1alpha1"], "resources": ["rollouts"]}
PLACES = {"group": "argoproj.io", "kind": "Rollout", "path": "spec.template.spec"}


SLIPS: list[tuple[str, Any, str]] = [
    ("profil", "enforce", "at '': additional properties 'profil'"),
    ("profile", "Enforce", "at '/profile'"),
    ("profile", "warn", "at '/profile'"),
    ("config.servr", {"x": 1}, "at '/config': additional properties 'servr'"),
    ("config.server.drainSecond", 1, "additional properties 'drainSecond'"),
    ("config.server.drainSeconds", "20", "at '/config/server/drainSeconds': got string"),
    ("config.registries.hosts", {"r.example": {"insecur": True}}, "additional properties 'insecur'"),
    ("config.trust.rules", [{"images": ["**"], "acept": []}], "additional properties 'acept'"),
    ("config.trust.signers", {"ci": {"key": {"pme": "x"}}}, "additional properties 'pme'"),
    ("config.policies.modes", {"image-user": "block"}, "at '/config/policies/modes/image-user'"),
    ("config.policies.namespaces", {"shop": {"*": "off"}}, "at '/config/policies/namespaces/shop/*'"),
    ("config.limits.reviewByte", 1, "additional properties 'reviewByte'"),
    ("config.opa.path", "x", "additional properties 'path'"),
    ("config.audit.databse", "x", "additional properties 'databse'"),
    ("config.cluster.podSpecPath", [], "additional properties 'podSpecPath'"),
    ("config.platforms", "linux/amd64", "at '/config/platforms'"),
    # What the chart sets is not offered.
    ("config.server.port", 9443, "additional properties 'port'"),
    ("config.server.address", "::", "additional properties 'address'"),
    ("config.server.healthPort", 1, "additional properties 'healthPort'"),
    ("config.server.healthAddress", "::", "additional properties 'healthAddress'"),
    ("config.server.tls", {}, "additional properties 'tls'"),
    ("config.server.pathSegment", "0123456789abcdef", "additional properties 'pathSegment'"),
    ("config.cluster.webhook", {"name": "x"}, "additional properties 'webhook'"),
    ("config.policies.configMaps", {}, "additional properties 'configMaps'"),
    ("config.cluster.inventory", [{"resource": "Ingress"}], "at '/config/cluster/inventory/0/resource'"),
    ("policies.configMaps.namespaces", ["*"], "at '/policies/configMaps/namespaces/0'"),
    ("policies.configMap", {}, "additional properties 'configMap'"),
    ("webhook.failurePolicy", "fail", "at '/webhook/failurePolicy'"),
    ("webhook.timeoutSeconds", 0, "at '/webhook/timeoutSeconds'"),
    ("webhook.timeoutSeconds", 31, "at '/webhook/timeoutSeconds'"),
    ("webhook.timeout", 10, "additional properties 'timeout'"),
    ("webhook.standDown", "true", "at '/webhook/standDown'"),
    ("webhook.exemptNamespaces", ["*"], "at '/webhook/exemptNamespaces/0'"),
    ("webhook.namespaceSelector", {}, "additional properties 'namespaceSelector'"),
    ("webhook.extraRules", [{**ROLLOUTS, "resources": ["*"]}], "at '/webhook/extraRules/0/resources/0'"),
    ("webhook.extraRules", [{**ROLLOUTS, "resources": ["rollouts/*"]}], "at '/webhook/extraRules/0/resources/0'"),
    ("webhook.extraRules", [{**ROLLOUTS, "apiGroups": ["*"]}], "at '/webhook/extraRules/0/apiGroups/0'"),
    ("webhook.extraRules", [{**ROLLOUTS, "scope": "*"}], "additional properties 'scope'"),
    ("webhook.extraRules", [{"resources": ["rollouts"]}], "missing properties 'apiGroups', 'apiVersions'"),
    ("webhook.annotations", {"a": 1}, "at '/webhook/annotations/a'"),
    ("mutation.enabled", "true", "at '/mutation/enabled'"),
    ("mutation.failurePolicy", "Fail", "additional properties 'failurePolicy'"),
    ("tls.secret", "x", "additional properties 'secret'"),
    ("tls.caBundle", "-----BEGIN CERTIFICATE-----", "at '/tls/caBundle'"),
    ("image.repo", "x", "additional properties 'repo'"),
    ("image.digest", "abc", "at '/image/digest'"),
    ("image.pullPolicy", "always", "at '/image/pullPolicy'"),
    ("imagePullSecrets", ["pull"], "at '/imagePullSecrets/0'"),
    ("replicaCount", 1, "additional properties 'replicaCount'"),
    ("replicas", 0, "at '/replicas'"),
    ("ports.http", 1, "additional properties 'http'"),
    ("ports.webhook", 443, "at '/ports/webhook'"),
    ("persistence.storageClass", "x", "additional properties 'storageClass'"),
    ("persistence.size", "5GB", "at '/persistence/size'"),
    ("persistence.accessModes", ["RWO"], "at '/persistence/accessModes/0'"),
    ("resources.limit", {}, "additional properties 'limit'"),
    ("serviceAccount.annotation", {}, "additional properties 'annotation'"),
    ("service.type", "NodePort", "additional properties 'type'"),
    ("networkPolicy.egress", [], "additional properties 'egress'"),
    ("networkPolicy.extraEgress", [{"from": []}], "additional properties 'from'"),
    ("networkPolicy.extraEgress", [{"ports": [{"porrt": 1}]}], "additional properties 'porrt'"),
    ("networkPolicy.metricsFrom", [{"nsSelector": {}}], "additional properties 'nsSelector'"),
    ("networkPolicy.metricsFrom", [{}], "at '/networkPolicy/metricsFrom/0'"),
    ("podLabels", {"app.kubernetes.io/name": "x"}, "at '/podLabels/app.kubernetes.io~1name'"),
    ("podAnnotations", {"checksum/config": "x"}, "at '/podAnnotations/checksum~1config'"),
    ("tolerations", [{"keey": "x"}], "additional properties 'keey'"),
    ("extraEnv", [{"nam": "x"}], "additional properties 'nam'"),
    ("extraVolumes", [{"emptyDir": {}}], "missing property 'name'"),
    ("extraVolumeMounts", [{"name": "x", "path": "/x"}], "additional properties 'path'"),
    ("policyConfigMaps", ["A_B"], "at '/policyConfigMaps/0'"),
    ("policyConfigMaps", ["a", "a"], "at '/policyConfigMaps'"),
    ("podSecurityContext", {}, "additional properties 'podSecurityContext'"),
    ("fullnameOverride", "Gate", "at '/fullnameOverride'"),
    ("opa.mode", "embedded", "at '/opa/mode'"),
    ("opa.resource", {}, "additional properties 'resource'"),
    ("tls.certManager.issuerRef", {"kind": "Issuer"}, "at '/tls/certManager/issuerRef'"),
    ("tls.certManager.duration", "90d", "at '/tls/certManager/duration'"),
    ("podDisruptionBudget.maxUnavailable", 0, "at '/podDisruptionBudget/maxUnavailable'"),
    ("podDisruptionBudget.maxUnavailable", "100%", "at '/podDisruptionBudget/maxUnavailable'"),
    ("podDisruptionBudget.minAvailable", 1, "additional properties 'minAvailable'"),
    ("autoscaling.minReplicas", 0, "at '/autoscaling/minReplicas'"),
    ("topologySpreadConstraints", [{"maxSkew": 1}], "missing properties 'topologyKey', 'whenUnsatisfiable'"),
    ("flowSchema.matchingPrecedence", 0, "at '/flowSchema/matchingPrecedence'"),
    ("resourceQuota.hard", {}, "additional properties 'hard'"),
    ("database.passwordSecret.key", "a/b", "at '/database/passwordSecret/key'"),
    ("extraLabels", {"app.kubernetes.io/instance": "x"}, "at '/extraLabels/app.kubernetes.io~1instance'"),
]


def apart(slips: Sequence[tuple[str, Any, str]]) -> list[list[tuple[str, Any, str]]]:
    """The slips in as few files of values as may be: Helm names all that is wrong in one. Two are not in one where one
    is the other's place or lies in it, or where both are unknown keys of one map, which are told in one sentence."""
    files: list[list[tuple[str, Any, str]]] = []
    for slip in slips:
        fitting = (file for file in files if not any(_in_each_others_way(slip, other) for other in file))
        file = next(fitting, [])
        if not file:
            files.append(file)
        file.append(slip)
    return files


def _in_each_others_way(slip: tuple[str, Any, str], other: tuple[str, Any, str]) -> bool:
    one, two = f"{slip[0]}.", f"{other[0]}."
    unknown = "additional properties" in slip[2] and "additional properties" in other[2]
    same_map = slip[0].rpartition(".")[0] == other[0].rpartition(".")[0]
    return one.startswith(two) or two.startswith(one) or (unknown and same_map)


def merged(slips: Sequence[tuple[str, Any, str]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, value, _ in slips:
        *folders, name = path.split(".")
        node = values
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = value
    return values


@pytest.mark.parametrize("slips", apart(SLIPS), ids=lambda slips: f"{len(slips)} from {slips[0][0]}")
def test_the_schema_refuses(slips: list[tuple[str, Any, str]]) -> None:
    done = template(values=merged(slips))
    assert done.returncode == 1
    assert "values don't meet the specifications of the schema" in done.stderr
    assert [complaint for _, _, complaint in slips if complaint not in done.stderr] == []


def client(*keys: str) -> dict[str, Any]:
    """Of caller.clientCertificate."""
    return {"caller": {"clientCertificate": {key: ["a"] if key == "commonNames" else "a" for key in keys}}}


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"extraEnv": [{"name": "PORTCULLIS_CLUSTER", "value": "{}"}]},
        "extraEnv sets PORTCULLIS_CLUSTER, which is set by",
    ),
    ({"config": {"cluster": {"caller": {"pathSecret": "a"}}}}, "config.cluster.caller.pathSecret is set by the chart"),
    ({"config": {"server": {"address": "::"}}}, "config.server.address is set by the chart: it is always 0.0.0.0"),
    ({"config": {"server": {"port": 9443}}}, "config.server.port is set by the chart: set ports.webhook instead"),
    ({"config": {"server": {"healthAddress": "::"}}}, "config.server.healthAddress is set by the chart"),
    ({"config": {"server": {"healthPort": 1}}}, "config.server.healthPort is set by the chart: set ports.health"),
    ({"config": {"server": {"tls": {}}}}, "config.server.tls is set by the chart: set tls.existingSecret or"),
    ({"config": {"server": {"pathSegment": ""}}}, "config.server.pathSegment is set by the chart"),
    ({"config": {"cluster": {"events": False}}}, "config.cluster.events is set by the chart: set events.enabled"),
    ({"config": {"cluster": {"breakGlass": True}}}, "config.cluster.breakGlass is set by the chart: set breakGlass"),
    (
        {"config": {"cluster": {"mutation": {"webhook": "x"}}}},
        "config.cluster.mutation is set by the chart: set mutation.enabled",
    ),
    ({"config": {"cluster": {"webhook": None}}}, "config.cluster.webhook is set by the chart: set webhook.standDown"),
    ({"config": {"policies": {"configMaps": None}}}, "config.policies.configMaps is set by the chart: set policies"),
    ({"webhook": {"failurePolicy": "Fail"}}, "webhook.failurePolicy is Fail, but profile audit refuses nothing"),
    ({"ports": {"health": 8443}}, "ports.webhook and ports.health are both 8443"),
    (client("configMap", "secret", "commonNames"), "the authority lies either in a configMap or in a secret"),
    (client("secret"), "caller.clientCertificate.commonNames is empty: the authority may sign certificates of others"),
    (client("commonNames"), "caller.clientCertificate.commonNames is set, but neither configMap nor secret says"),
    ({"tls": {"existingSecret": "gate"}}, "tls.existingSecret needs tls.caBundle, or an annotation"),
    ({"tls": {"caBundle": PEM}}, "tls.caBundle is set, but without tls.existingSecret"),
    ({"tls": {"existingSecret": "gate", "caBundle": "Z2F0ZQ=="}}, "tls.caBundle is not a PEM certificate in base64"),
    ({"webhook": {"annotations": INJECTED}}, "webhook.annotations has cert-manager.io/inject-ca-from, but without"),
    ({"webhook": {"extraRules": [ROLLOUTS]}}, 'webhook.extraRules has the API group "argoproj.io", but config.cluster'),
    (
        {"config": {"cluster": {"podSpecPaths": [PLACES]}}},
        'config.cluster.podSpecPaths has the API group "argoproj.io", but no rule of webhook.extraRules',
    ),
    *(
        (
            {"extraEnv": [{"name": name, "value": "1"}]},
            f"extraEnv sets {name}, which is set by the chart: set {instead}",
        )
        for name, instead in (
            ("PORTCULLIS_SERVER__PORT", "ports.webhook instead"),
            ("PORTCULLIS_SERVER__Health_Port", "ports.health instead"),
            ("PORTCULLIS_SERVER__TLS__CERTFILE", "tls.existingSecret or tls.certManager instead"),
            ("PORTCULLIS_SERVER__DRAINSECONDS", "config.server.drainSeconds instead"),
            ("PORTCULLIS_SERVER__STOPDELAYSECONDS", "config.server.stopDelaySeconds instead"),
            ("PORTCULLIS_CLUSTER__WEBHOOK__STANDDOWN", "webhook.standDown instead"),
            ("PORTCULLIS_CLUSTER", ""),
            ("PORTCULLIS_AUDIT__DATABASE", "config.audit.database instead"),
            ("PORTCULLIS_POLICIES__MODES", "config.policies.modes instead"),
            ("PORTCULLIS_POLICIES__NAMESPACES", "config.policies.namespaces instead"),
            ("PORTCULLIS_POLICIES__FOLDERS", "config.policies.folders instead"),
        )
    ),
]


@pytest.mark.parametrize(("values", "sentence"), CONTRADICTIONS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_contradiction_is_an_error(values: dict[str, Any], sentence: str) -> None:
    """Behind the schema, which would refuse some of them first."""
    done = template("--skip-schema-validation", values=values)
    assert done.returncode == 1
    assert sentence in done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"global": {"anything": 1}},
        {"affinity": {"podAffinity": {}}},
        {"tls": {"existingSecret": "gate", "caBundle": PEM[:20] + "\n" + PEM[20:]}},
        {"tls": {"existingSecret": "gate"}, "webhook": {"annotations": INJECTED}},
        {"webhook": {"extraRules": [ROLLOUTS]}, "config": {"cluster": {"podSpecPaths": [PLACES]}}},
        {
            "extraEnv": [
                {"name": "PORTCULLIS_LIMITS__INFLIGHT", "value": "9"},
                {"name": "PORTCULLIS_PORT", "value": "1"},
            ]
        },
        {"extraEnv": [{"name": "PORTCULLIS_AUDIT__JOURNAL", "value": "/journal/journal"}]},
        {"resources": {"limits": {"cpu": 1.5}}},
    ],
)
def test_what_is_right_is_taken(values: dict[str, Any]) -> None:
    done = template(values=values)
    assert done.returncode == 0, done.stderr
