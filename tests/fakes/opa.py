"""Policy sets made of text, and a supervised OPA over them."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from fakes.remoteopa import OtherOpa
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.json import JSONObject
from portcullis.model.ruling import PolicyBundle, PolicySource
from portcullis.policy.bundle import revision_of
from portcullis.policy.opa import OpaEngine
from portcullis.policy.supervisor import OpaSupervisor
from portcullis.server.clock import SystemClock


def policy(name: str, body: str) -> PolicySource:
    """A policy of that name (``image-user``); row 1 is its package, the body begins in row 2."""
    package = name.replace("-", "_")
    return PolicySource(f"{name}.rego", f"package portcullis.policies.{package}\n{body}\n")


def library(name: str, body: str) -> PolicySource:
    return PolicySource(f"lib/{name}.rego", f"package portcullis.lib.{name}\n{body}\n")


def bundle(*sources: PolicySource, parameters: Mapping[str, JSONObject] | None = None) -> PolicyBundle:
    return PolicyBundle(sources, parameters or {}, revision_of(sources, parameters or {}))


def document(now: str = "2026-11-24T12:00:00.000000Z", **sections: Any) -> bytes:
    return json.dumps({"time": {"now": now}, **sections}).encode()


@contextlib.asynccontextmanager
async def running(binary: Path, limits: Limits = DEFAULT_LIMITS, **options: Any) -> AsyncIterator[OpaEngine]:
    """An engine with its own OPA, stopped at the end."""
    supervisor = OpaSupervisor(binary=binary, limits=limits, **options)
    try:
        yield OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=limits)
    finally:
        await supervisor.aclose()


@contextlib.asynccontextmanager
async def sharing(other: OtherOpa, limits: Limits = DEFAULT_LIMITS, **options: Any) -> AsyncIterator[OpaEngine]:
    """An engine over an OPA that is not its own."""
    serving = other.serving(limits, **options)
    try:
        yield OpaEngine(supervisor=serving, clock=SystemClock(), limits=limits)
    finally:
        await serving.aclose()
