"""Writes charts/portcullis/values.schema.json: the chart's values, written out below, and under ``config`` the
program's own configuration without what the chart sets by itself.

    uv run --frozen --no-sync python tests/chart/generate_schema.py
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chart.schemaparts import (
    LABEL,
    LABELS,
    PORT_REFERENCE,
    SUBDOMAIN,
    Schema,
    anything,
    closed,
    flag,
    listed,
    network_peers,
    resources,
    text,
    whole,
    words,
)
from portcullis.server.settings import configuration_schema

CHART = Path(__file__).resolve().parents[2] / "charts" / "portcullis"
TARGET = CHART / "values.schema.json"

OWNED = {
    "Server": ("address", "port", "pathSegment", "healthAddress", "healthPort", "tls"),
    "Cluster": ("webhook", "events", "pullSecrets", "breakGlass", "mutation", "recheck"),
    "CallerSection": ("pathSecret", "clientCertificate"),
    "Policies": ("configMaps",),
    "PagesSection": ("address", "port"),
}
"""By definition of the configuration's schema: the keys that the chart sets. templates/_guards.tpl names them too."""


def webhook() -> Schema:
    rule = closed(
        {
            "apiGroups": listed(text(pattern=SUBDOMAIN), least=1),
            "apiVersions": listed(text(pattern=LABEL), least=1),
            "resources": listed(text("Plural; no wildcards.", rf"{LABEL}(/{LABEL})?"), least=1),
        },
        "Operations are CREATE and UPDATE, the scope is Namespaced.",
        ["apiGroups", "apiVersions", "resources"],
    )
    return closed(
        {
            "failurePolicy": text(
                "Empty: Ignore in profile audit, Fail in profile enforce.", choices=["", "Ignore", "Fail"]
            ),
            "timeoutSeconds": whole(1, 30, "How long the API server waits for an answer."),
            "standDown": flag(
                "Whether the deletion of the gate's pod switches the webhook off until the next one is ready."
            ),
            "exemptNamespaces": listed(
                text(pattern=LABEL), "Namespaces that are not judged, beside kube-system and the release's own."
            ),
            "extraRules": listed(rule, "Custom resources that carry pods."),
            "annotations": words("Of the ValidatingWebhookConfiguration."),
        }
    )


def pod() -> dict[str, Schema]:
    """What becomes part of the pod as it is."""
    variable = closed(
        {"name": text(pattern=r"[-._a-zA-Z0-9]+"), "value": text(), "valueFrom": anything()}, "", ["name"]
    )
    mount = closed(
        {
            "name": text(),
            "mountPath": text(pattern="/.*"),
            "mountPropagation": text(),
            "readOnly": flag(),
            "recursiveReadOnly": text(),
            "subPath": text(),
            "subPathExpr": text(),
        },
        required=["name", "mountPath"],
    )
    toleration = closed(
        {
            "key": text(),
            "operator": text(),
            "value": text(),
            "effect": text(choices=["", "NoSchedule", "PreferNoSchedule", "NoExecute"]),
            "tolerationSeconds": {"type": "integer"},
        }
    )
    selected_by = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
    return {
        "resources": resources("Of the gate's container."),
        "extraLabels": words("Of every object.", but=(*selected_by, *LABELS)),
        "podAnnotations": words(but=["checksum/config"]),
        "podLabels": words("Beside those by which the Deployment knows its pod.", but=selected_by),
        "nodeSelector": words(),
        "tolerations": listed(toleration),
        "affinity": anything(),
        **scheduling(),
        "extraEnv": listed(variable, "EnvVars of the container."),
        "extraVolumes": listed(anything(required=["name"]), "Volumes of the pod."),
        "extraVolumeMounts": listed(mount, "VolumeMounts of the container."),
        "imagePullSecrets": listed(closed({"name": text(pattern=SUBDOMAIN)}, required=["name"])),
    }


def scheduling() -> dict[str, Schema]:
    """How many pods there are, where they are, and what goes before them."""
    policy = text(choices=["Honor", "Ignore"])
    spread = closed(
        {
            "maxSkew": whole(1),
            "minDomains": whole(1),
            "topologyKey": text(pattern=r"[-._/a-zA-Z0-9]+"),
            "whenUnsatisfiable": text(choices=["DoNotSchedule", "ScheduleAnyway"]),
            "labelSelector": anything(),
            "matchLabelKeys": listed(text()),
            "nodeAffinityPolicy": policy,
            "nodeTaintsPolicy": policy,
        },
        required=["maxSkew", "topologyKey", "whenUnsatisfiable"],
    )
    autoscaling = {
        "enabled": flag("Needs PostgreSQL."),
        "minReplicas": whole(1, 100),
        "maxReplicas": whole(1, 100),
        "targetCPUUtilizationPercentage": whole(1, 1000),
        "behavior": anything("As the API has it."),
    }
    # With 0, or with more than there are, a budget keeps every node or nothing.
    away = {"type": ["integer", "string"], "minimum": 1, "maximum": 100, "pattern": "^[1-9][0-9]?%$"}
    flows = {
        "enabled": flag(),
        "priorityLevel": text(pattern=SUBDOMAIN),
        "matchingPrecedence": whole(1, 10000, "The smallest number wins."),
    }
    return {
        "replicas": whole(1, 100, "More than one only with PostgreSQL."),
        "autoscaling": closed(autoscaling),
        "podDisruptionBudget": closed({"enabled": flag("Made for two replicas and more."), "maxUnavailable": away}),
        "topologySpreadConstraints": listed(spread, "Of two replicas and more."),
        "priorityClassName": text(pattern=rf"({SUBDOMAIN})?"),
        "resourceQuota": closed(
            {"enabled": flag(), "pods": whole(1)}, "Lets pods of a system class into the namespace."
        ),
        "flowSchema": closed(flows, "Of what the gate asks the API server."),
    }


def certificate() -> Schema:
    issuer = closed(
        {"name": text(pattern=rf"({SUBDOMAIN})?"), "kind": text(), "group": text(pattern=rf"({SUBDOMAIN})?")},
        "Empty: a CA of its own.",
        ["name"],
    )
    duration = r"([0-9]+(\.[0-9]+)?(h|m|s))+"
    manager = {
        "enabled": flag("Whether cert-manager makes the certificate."),
        "issuerRef": {"anyOf": [issuer, {"type": "object", "maxProperties": 0}]},
        "duration": text(pattern=duration),
        "renewBefore": text(pattern=duration),
    }
    return closed(
        {
            "existingSecret": text("Empty: self-managed.", rf"({SUBDOMAIN})?"),
            "caBundle": text("PEM in base64, as the API wants it.", r"[A-Za-z0-9+/=\s]*"),
            "certManager": closed(manager),
        }
    )


def caller() -> Schema:
    client = {
        "configMap": text("With the authority that signs it; empty: none.", rf"({SUBDOMAIN})?"),
        "secret": text("The same in a Secret.", rf"({SUBDOMAIN})?"),
        "key": text("Under which it lies there.", r"[-._a-zA-Z0-9]{1,253}"),
        "commonNames": listed(text(pattern=r".{1,64}"), "Its common name is one of these, letter by letter."),
    }
    return closed({"clientCertificate": closed(client, "Of the API server.")})


def network_policy() -> Schema:
    port = closed(
        {"protocol": text(choices=["TCP", "UDP", "SCTP"]), "port": PORT_REFERENCE, "endPort": whole(1, 65535)}
    )
    egress = closed({"to": network_peers(), "ports": listed(port)})
    return closed(
        {
            "enabled": flag(),
            "metricsFrom": network_peers("Who may read metrics; empty means everybody."),
            "pagesFrom": network_peers("Who reaches the audit pages, where these have a Service; empty: everybody."),
            "extraEgress": listed({**egress, "minProperties": 1}, "Rules beside DNS, 443 and 6443."),
        }
    )


def persistence() -> Schema:
    modes = ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]
    return closed(
        {
            "enabled": flag("false: an emptyDir, which is lost with the pod."),
            "existingClaim": text(pattern=rf"({SUBDOMAIN})?"),
            "size": text(pattern=r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?"),
            "storageClassName": text("Empty: the cluster's default class.", rf"({SUBDOMAIN})?"),
            "accessModes": listed(text(choices=modes), least=1),
            "keep": flag("Whether the claim outlives helm uninstall."),
        },
        "The audit log, its journal, and the self-managed CA.",
    )


def chart_values() -> dict[str, Schema]:
    return {
        "global": {"type": "object", "description": "Of a parent chart; not read."},
        "profile": text("Whether policies may refuse.", choices=["audit", "enforce"]),
        "policyConfigMaps": listed(text(pattern=SUBDOMAIN), "ConfigMaps with Rego policies."),
        "policies": closed(
            {
                "configMaps": closed(
                    {
                        "enabled": flag("Whether ConfigMaps with the label portcullis.dev/policy are policies."),
                        "namespaces": listed(text(pattern=LABEL), "Where, beside the release's own namespace."),
                    }
                )
            }
        ),
        "pullSecrets": listed(
            closed(
                {
                    "namespace": text(pattern=LABEL),
                    "names": listed(text(pattern=SUBDOMAIN), "Of Secrets; none means every pull secret there."),
                },
                required=["namespace"],
            ),
            "Namespaces whose pull secrets the gate may read, for images of that namespace.",
        ),
        "webhook": webhook(),
        "mutation": closed(
            {
                "enabled": flag("Whether tags are pinned to digests."),
                "owners": flag("Whether templates are pinned as well, and not pods alone."),
            }
        ),
        "tls": certificate(),
        "image": closed(
            {
                "repository": text(pattern=r"[^\s@]+"),
                "tag": text("Empty: the chart's appVersion.", r"([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"),
                "digest": text(pattern="(sha256:[0-9a-f]{64})?"),
                "pullPolicy": text(choices=["Always", "IfNotPresent", "Never"]),
            }
        ),
        "opa": closed(
            {
                "mode": text("Who runs it.", choices=["supervised", "sidecar", "remote"]),
                "resources": resources("Of the sidecar."),
            }
        ),
        "database": closed(
            {
                "passwordSecret": closed(
                    {"name": text(pattern=rf"({SUBDOMAIN})?"), "key": text(pattern="[-._a-zA-Z0-9]{1,253}")},
                    "Holds the password of the PostgreSQL user.",
                )
            }
        ),
        "ports": closed(
            {
                "webhook": whole(1024, 65535),
                "health": whole(1024, 65535, "Probes and metrics."),
                "pages": whole(1024, 65535, "The audit pages."),
                "opa": whole(1024, 65535, "Probes of OPA where it is a sidecar."),
            }
        ),
        "persistence": persistence(),
        "serviceAccount": closed({"create": flag(), "name": text(pattern=rf"({SUBDOMAIN})?"), "annotations": words()}),
        "service": closed({"annotations": words()}),
        "pages": closed(
            {
                "service": closed(
                    {
                        "enabled": flag("Whether the audit pages listen beyond loopback, behind a Service."),
                        "port": whole(1, 65535),
                        "annotations": words(),
                    }
                )
            }
        ),
        "caller": caller(),
        "networkPolicy": network_policy(),
        "metrics": metrics(),
        "breakGlass": closed({"enabled": flag("Whether there are grants of an emergency.")}),
        "recheck": recheck(),
        "events": closed({"enabled": flag("Whether objects whose pods are refused get an Event.")}),
        **pod(),
        "nameOverride": text(pattern=r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?"),
        "fullnameOverride": text(pattern=r"([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?"),
    }


def recheck() -> Schema:
    """As the configuration has it, but for the Lease, which the chart makes."""
    section = configuration_schema()["$defs"]["RecheckSection"]["properties"]
    kept = {name: found for name, found in section.items() if name != "lease"}
    return closed({"enabled": flag("Whether what runs is judged again."), **_plain(kept)})


def metrics() -> Schema:
    alert = text(pattern=r"Portcullis[A-Za-z]+")
    seconds = text(pattern="[1-9][0-9]*(s|m)")
    labels = words("Beside those of the chart.", but=LABELS)
    monitor = {"enabled": flag(), "interval": seconds, "scrapeTimeout": seconds, "labels": labels}
    return closed(
        {
            "serviceMonitor": closed(monitor),
            "prometheusRule": closed({"enabled": flag(), "labels": labels, "disabled": listed(alert)}),
            "dashboard": closed({"enabled": flag(), "labels": labels, "annotations": words()}),
        }
    )


def configuration() -> Schema:
    """The program's schema: keys that the chart sets taken out, and what only its authors read."""
    schema = configuration_schema()
    for definition, keys in OWNED.items():
        for key in keys:
            del schema["$defs"][definition]["properties"][key]
    schema.pop("$schema")
    for section in schema["properties"].values():
        # The defaults of a whole section would name the keys that were taken out.
        section.pop("default", None)
    schema["description"] = "portcullis.yaml, as docs/operators.md describes it, without what the chart sets."
    return dict(_reachable(_plain(schema)))


def _plain(node: Any) -> Any:
    """Without titles, which repeat the keys, and with one kind of quotes."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    # A title is text; a property that is named title is a map.
    kept = {key: _plain(value) for key, value in node.items() if key != "title" or isinstance(value, dict)}
    if isinstance(words := kept.get("description"), str):
        kept["description"] = " ".join(words.replace("``", "`").split())
    return kept


def _reachable(schema: Schema) -> Schema:
    """Without the definitions that nothing refers to any more."""
    definitions = schema["$defs"]
    wanted: set[str] = set()
    queue: list[Any] = [{key: value for key, value in schema.items() if key != "$defs"}]
    while queue:
        node = queue.pop()
        queue += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if isinstance(node, dict) and isinstance(reference := node.get("$ref"), str):
            name = reference.rpartition("/")[2]
            if name not in wanted:
                wanted.add(name)
                queue.append(definitions[name])
    return {**schema, "$defs": {name: definitions[name] for name in sorted(wanted)}}


def render() -> str:
    config = configuration()
    definitions = config.pop("$defs")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Made by tests/chart/generate_schema.py.",
        "title": "Values of the chart portcullis",
        **closed({**chart_values(), "config": config}),
        "$defs": definitions,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
