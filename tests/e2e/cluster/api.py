"""The API server as the stand-ins for kubelet and kube-proxy use it: JSON over verified TLS, one call at a time."""

import http.client
import json
import ssl
import threading
from pathlib import Path
from typing import Any

SECONDS = 90.0


class ApiError(Exception):
    def __init__(self, code: int, body: str) -> None:
        super().__init__(f"{code}: {body[:500]}")
        self.code = code


class Api:
    """Calls with a client certificate. Each thread has a connection of its own."""

    def __init__(self, port: int, ca: Path, client: tuple[Path, Path]) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.load_cert_chain(*map(str, client))
        self._local = threading.local()
        self._connections: list[http.client.HTTPSConnection] = []

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def find(self, path: str) -> Any | None:
        """None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def post(self, path: str, body: Any) -> Any:
        return self._call("POST", path, body)

    def patch(self, path: str, body: Any, kind: str = "strategic-merge-patch") -> Any:
        return self._call("PATCH", path, body, f"application/{kind}+json")

    def delete(self, path: str, body: Any = None) -> Any:
        return self._call("DELETE", path, body)

    def text(self, path: str) -> str:
        return self._raw("GET", path, None, "application/json").decode()

    def _call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        return json.loads(self._raw(method, path, body, kind))

    def _raw(self, method: str, path: str, body: Any, kind: str) -> bytes:
        data = json.dumps(body) if body is not None else None
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.request(method, path, data, {"Content-Type": kind, "Accept": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                # An idle connection may have been closed by the server meanwhile.
                if attempt == 2:
                    raise
        if answer.status >= 400:
            raise ApiError(answer.status, content.decode(errors="replace"))
        return content

    def _connection(self) -> http.client.HTTPSConnection:
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=SECONDS, context=self._context)
            self._local.connection = connection
            self._connections.append(connection)
        return connection
