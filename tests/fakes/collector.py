"""An OpenTelemetry collector: a small HTTP server that takes logs and traces by OTLP in protobuf and decodes them."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """``status`` is what it answers; ``received`` the records that it took, in order, ``spans`` the spans."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[Any] = []
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.asked = 0
        self.url = ""
        self.traces_url = ""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.asked += 1
        self.headers.append(headers)
        if path not in ("/v1/logs", "/v1/traces") or headers.get("content-type") != "application/x-protobuf":
            return 400
        if self.status == 200:
            content = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            self._logs(content) if path == "/v1/logs" else self._traces(content)
        return self.status

    def _logs(self, content: bytes) -> None:
        for group in ExportLogsServiceRequest.FromString(content).resource_logs:
            self._resource(group.resource)
            for scope in group.scope_logs:
                self.received += scope.log_records

    def _traces(self, content: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(content).resource_spans:
            self._resource(group.resource)
            for scope in group.scope_spans:
                self.spans += scope.spans

    def _resource(self, resource: Any) -> None:
        self.resources.append({one.key: one.value.string_value for one in resource.attributes})


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = collector.take(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}/v1/logs"
    collector.traces_url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
