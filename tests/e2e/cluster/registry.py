"""The demo's registry with the demo's images, for the cluster; answers about chosen repositories can be held back."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.cli.demo.publish import publish
from portcullis.cli.demo.registry import create_registry, serve_loopback
from portcullis.cli.demo.samples import CI, PRODUCT, SAMPLES, STRANGER, Sample, build

OURS = (
    Sample("slow", "clean; tests hold back what is asked about it", "acme/slow", "1.0.0"),
    Sample("moving", "clean; tests move its tag", "acme/moving", "1.0.0"),
)

GOOD, ROOT, UNSCANNED = "acme/web:1.4.2", "acme/legacy:2.1.0", "acme/model:0.3.0"
SLOW, MOVING = "acme/slow:1.0.0", "acme/moving:1.0.0"


class SampleRegistry:
    """Serves in a thread of its own."""

    def __init__(self) -> None:
        self._app = create_registry()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self._held: dict[str, asyncio.Event] = {}
        self._keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in (CI, PRODUCT, STRANGER)}
        self.host = ""

    def image(self, name: str) -> str:
        return f"{self.host}/{name}"

    @property
    def public_key(self) -> str:
        """What the gate trusts, in PEM."""
        pem = serialization.Encoding.PEM
        key = self._keys[CI].public_key()
        return key.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def hold(self, part: str) -> None:
        """Answers no request whose path has ``part`` in it, until release."""
        self._call(lambda: self._held.setdefault(part, asyncio.Event()))

    def release(self) -> None:
        def free() -> None:
            for event in self._held.values():
                event.set()
            self._held.clear()

        self._call(free)

    @contextlib.contextmanager
    def running(self) -> Iterator["SampleRegistry"]:
        self._thread.start()
        assert self._ready.wait(120)
        try:
            yield self
        finally:
            self.release()
            self._call(self._over.set)
            self._thread.join(10)
            self._loop.close()

    def _call(self, action: Any) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (action(), done.set()))
        assert done.wait(60)

    async def _serve(self) -> None:
        samples = (*SAMPLES, *OURS)
        async with serve_loopback(self) as self.host:
            references = {sample.name: self.image(f"{sample.repository}:{sample.tag}") for sample in samples}
            images = build(samples, datetime.now(UTC))
            await publish(images, references, self._keys, self.host, lambda _: None, samples)
            self._ready.set()
            await self._over.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for event in [event for part, event in self._held.items() if part in scope["path"]]:
            await event.wait()
        await self._app(scope, receive, send)
