"""An OpenTelemetry collector: a small HTTP server that takes logs by OTLP in protobuf and decodes them."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


class Collector:
    """``status`` is what it answers; ``received`` the records that it took, in order."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.asked = 0
        self.url = ""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.asked += 1
        self.headers.append(headers)
        if path != "/v1/logs" or headers.get("content-type") != "application/x-protobuf":
            return 400
        if self.status == 200:
            request = ExportLogsServiceRequest.FromString(
                gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            )
            for group in request.resource_logs:
                self.resources.append({one.key: one.value.string_value for one in group.resource.attributes})
                for scope in group.scope_logs:
                    self.received += scope.log_records
        return self.status


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
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
