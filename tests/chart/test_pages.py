"""The audit pages in a cluster: on loopback, or behind a Service with readers whom the API server knows."""

from pathlib import Path
from typing import Any

import pytest

from chart.support import NAMESPACE, configuration_of, container_of, objects, template
from chart.test_webhook import notes
from portcullis.server.settings import load_settings

SERVED: dict[str, Any] = {"pages": {"service": {"enabled": True}}}
NAME = f"portcullis-pages.{NAMESPACE}.svc"
TOKEN_REVIEWS = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
ACCESS_REVIEWS = {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}


def readers(served: bool = True, **pages: Any) -> dict[str, Any]:
    return {**(SERVED if served else {}), "config": {"audit": {"pages": pages}}}


PROXY = {"secretFile": "/etc/proxy/secret"}


def test_by_default_they_are_on_loopback() -> None:
    found = objects()
    assert configuration_of()["audit"]["pages"] == {"port": 8082}
    assert {"name": "pages", "containerPort": 8082} in container_of()["ports"]
    assert "Service/audit-pages" not in found
    assert "ClusterRole/audit-reader" not in found
    ingress = found["NetworkPolicy"]["spec"]["ingress"]
    assert not any(port["port"] == "pages" for rule in ingress for port in rule["ports"])
    assert f"kubectl -n {NAMESPACE} port-forward deployment/portcullis 8082\n" in notes({})
    assert "http://localhost:8082/" in notes({})


def test_with_a_service_they_are_reached_by_its_names_and_tls() -> None:
    found = objects(readers(tokens={}, allowedHosts=["audit.example.com"]))
    service = found["Service/audit-pages"]
    assert service["metadata"]["name"] == "portcullis-pages"
    assert service["spec"]["selector"] == found["Service"]["spec"]["selector"]
    assert service["spec"]["ports"] == [{"name": "https-pages", "port": 443, "targetPort": "pages"}]
    configuration = configuration_of(readers(tokens={}, allowedHosts=["audit.example.com"]))
    names = [NAME, f"{NAME}.cluster.local", "portcullis-pages", f"portcullis-pages.{NAMESPACE}"]
    pages = configuration["audit"]["pages"]
    assert (pages["address"], pages["port"], pages["tls"]) == ("0.0.0.0", 8082, {"webhook": True})
    assert pages["allowedHosts"] == [*names, "audit.example.com"]
    assert configuration["server"]["tls"]["selfManaged"]["names"][2:] == names
    (rule,) = [rule for rule in found["NetworkPolicy"]["spec"]["ingress"] if rule["ports"][0]["port"] == "pages"]
    assert "from" not in rule
    assert f"https://{NAME}:443/\n" in notes(readers(tokens={}))
    assert "--clusterrole=portcullis-audit-reader" in notes(readers(tokens={}))


def test_tls_may_be_another_one_or_end_in_front() -> None:
    files = {"certFile": "/tls/tls.crt", "keyFile": "/tls/tls.key"}
    assert configuration_of(readers(tokens={}, tls=files))["audit"]["pages"]["tls"] == files
    plain = readers(tokens={}, insecure=True)
    assert "tls" not in configuration_of(plain)["audit"]["pages"]
    assert objects(plain)["Service/audit-pages"]["spec"]["ports"][0]["name"] == "http-pages"
    assert f"http://{NAME}:443/" in notes(plain)


@pytest.mark.parametrize(
    ("pages", "reviews"),
    [
        ({"tokens": {}}, [ACCESS_REVIEWS, TOKEN_REVIEWS]),
        ({"tokens": {}, "proxy": PROXY}, [ACCESS_REVIEWS, TOKEN_REVIEWS]),
        ({"proxy": PROXY}, [ACCESS_REVIEWS]),
        ({"proxy": {**PROXY, "readers": "reviewed"}}, [ACCESS_REVIEWS]),
        ({"proxy": {**PROXY, "readers": "all"}}, []),
        ({"tokens": {}, "enabled": False}, []),
        ({}, []),
    ],
)
@pytest.mark.parametrize("served", [True, False])
def test_the_gate_may_ask_about_readers_where_it_must(pages: dict[str, Any], reviews: list[Any], served: bool) -> None:
    if served and (not pages or "enabled" in pages):
        return
    found = objects(readers(served, **pages))
    groups = ("authentication.k8s.io", "authorization.k8s.io")
    assert [rule for rule in found["ClusterRole"]["rules"] if rule["apiGroups"][0] in groups] == reviews
    assert ("ClusterRole/audit-reader" in found) is bool(reviews)
    if reviews:
        role = found["ClusterRole/audit-reader"]
        assert role["metadata"]["name"] == "portcullis-audit-reader"
        assert role["rules"] == [{"apiGroups": ["audit.portcullis.dev"], "resources": ["decisions"], "verbs": ["get"]}]


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    (SERVED, "pages.service.enabled is true, but config.audit.pages does not say who may read"),
    (readers(insecure=True), "config.audit.pages does not say who may read: set tokens"),
    (readers(tokens={}, enabled=False), "pages.service.enabled is true, but config.audit.pages.enabled is false"),
    (readers(False, address="0.0.0.0"), "config.audit.pages.address is set by the chart: set pages.service.enabled"),
    (readers(False, port=1), "config.audit.pages.port is set by the chart: set ports.pages instead"),
    ({"ports": {"pages": 8081}}, "ports.health and ports.pages are both 8081"),
    ({"ports": {"pages": 8443}}, "ports.webhook and ports.pages are both 8443"),
    (
        {"extraEnv": [{"name": "PORTCULLIS_AUDIT__PAGES__ADDRESS", "value": "::"}]},
        "extraEnv sets PORTCULLIS_AUDIT__PAGES__ADDRESS, which is set by the chart",
    ),
    (
        {**readers(tokens={}), "replicas": 2},
        "replicas is 2, but config.audit.pages.tokens has no sessionKeyFile",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), CONTRADICTIONS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_contradiction_is_an_error(values: dict[str, Any], sentence: str) -> None:
    if "replicas" in values:
        values["config"]["audit"]["database"] = "postgresql://gate@db:5432/audit"
    done = template("--skip-schema-validation", values=values)
    assert done.returncode == 1
    assert sentence in done.stderr


@pytest.mark.parametrize(
    "pages", [{"tokens": {}}, {"proxy": PROXY, "insecure": True}, {"tokens": {"sessionHours": 1}, "proxy": PROXY}]
)
def test_the_program_takes_what_the_chart_writes(pages: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "portcullis.yaml"
    file.write_text(objects(readers(**pages))["ConfigMap"]["data"]["portcullis.yaml"])
    settings = load_settings(file, {"PORTCULLIS_CLUSTER__WEBHOOK__POD": f"{NAMESPACE}/portcullis-x"})
    assert not settings.audit.pages.on_loopback
    assert settings.audit.pages.reviewed
    assert NAME in settings.audit.pages.allowed_hosts
