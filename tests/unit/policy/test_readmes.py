"""The examples in the READMEs of policies. What stands under "Bad" violates that policy and no other that would refuse,
what stands under "Good" is refused by none of its profile. Judged by the real engine, as the gate would ask it."""

import asyncio
import io
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fakes import opa
from fakes.judging import FOLDER, POLICIES
from portcullis.admission.workloads import WorkloadReader
from portcullis.cli.manifests import Manifest, read_manifests
from portcullis.cli.requests import request_of
from portcullis.collecting import container_facts
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.facts import ImageFacts
from portcullis.model.json import JSONObject
from portcullis.model.request import UserInfo
from portcullis.model.ruling import Mode, Need
from portcullis.policy.bundle import load_bundle
from portcullis.policy.document import build_document
from portcullis.policy.profiles import load_profile, profile_names
from portcullis.reference.parse import parse_reference

pytestmark = pytest.mark.opa


NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECONDS = 120.0
PARAMETERS: Mapping[str, JSONObject] = {"image-source": {"allow": ["registry.example/acme/**"]}}
"""What examples say that they stand under."""


@dataclass(frozen=True, slots=True)
class Example:
    """One fenced block of YAML in the README of a policy, under the heading "Bad" or "Good"."""

    policy: str
    heading: str
    number: int
    yaml: str

    def __str__(self) -> str:
        return f"{self.policy}-{self.heading}-{self.number}"


def examples(policy: str, text: str) -> Iterator[Example]:
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, content = section.partition("\n")
        if heading in ("Bad", "Good"):
            for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", content, re.MULTILINE | re.DOTALL)):
                yield Example(policy, heading, number, block)


EXAMPLES = [
    example for name in POLICIES for example in examples(name, (FOLDER / name / "README.md").read_text("utf-8"))
]


def documents(example: Example) -> list[bytes]:
    """The policy inputs of the manifests, of whose images nothing but the text is known."""
    reader = WorkloadReader(limits=DEFAULT_LIMITS)
    found = read_manifests(["-"], standard_input=io.BytesIO(example.yaml.encode()), limits=DEFAULT_LIMITS)
    made = []
    for manifest in found:
        assert isinstance(manifest, Manifest), manifest
        request = request_of(manifest, namespace="shop", user=UserInfo(username="jane"), limits=DEFAULT_LIMITS)
        workload = reader.read(request)
        assert workload.containers, "the example makes no pod"
        images = [
            ImageFacts(written=written, reference=parse_reference(written, limits=DEFAULT_LIMITS))
            for written in dict.fromkeys(container.image for container in workload.containers)
        ]
        made.append(
            build_document(
                now=NOW,
                request=request,
                workload=workload,
                containers=container_facts(workload, images),
                images=images,
                limits=DEFAULT_LIMITS,
            )
        )
    return made


@dataclass(frozen=True, slots=True)
class Judged:
    """``modes`` of the policies that were asked, and the violated ones of each example."""

    modes: Mapping[str, Mode]
    violated: Mapping[Example, frozenset[str]]


@pytest.fixture(scope="module")
def judged(opa_binary: Path) -> Judged:
    return asyncio.run(_judge(opa_binary))


async def _judge(binary: Path) -> Judged:
    """By the policies that need no facts of images, all in one set."""
    bundle = load_bundle([FOLDER], parameters=PARAMETERS, enabled=POLICIES, limits=DEFAULT_LIMITS)
    violated: dict[Example, frozenset[str]] = {}
    async with opa.running(binary) as engine:
        compiled = await engine.compile(bundle)
        modes = {policy.name: policy.mode for policy in compiled.policies if policy.needs <= {Need.REQUEST}}
        for example in EXAMPLES:
            hits: set[str] = set()
            for document in documents(example):
                ruling = await engine.evaluate(compiled, [*modes], document, time.monotonic() + SECONDS)
                assert not ruling.failed, (example, ruling.failed)
                hits |= {hit.policy for hit in ruling.hits}
            violated[example] = frozenset(hits)
    return Judged(modes, violated)


def modes_beside(policy: str, judged: Judged) -> Mapping[str, Mode]:
    """The modes of the least strict profile that holds the policy; without one, the policy alone."""
    profiles = [load_profile(FOLDER, name) for name in profile_names(FOLDER)]
    holding = [profile for profile in profiles if policy in profile.modes]
    if not holding:
        return {policy: judged.modes[policy]}
    return min(holding, key=lambda profile: list(profile.modes.values()).count(Mode.DENY)).modes


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_examples_are_what_they_are_said_to_be(example: Example, judged: Judged) -> None:
    if example.policy not in judged.modes:
        pytest.skip("the policy needs facts of images")
    modes = modes_beside(example.policy, judged)
    refusing = {name for name, mode in modes.items() if mode is Mode.DENY} | {example.policy}
    expected = {example.policy} if example.heading == "Bad" else set()
    assert judged.violated[example] & refusing == expected


def test_every_readme_that_shows_one_shows_both() -> None:
    shown = {(example.policy, example.heading) for example in EXAMPLES}
    names = {policy for policy, _ in shown}
    assert shown == {(name, heading) for name in names for heading in ("Bad", "Good")}
    assert {name for name in POLICIES if name.startswith("pss-")} <= names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# a\n\n## Bad\n\n```yaml\na: 1\n```\n\n## Good\n\n```yaml\na: 2\n```\n", [("Bad", 0), ("Good", 0)]),
        ("## Bad\n```yaml\na: 1\n```\ntext\n```yaml\na: 2\n```\n", [("Bad", 0), ("Bad", 1)]),
        ("## Bad\n```dockerfile\nFROM a\n```\n## Parameters\n```yaml\na: 1\n```\n### Good\n", []),
    ],
)
def test_examples_are_found(text: str, found: list[tuple[str, int]]) -> None:
    assert [(example.heading, example.number) for example in examples("p", text)] == found
