"""Stands in for kube-proxy: the API server's way to services.

The API server asks, through its egress proxy (a unix socket, HTTP CONNECT), for a service's cluster address. As
kube-proxy does, a new connection goes to one of the ready endpoints, in turn, or, where all endpoints are going away,
to one of those that still serve, and where the pod does not listen (any more) it is refused; open connections stay.
Pods have addresses of their own in the cluster and ports of this machine's loopback in truth.
"""

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from e2e.cluster.api import Api, ApiError

HEAD_BYTES = 8192
LOOK_SECONDS = 0.1
"""How old what is known of services and endpoints may be."""


class ServiceProxy:
    """Listens on ``socket`` in a thread of its own.

    Args:
        true_port: of the address and port of a pod; None where there is no such pod.

    ``connected`` and ``refused`` count the connections that were made and those that could not be.
    """

    def __init__(self, api: Api, socket: Path, true_port: Callable[[str, int], int | None]) -> None:
        self._api = api
        self._socket = socket
        self._true_port = true_port
        self._known: dict[tuple[str, int], Sequence[tuple[str, int]]] = {}
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._server: asyncio.Server
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.connected = 0
        self.refused = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["ServiceProxy"]:
        self._thread.start()
        assert self._listening.wait(60)
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
        try:
            endpoint = self._choose(await self._looked_up(host, int(port)))
            if endpoint is None:
                raise ConnectionRefusedError
            upstream, downstream = await asyncio.open_connection("127.0.0.1", endpoint)
        except OSError:
            self.refused += 1
            writer.write(b"HTTP/1.1 503 no endpoint\r\n\r\n")
            writer.close()
            return
        self.connected += 1
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_copy(reader, downstream), _copy(upstream, writer))

    def _choose(self, endpoints: Sequence[tuple[str, int]]) -> int | None:
        """One after the other; None where the pod is not there any more, or there is none."""
        self._turn += 1
        return self._true_port(*endpoints[self._turn % len(endpoints)]) if endpoints else None

    async def _looked_up(self, address: str, port: int) -> Sequence[tuple[str, int]]:
        """Addresses and ports of pods behind the service at that cluster address: those that are ready, or else those
        that still serve. While the API server cannot be asked, what was known last."""
        async with self._looking:
            if time.monotonic() - self._looked_at > LOOK_SECONDS or (address, port) not in self._known:
                with contextlib.suppress(OSError, http.client.HTTPException, ApiError):
                    self._known = await asyncio.to_thread(self._look)
                    self._looked_at = time.monotonic()
        return self._known.get((address, port), ())

    def _look(self) -> dict[tuple[str, int], Sequence[tuple[str, int]]]:
        slices: dict[tuple[str, str], list[Any]] = {}
        for one in self._api.get("/apis/discovery.k8s.io/v1/endpointslices")["items"]:
            service = one["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")
            slices.setdefault((one["metadata"]["namespace"], service), []).append(one)
        return {
            (service["spec"].get("clusterIP", ""), entry["port"]): _usable(
                slices.get((service["metadata"]["namespace"], service["metadata"]["name"]), []), entry.get("name", "")
            )
            for service in self._api.get("/api/v1/services")["items"]
            for entry in service["spec"].get("ports", [])
        }


def _usable(slices: list[Any], name: str) -> Sequence[tuple[str, int]]:
    """Addresses of endpoints with the number of the port of that name."""
    for condition in ("ready", "serving"):
        found = [
            (endpoint["addresses"][0], int(entry["port"]))
            for one in slices
            for entry in one.get("ports") or ()
            if entry.get("name", "") == name
            for endpoint in one.get("endpoints") or ()
            if endpoint["conditions"].get(condition)
        ]
        if found:
            return found
    return ()


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
