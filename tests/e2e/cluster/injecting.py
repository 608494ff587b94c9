"""Another webhook of the cluster, which changes pods after the gate has: it adds a sidecar to those that ask for it."""

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from e2e.cluster.objects import container
from e2e.cluster.programs import Cluster

NAME = "z-injector"
"""The API server asks mutating webhooks in the order of their objects' names."""
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
SIDECAR = "sidecar"
ASKS = "e2e.example/inject"


@contextlib.contextmanager
def injecting(cluster: Cluster, image: str) -> Iterator[None]:
    """Pods with the label ASKS get a container with ``image``."""
    added = [{"op": "add", "path": "/spec/containers/-", "value": container(SIDECAR, image)}]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            response: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": True}
            if all(one["name"] != SIDECAR for one in review["request"]["object"]["spec"]["containers"]):
                patch = base64.b64encode(json.dumps(added).encode()).decode()
                response |= {"patchType": "JSONPatch", "patch": patch}
            answer = {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*map(str, cluster.pki.server))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        cluster.api.post(CONFIGURATIONS, _configuration(cluster, server.server_address[1]))
        yield
    finally:
        cluster.kubectl("delete", "mutatingwebhookconfiguration", NAME, "--ignore-not-found")
        server.shutdown()
        thread.join(10)
        server.server_close()


def _configuration(cluster: Cluster, port: int) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    webhook = {
        "name": "injector.e2e.example",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/inject",
            "caBundle": base64.b64encode(cluster.pki.ca.read_bytes()).decode(),
        },
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "objectSelector": {"matchLabels": {ASKS: "true"}},
        "rules": [rule],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [webhook],
    }
