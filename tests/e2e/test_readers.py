"""Who may read the audit log in a cluster: the chart's Service and rights, tokens of service accounts and RBAC, on the
real API server."""

import base64
import http.cookiejar
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest

from e2e.cluster.gate import Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD

AUDIENCE = "portcullis.dev/audit"
ROLE = "portcullis-audit-reader"
BOUND = {"limits": {"readerSeconds": 0.5, "tokenReviewSeconds": 0.5, "loginSeconds": 0.1}}
"""What is believed ends soon, so that nobody has to wait for it."""


@pytest.fixture(scope="module")
def gate(release: Installed) -> Installed:
    """Installed with pages that readers log in to; a decision in each of two namespaces."""
    cluster = release.cluster
    for namespace in ("shop", "bank"):
        cluster.namespace(namespace)
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "auditor", "namespace": namespace},
        }
        cluster.apply(account)
    values = {
        **release.values("audit", audit={"pages": {"tokens": {}}}, **BOUND),
        "pages": {"service": {"enabled": True}},
        "webhook": {"timeoutSeconds": 30},
    }
    release.helm("install", values=values)
    until(lambda: release.webhook()["clientConfig"].get("caBundle"), "the CA in the webhook configuration")
    until(lambda: "matchConditions" not in release.webhook(), "the webhook to be called")
    for namespace in ("shop", "bank"):
        pod = workload("Pod", f"of-{namespace}", namespace, container("web", release.registry.image(GOOD)))
        until(lambda pod=pod: not _created(release, pod), "admission", 60)  # type: ignore[misc]
        until(lambda namespace=namespace: release.records_of(f"of-{namespace}"), "the record")  # type: ignore[misc]
    return release


def _created(gate: Installed, pod: dict[str, Any]) -> str:
    done = gate.cluster.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(pod), ok=None)
    return done.stderr if done.returncode else ""


def token(gate: Installed, namespace: str, audience: str = AUDIENCE) -> str:
    """As the page of the login tells people to make it."""
    command = ("create", "token", "auditor", "--namespace", namespace, "--duration", "1h")
    return gate.cluster.kubectl(*command, *(("--audience", audience) if audience else ())).stdout.strip()


def bind(gate: Installed, kind: str, *arguments: str, account: str) -> None:
    gate.cluster.kubectl("create", kind, f"readers-{account}", f"--clusterrole={ROLE}", *arguments)


@dataclass
class Answer:
    status: int
    body: str
    headers: Any


class Browser:
    """Keeps cookies, follows nothing by itself."""

    def __init__(self, gate: Installed) -> None:
        self.base = f"https://127.0.0.1:{gate.ports['pages']}"
        trusted = ssl.create_default_context(cadata=ca_of(gate))
        self.cookies = http.cookiejar.CookieJar()
        handlers = (urllib.request.HTTPSHandler(context=trusted), urllib.request.HTTPCookieProcessor(self.cookies))
        self._opener = urllib.request.build_opener(*handlers, _Stay)

    def ask(self, address: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        body = urllib.parse.urlencode(fields).encode() if fields is not None else None
        sent = {"Origin": self.base} if fields is not None else {}
        request = urllib.request.Request(f"{self.base}{address}", body, {**sent, **headers})
        try:
            with self._opener.open(request, timeout=120) as answer:
                return Answer(answer.status, answer.read().decode(), answer.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), error.headers)

    def log_in(self, secret: str) -> Answer:
        form = self.ask("/login?next=/decisions")
        return self.ask("/login", {"csrf": field(form, "csrf"), "next": field(form, "next"), "token": secret})


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def field(page: Answer, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.body)
    assert found is not None, page.body
    return unescape(found[1])


def ca_of(gate: Installed) -> str:
    """By which the webhook is trusted, and so its pages."""
    return base64.b64decode(gate.webhook()["clientConfig"]["caBundle"]).decode()


def listed(gate: Installed, secret: str) -> tuple[int, set[str]]:
    """The status, and the names of the pods whose decisions the token reads."""
    answer = Browser(gate).ask("/api/v1/decisions?kind=Pod", Authorization=f"Bearer {secret}")
    found = json.loads(answer.body)
    return answer.status, {item["name"] for item in found.get("items", ())}


def test_nobody_reads_without_a_token_and_nobody_without_a_right(gate: Installed) -> None:
    until(lambda: "[+]pages ok" in readiness(gate), "the pages to be served")
    browser = Browser(gate)
    answer = browser.ask("/decisions")
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=%2Fdecisions")
    assert AUDIENCE in browser.ask("/login").body
    assert browser.log_in("no-token").status == 401
    assert listed(gate, token(gate, "shop", audience="")) == (401, set())
    assert listed(gate, token(gate, "shop", audience="another")) == (401, set())
    assert listed(gate, token(gate, "shop"))[0] == 403


def readiness(gate: Installed) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.ports['health']}/readyz?verbose") as answer:
        return str(answer.read().decode())


def test_a_role_binding_opens_one_namespace_and_a_cluster_role_binding_all(gate: Installed) -> None:
    shop, bank = token(gate, "shop"), token(gate, "bank")
    bind(gate, "rolebinding", "--namespace=shop", "--serviceaccount=shop:auditor", account="shop")
    bind(gate, "clusterrolebinding", "--serviceaccount=bank:auditor", account="bank")
    can = ("auth", "can-i", "--list", "--namespace=shop", "--as=system:serviceaccount:shop:auditor")
    until(lambda: "decisions.audit.portcullis.dev" in gate.cluster.kubectl(*can).stdout, "kubectl to list it")
    until(lambda: listed(gate, shop) == (200, {"of-shop"}), "the right in one namespace")
    until(lambda: listed(gate, bank)[1] >= {"of-shop", "of-bank"}, "the right in all")
    overview = json.loads(Browser(gate).ask("/api/v1/overview", Authorization=f"Bearer {shop}").body)
    assert overview["extent"]["records"] == len([one for one in gate.records if one["namespace"] == "shop"])


def test_a_person_logs_in_reads_and_logs_out(gate: Installed) -> None:
    browser = Browser(gate)
    answer = browser.log_in(token(gate, "shop"))
    assert (answer.status, answer.headers["location"]) == (303, "/decisions")
    (cookie,) = [cookie for cookie in browser.cookies if cookie.name == "__Host-portcullis-session"]
    assert cookie.secure
    page = browser.ask("/decisions")
    assert page.status == 200
    assert "of-shop" in page.body
    assert "of-bank" not in page.body
    assert "system:serviceaccount:shop:auditor" in page.body
    assert browser.ask("/logout", {"csrf": field(page, "csrf")}).status == 303
    assert browser.ask("/decisions").status == 303


def test_a_right_that_is_taken_away_and_a_token_that_is_revoked_end_what_is_read(gate: Installed) -> None:
    secret, browser = token(gate, "shop"), Browser(gate)
    browser.log_in(secret)
    assert browser.ask("/decisions").status == 200
    gate.cluster.kubectl("delete", "rolebinding", "readers-shop", "--namespace=shop")
    until(lambda: listed(gate, secret)[0] == 403, "the right to be gone")
    assert browser.ask("/decisions").status == 403
    gate.cluster.kubectl("delete", "serviceaccount", "auditor", "--namespace=shop")
    # The API server keeps a good word about a token for ten seconds.
    until(lambda: listed(gate, secret)[0] == 401, "the token to be revoked")
    assert browser.ask("/decisions").status == 303


def test_no_log_has_a_token(gate: Installed) -> None:
    secret = token(gate, "bank")
    Browser(gate).log_in(secret)
    assert listed(gate, secret)[0] == 200
    signature = secret.rpartition(".")[2]
    assert "reader logged in" in gate.kubelet.logs()
    assert signature not in gate.kubelet.logs()
    for file in gate.kubelet.claims.glob("**/*"):
        assert not file.is_file() or signature.encode() not in file.read_bytes(), file
