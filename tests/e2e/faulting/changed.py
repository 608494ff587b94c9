"""Values for the chart of which every one differs from its default, and which hold together.

Numbers, switches and choices are changed by what the chart's schema says; texts, lists and maps stand in CHOSEN.
What one file cannot hold beside the rest is in ELSEWHERE, with the reason.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from e2e.cluster.gate import CHART

JSON = dict[str, Any]
Path = tuple[str, ...]

EXTRA = "/etc/portcullis-extra"
"""Where the Secret of that name is mounted."""

CHOSEN: Mapping[str, Any] = {
    "profile": "enforce",
    "policyConfigMaps": ["teams"],
    "policies.configMaps.namespaces": ["databases"],
    "webhook.failurePolicy": "Fail",
    "webhook.exemptNamespaces": ["databases"],
    "webhook.extraRules": [{"apiGroups": ["apps.acme.example"], "apiVersions": ["v1"], "resources": ["services"]}],
    "webhook.annotations": {"acme.example/owner": "platform"},
    "tls.existingSecret": "gate-tls",
    "image.repository": "registry.acme.example/mirror/portcullis",
    "image.tag": "elsewhere",
    "image.digest": "sha256:" + "ab" * 32,
    "imagePullSecrets": [{"name": "mirror"}],
    "replicas": 2,
    "podDisruptionBudget.maxUnavailable": "50%",
    "topologySpreadConstraints": [
        {"topologyKey": "acme.example/rack", "maxSkew": 2, "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "system-node-critical",
    "database.passwordSecret.name": "audit-elsewhere",
    "database.passwordSecret.key": "secret",
    "opa.mode": "sidecar",
    "opa.resources.requests": {"cpu": "60m", "memory": "130Mi"},
    "opa.resources.limits": {"memory": "800Mi"},
    "persistence.size": "6Gi",
    "persistence.storageClassName": "fast",
    "persistence.accessModes": ["ReadWriteOncePod"],
    "resources.requests": {"cpu": "110m", "memory": "260Mi"},
    "resources.limits": {"memory": "1100Mi"},
    "pullSecrets": [{"namespace": "shop", "names": ["mirror"]}],
    "metrics.serviceMonitor.interval": "45s",
    "metrics.serviceMonitor.scrapeTimeout": "20s",
    "metrics.serviceMonitor.labels": {"acme.example/scraped": "true"},
    "metrics.prometheusRule.labels": {"acme.example/rules": "true"},
    "metrics.prometheusRule.disabled": ["PortcullisDown"],
    "metrics.dashboard.labels": {"acme.example/dashboard": "true"},
    "metrics.dashboard.annotations": {"acme.example/folder": "gates"},
    "serviceAccount.name": "gate",
    "serviceAccount.annotations": {"acme.example/identity": "gate"},
    "flowSchema.priorityLevel": "workload-low",
    "service.annotations": {"acme.example/tier": "control"},
    "pages.service.annotations": {"acme.example/tier": "review"},
    "networkPolicy.metricsFrom": [{"namespaceSelector": {"matchLabels": {"acme.example/monitoring": "true"}}}],
    "networkPolicy.pagesFrom": [{"podSelector": {"matchLabels": {"acme.example/reader": "true"}}}],
    "networkPolicy.extraEgress": [{"ports": [{"protocol": "TCP", "port": 8888}]}],
    "extraLabels": {"acme.example/unit": "platform"},
    "podAnnotations": {"acme.example/note": "gate"},
    "podLabels": {"acme.example/cost": "4711"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "acme.example/control", "operator": "Exists"}],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": [{"key": "acme.example/fast", "operator": "Exists"}]}}
            ]
        }
    },
    "extraEnv": [{"name": "SSL_CERT_DIR", "value": "/etc/ssl/certs"}],
    "extraVolumes": [{"name": "extra", "secret": {"secretName": "extra"}}],
    "extraVolumeMounts": [{"name": "extra", "mountPath": EXTRA, "readOnly": True}],
    "config.registries.default": "registry.acme.example",
    "config.registries.mirrors": {"docker.io": ["mirror.acme.example/hub"]},
    "config.registries.proxy.https": "http://proxy.acme.example:3128",
    "config.registries.proxy.http": "http://proxy.acme.example:3128",
    "config.registries.proxy.noProxy": ["127.0.0.1"],
    "config.registries.proxy.username": "gate",
    "config.registries.proxy.passwordFile": f"{EXTRA}/password",
    "config.trust.predicates": {"https://acme.example/scan": "vulnerability"},
    "config.trust.carriers": ["referrer", "fallback-tag"],
    "config.policies.profile": "python-service",
    "config.policies.enabled": ["image-pinned", "scan-required"],
    # Without inspection, policies that read the contents of images are undecided: those that would refuse for it only
    # tell.
    "config.policies.modes": {
        **dict.fromkeys(("image-base", "image-build-tools", "image-secrets"), "audit"),
        "image-pinned": "audit",
    },
    "config.policies.namespaces": {"shop": {"image-shell": "warn"}},
    "config.policies.overrides": [{"namespaces": ["dev-*"], "modes": {"*": "audit"}}],
    "config.policies.parameters": {"image-age": {"maxAgeDays": 40}},
    "config.exceptions": [
        {
            "id": "EX-1",
            "policies": ["image-shell"],
            "match": {"namespaces": ["legacy"]},
            "reason": "moves in January",
            "owner": "payments@acme.example",
            "expires": "2099-01-31T00:00:00Z",
        }
    ],
    "config.audit.journal": "/var/lib/portcullis/elsewhere.journal",
    "config.audit.checkpoints.configMap": "checkpoints",
    "config.audit.pages.allowedHosts": ["audit.acme.example"],
    "config.audit.pages.tokens.sessionKeyFile": f"{EXTRA}/session",
    "config.audit.redaction.annotations": ["acme.example/token"],
    "config.audit.redaction.labels": ["acme.example/secret"],
    "config.audit.redaction.keep": ["metadata.labels.app"],
    "config.cluster.podSpecPaths": [
        {"group": "apps.acme.example", "kind": "Service", "path": "spec.template.spec", "version": "v1"}
    ],
    "config.telemetry.traces.endpoint": "https://traces.acme.example/v1/traces",
    "config.platforms": ["linux/amd64"],
}

ELSEWHERE: Mapping[str, str] = {
    "global": "of charts around this one; this one reads none",
    "nameOverride": "another name is another release",
    "fullnameOverride": "another name is another release",
    "policies.configMaps.enabled": "test_faults_upgrade.py looks at that by itself",
    "tls.certManager": "beside tls.existingSecret",
    "autoscaling": "beside replicas",
    "persistence.existingClaim": "beside PostgreSQL",
    "config.opa": "beside opa.mode sidecar",
    "config.policies.builtin": "without them nothing is refused",
    "config.policies.folders": "in an image of one's own",
    "config.policies.bundles": "needs a server of bundles",
    "config.inspection.catalogue": "in an image of one's own",
    "config.audit.passwordFile": "beside database.passwordSecret",
    "config.audit.replica": "beside several replicas",
    "config.audit.checkpoints.keyFile": "needs a key",
    "config.audit.pages.enabled": "beside pages.service",
    "config.audit.pages.tls": "beside insecure",
    "config.audit.pages.proxy": "beside tokens is enough",
    "config.audit.redaction.paths": "of kinds that nobody has here",
    "config.audit.redaction.patterns": "costs time in each review",
    "config.audit.sinks": "needs a receiver",
    "config.registries.credentials": "needs a registry that asks for them",
    "config.trust.roots": "needs a trusted root",
    "config.trust.repositories": "needs another registry",
    "config.cluster.inventory": "needs rights that the operator gives",
    "config.cluster.caller": "is set by the chart",
    "config.cluster.watch.namespaces": "beside config.audit.pages.tokens, which ask the API server",
    "caller.clientCertificate": "needs an API server that has one",
    "config.telemetry.traces.headersFile": "needs a receiver",
    "config.telemetry.traces.caFile": "needs a receiver",
    "config.registries.hosts": "is set by whoever runs this, as are the five after it",
    "config.registries.allowed": "",
    "config.trust.signers": "",
    "config.trust.rules": "",
    "config.audit.database": "",
    "tls.caBundle": "",
}


def changed() -> JSON:
    """All values that differ, as the chart takes them."""
    values: JSON = {}
    for path, leaf in leaves():
        if elsewhere(path) is None:
            _put(values, path, _another(path, leaf))
    return values


def leaves() -> Iterator[tuple[Path, JSON]]:
    """What can be set, by its path: what the schema says of it, with the default that the chart or the program has."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    yield from _leaves(schema, schema.get("$defs", {}), (), defaults)


def elsewhere(path: Path) -> str | None:
    """Why it is not changed here; None if it is."""
    return next(
        (ELSEWHERE[name] for name in (".".join(path[:end]) for end in range(len(path), 0, -1)) if name in ELSEWHERE),
        None,
    )


def _leaves(schema: JSON, definitions: JSON, path: Path, defaults: Any) -> Iterator[tuple[Path, JSON]]:
    schema = _resolved(schema, definitions)
    within = {name: inner for name, inner in schema.get("properties", {}).items() if inner is not False}
    for name, inner in within.items():
        below = defaults.get(name) if isinstance(defaults, Mapping) else None
        yield from _leaves(inner, definitions, (*path, name), below)
    if not within:
        yield path, schema if defaults is None else {**schema, "default": defaults}


def _resolved(schema: JSON, definitions: JSON) -> JSON:
    """Without references, and of what may be null, what it is otherwise."""
    while True:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema and "properties" not in schema:
            schema = {**next(one for one in schema["anyOf"] if one.get("type") != "null")}
        else:
            return schema


def _another(path: Path, leaf: JSON) -> Any:
    name = ".".join(path)
    if name in CHOSEN:
        assert CHOSEN[name] != leaf.get("default"), f"{name} is chosen as it is by default"
        return CHOSEN[name]
    change = _BY_TYPE.get(str(leaf.get("type")))
    if "enum" in leaf:
        return next(choice for choice in leaf["enum"] if choice not in ("", leaf.get("default")))
    assert change is not None, f"{name} is new: say in changed.py what it is to be"
    return change(leaf)


def _number(leaf: JSON) -> Any:
    """One more, or, where there is no more, less."""
    default: Any = leaf.get("default", leaf.get("minimum", 1))
    most = leaf.get("maximum")
    return default + 1 if most is None or default + 1 <= most else default / 2


_BY_TYPE: Mapping[str, Callable[[JSON], Any]] = {
    "integer": _number,
    "number": _number,
    "boolean": lambda leaf: not leaf.get("default", False),
}


def _put(values: JSON, path: Path, value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value
