"""Writes charts/portcullis/values.schema.json: the chart's values, written out below, and under ``config`` the
program's own configuration without what the chart sets by itself.

    uv run --frozen --no-sync python tests/chart/generate_schema.py
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portcullis.server.settings import configuration_schema

CHART = Path(__file__).resolve().parents[2] / "charts" / "portcullis"
TARGET = CHART / "values.schema.json"

OWNED = {
    "Server": ("address", "port", "pathSegment", "healthAddress", "healthPort", "tls"),
    "Cluster": ("webhook",),
    "Policies": ("configMaps",),
    "PagesSection": ("address", "port"),
}
"""By definition of the configuration's schema: the keys that the chart sets. templates/_guards.tpl names them too."""

Schema = dict[str, Any]

LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"


def closed(properties: dict[str, Schema], description: str = "", required: Sequence[str] = ()) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        schema["required"] = list(required)
    return described(schema, description)


def described(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema} if description else schema


def text(description: str = "", pattern: str = "", *, choices: Sequence[str] = ()) -> Schema:
    schema: Schema = {"type": "string"}
    if pattern:
        schema["pattern"] = f"^({pattern})$"
    if choices:
        schema["enum"] = list(choices)
    return described(schema, description)


def flag(description: str = "") -> Schema:
    return described({"type": "boolean"}, description)


def whole(minimum: int, maximum: int | None = None, description: str = "") -> Schema:
    schema: Schema = {"type": "integer", "minimum": minimum}
    if maximum is not None:
        schema["maximum"] = maximum
    return described(schema, description)


def listed(items: Schema, description: str = "", *, least: int = 0) -> Schema:
    schema: Schema = {"type": "array", "items": items, "uniqueItems": True}
    if least:
        schema["minItems"] = least
    return described(schema, description)


def words(description: str = "", *, but: Sequence[str] = ()) -> Schema:
    """Labels or annotations."""
    schema: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
    if but:
        schema["properties"] = dict.fromkeys(but, False)
    return described(schema, description)


def anything(description: str = "", required: Sequence[str] = ()) -> Schema:
    """A map of Kubernetes' own, which the API server checks."""
    schema: Schema = {"type": "object"}
    if required:
        schema["required"] = list(required)
    return described(schema, description)


QUANTITY: Schema = {"type": ["string", "number"]}
PORT_REFERENCE: Schema = {"type": ["string", "integer"]}


def network_peers(description: str = "") -> Schema:
    block = closed({"cidr": text(), "except": listed(text())}, required=["cidr"])
    peer = closed({"podSelector": anything(), "namespaceSelector": anything(), "ipBlock": block})
    return listed({**peer, "minProperties": 1}, description)


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
    quantities = {"type": "object", "additionalProperties": QUANTITY}
    selected_by = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
    return {
        "resources": closed({"requests": quantities, "limits": quantities}, "Of the container."),
        "podAnnotations": words(but=["checksum/config"]),
        "podLabels": words("Beside those by which the Deployment knows its pod.", but=selected_by),
        "nodeSelector": words(),
        "tolerations": listed(toleration),
        "affinity": anything(),
        "priorityClassName": text(pattern=rf"({SUBDOMAIN})?"),
        "extraEnv": listed(variable, "EnvVars of the container."),
        "extraVolumes": listed(anything(required=["name"]), "Volumes of the pod."),
        "extraVolumeMounts": listed(mount, "VolumeMounts of the container."),
        "imagePullSecrets": listed(closed({"name": text(pattern=SUBDOMAIN)}, required=["name"])),
    }


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
        "webhook": webhook(),
        "tls": closed(
            {
                "existingSecret": text("Empty: self-managed.", rf"({SUBDOMAIN})?"),
                "caBundle": text("PEM in base64, as the API wants it.", r"[A-Za-z0-9+/=\s]*"),
            }
        ),
        "image": closed(
            {
                "repository": text(pattern=r"[^\s@]+"),
                "tag": text("Empty: the chart's appVersion.", r"([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"),
                "digest": text(pattern="(sha256:[0-9a-f]{64})?"),
                "pullPolicy": text(choices=["Always", "IfNotPresent", "Never"]),
            }
        ),
        "replicas": whole(1, 100, "More than one only with PostgreSQL."),
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
        "networkPolicy": network_policy(),
        **pod(),
        "nameOverride": text(pattern=r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?"),
        "fullnameOverride": text(pattern=r"([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?"),
    }


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
