"""The profile python-service: which images it admits, by the real gate, the real look into layers and the real OPA."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from fakes.pythonimages import ALPINE, CHECK, FULL, SINGLE_STAGE, SLIM, START, WELL_MADE, Line, layers, line, run
from fakes.registry import AMD64, MemoryRegistry, image_config
from fakes.reviews import pod, request
from portcullis.admission.workloads import WorkloadReader
from portcullis.decision.modes import Modes
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.gate import Gate
from portcullis.inspection.catalogue import load_catalogue
from portcullis.inspection.inspector import LayerInspector
from portcullis.inspection.pool import WorkerPool
from portcullis.inspection.wire import Setup
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Decision, Verdict
from portcullis.model.image import Access, HistoryEntry, Repository
from portcullis.model.ruling import Mode
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.policy.profiles import load_profile
from portcullis.server.clock import SystemClock
from portcullis.standing import Current, Standing

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

IMAGE = "registry.example/acme/shop"


@dataclass
class Kept:
    """A Facts in a dictionary."""

    facts: dict[str, bytes] = field(default_factory=dict)

    async def get(self, key: str) -> bytes | None:
        return self.facts.get(key)

    async def put(self, key: str, content: bytes) -> None:
        self.facts.setdefault(key, content)


@asynccontextmanager
async def gate_of_profile(binary: Path, registry: MemoryRegistry) -> AsyncIterator[Gate]:
    profile = load_profile(builtin_policies(), "python-service")
    bundle = load_bundle(
        [builtin_policies()],
        parameters=profile.parameters,
        enabled=None,
        limits=DEFAULT_LIMITS,
        profile=profile.modes,
    )
    clock, trust, catalogue = SystemClock(), Trust(signers=(), rules=()), load_catalogue(())

    async def identify(repository: Repository, access: Access) -> str:
        return access.namespace

    inspector = LayerInspector(
        registry=registry,
        facts=Kept(),
        pool=WorkerPool(workers=1, setup=Setup(limits=DEFAULT_LIMITS, catalogues=())),
        catalogue=catalogue,
        identify=identify,
        limits=DEFAULT_LIMITS,
    )
    try:
        async with opa.running(binary) as engine:
            compiled = await engine.compile(bundle)
            yield Gate(
                reader=WorkloadReader(limits=DEFAULT_LIMITS),
                registry=registry,
                gatherer=EvidenceGatherer(
                    registry=registry,
                    verifier=AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS),
                    trust=trust,
                    clock=clock,
                    limits=DEFAULT_LIMITS,
                ),
                inspector=inspector,
                catalogue=catalogue,
                engine=engine,
                standing=Current(Standing(compiled=compiled, modes=Modes(modes=profile.modes))),
                clock=clock,
                limits=DEFAULT_LIMITS,
            )
    finally:
        await inspector.aclose()


def push(registry: MemoryRegistry, lines: Sequence[Line], **config: Any) -> None:
    made = layers(lines)
    history = tuple(HistoryEntry(one.created_by, one.layer is None) for one in lines)
    diff_ids = tuple(one.diff_id for one in made)
    configured = image_config(**{"history": history, "diff_ids": diff_ids, "entrypoint": ()} | config)
    registry.add_image(IMAGE, configs={AMD64: configured}, layers=[one.blob.content for one in made])


async def decided(binary: Path, lines: Sequence[Line], **config: Any) -> Decision:
    registry = MemoryRegistry()
    push(registry, lines, **config)
    async with gate_of_profile(binary, registry) as gate:
        return await gate.decide(request(pod(f"{IMAGE}:latest")), asyncio.get_running_loop().time() + 60)


def told(decision: Decision, mode: Mode) -> dict[str, str]:
    """Of each policy what it says under that mode."""
    return {one.policy: one.msg for one in decision.violations if one.mode is mode}


def found_by(decision: Decision, policy: str) -> set[str]:
    """The paths that a policy tells of."""
    details: list[Any] = [one.details for one in decision.violations if one.policy == policy]
    return {found["path"] for one in details for found in one["findings"]}


WELL: dict[str, Any] = {"user": "10001", "cmd": tuple(START), "healthcheck": tuple(CHECK), "working_dir": "/app"}


@pytest.mark.parametrize(
    ("base", "warned"),
    [
        (
            SLIM,
            {
                "image-shell": "/usr/bin/bash",
                "image-package-manager": "/usr/local/bin/pip",
                "image-setuid": "/usr/bin/su",
            },
        ),
        (ALPINE, {"image-shell": "/bin/busybox", "image-package-manager": "/usr/local/bin/pip"}),
    ],
    ids=["slim", "alpine"],
)
async def test_a_well_made_image_is_admitted_with_warnings_about_its_base(
    opa_binary: Path, base: Sequence[Line], warned: dict[str, str]
) -> None:
    decision = await decided(opa_binary, [*base, *WELL_MADE], **WELL)
    assert told(decision, Mode.DENY) == {}
    assert decision.verdict is Verdict.ADMITTED
    assert set(told(decision, Mode.WARN)) == set(warned)
    for policy, path in warned.items():
        assert path in found_by(decision, policy)


async def test_a_single_stage_on_the_full_image_is_refused(opa_binary: Path) -> None:
    decision = await decided(
        opa_binary, [*FULL, *SINGLE_STAGE], user="", cmd=("/bin/sh", "-c", "gunicorn shop:app"), working_dir="/app"
    )
    assert decision.verdict is Verdict.REFUSED
    refused = told(decision, Mode.DENY)
    assert set(refused) == {"image-build-tools", "image-user", "image-numeric-user"}
    paths = found_by(decision, "image-build-tools")
    assert paths >= {"/usr/bin/git", "/usr/bin/make", "/usr/bin/x86_64-linux-gnu-gcc-14", "/usr/include"}
    assert not paths & {"/usr/local/bin/pip", "/usr/local/include"}
    assert set(told(decision, Mode.WARN)) >= {
        *("image-multi-stage", "image-layer-order", "image-pip-cache", "image-bytecode", "image-leftovers"),
        *("image-exec-form", "image-healthcheck", "image-history"),
    }


@pytest.mark.parametrize("tool", ["gcc", "git"])
async def test_one_tool_in_an_image_on_slim_refuses(opa_binary: Path, tool: str) -> None:
    added = line(f"RUN /bin/sh -c apt-get update && apt-get install -y {tool} # buildkit", run(f"usr/bin/{tool}"))
    decision = await decided(opa_binary, [*SLIM, added, *WELL_MADE], **WELL)
    assert set(told(decision, Mode.DENY)) == {"image-build-tools"}
    assert f"/usr/bin/{tool}" in told(decision, Mode.DENY)["image-build-tools"]
