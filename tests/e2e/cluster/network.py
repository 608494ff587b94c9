"""Stands in for kube-proxy: the API server's way to services.

The API server asks, through its egress proxy (a unix socket, HTTP CONNECT), for a service's cluster address. As
kube-proxy does, a new connection goes to a ready endpoint, or, where all endpoints are going away, to one of those
that still serve; open connections stay. Pods have addresses of their own in the cluster and ports of this machine's
loopback in truth.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.cluster.api import Api

HEAD_BYTES = 8192


class ServiceProxy:
    """Listens on ``socket`` in a thread of its own. ``connected`` counts the connections that were made."""

    def __init__(self, api: Api, socket: Path) -> None:
        self._api = api
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._server: asyncio.Server
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.connected = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["ServiceProxy"]:
        self._thread.start()
        assert self._listening.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._socket.unlink(missing_ok=True)

    def _run(self) -> None:
        async def listen() -> None:
            self._server = await asyncio.start_unix_server(self._serve, self._socket)
            self._listening.set()

        self._loop.run_until_complete(listen())
        self._loop.run_forever()
        self._server.close()
        self._loop.run_until_complete(_end_all())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert len(head) < HEAD_BYTES
        _, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        host, _, port = target.rpartition(":")
        endpoint = await asyncio.to_thread(self._endpoint, host, int(port))
        try:
            if endpoint is None:
                raise ConnectionRefusedError
            upstream, downstream = await asyncio.open_connection("127.0.0.1", endpoint)
        except OSError:
            writer.write(b"HTTP/1.1 503 no endpoint\r\n\r\n")
            writer.close()
            return
        self.connected += 1
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_copy(reader, downstream), _copy(upstream, writer))

    def _endpoint(self, address: str, port: int) -> int | None:
        """The port of an endpoint behind the service at that cluster address."""
        for service in self._api.get("/api/v1/services")["items"]:
            if service["spec"].get("clusterIP") != address:
                continue
            (name,) = (entry["name"] for entry in service["spec"]["ports"] if entry["port"] == port)
            namespace = service["metadata"]["namespace"]
            selector = f"labelSelector=kubernetes.io/service-name%3D{service['metadata']['name']}"
            path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?{selector}"
            return _choose(self._api.get(path)["items"], name)
        return None


def _choose(slices: list[Any], name: str) -> int | None:
    for condition in ("ready", "serving"):
        for one in slices:
            ports = [entry["port"] for entry in one.get("ports") or () if entry.get("name", "") == name]
            for endpoint in one.get("endpoints") or ():
                if ports and endpoint["conditions"].get(condition):
                    return int(ports[0])
    return None


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        target.close()
