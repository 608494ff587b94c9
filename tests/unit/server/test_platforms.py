"""The platforms that images are judged for. Nodes are watched in tests/unit/cluster, those of a real cluster in e2e."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from portcullis.errors import ClusterError
from portcullis.model.image import Platform
from portcullis.server.clustersections import Cluster, WebhookRegistration
from portcullis.server.platforms import (
    DEFAULT,
    JudgedPlatforms,
    configured_platforms,
    first_platforms,
    node_platforms,
)
from portcullis.server.settings import Settings

pytestmark = pytest.mark.anyio

IN_CLUSTER = Settings(cluster=Cluster(webhook=WebhookRegistration(name="portcullis")))
NAMED = Settings(platforms=("linux/s390x", "linux/arm/v7"))
S390X = Platform("linux", "s390x")


@dataclass
class MemoryNodes:
    platforms: tuple[Platform, ...] | None = None
    changed: Callable[[], None] = field(default=lambda: None)

    async def known(self) -> tuple[Platform, ...]:
        if self.platforms is None:
            raise ClusterError("the API server is silent")
        return self.platforms


def test_what_is_configured_counts() -> None:
    assert configured_platforms(NAMED) == (S390X, Platform("linux", "arm", "v7"))
    assert configured_platforms(Settings()) == DEFAULT


async def test_no_cluster_is_asked_where_there_is_none_or_platforms_are_named() -> None:
    assert await node_platforms(Settings(), None) == DEFAULT
    both = Settings(platforms=("linux/s390x",), cluster=IN_CLUSTER.cluster)
    assert await node_platforms(both, None) == (S390X,)


@pytest.mark.parametrize(
    ("nodes", "judged"),
    [
        (None, DEFAULT),  # this is no pod
        (MemoryNodes(), DEFAULT),
        (MemoryNodes(()), DEFAULT),
        (MemoryNodes((S390X,)), (S390X,)),
    ],
)
async def test_those_of_the_nodes_else_the_default(
    nodes: MemoryNodes | None, judged: tuple[Platform, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await first_platforms(IN_CLUSTER, nodes) == judged


def test_a_change_is_taken_up_and_told_once() -> None:
    nodes, told = MemoryNodes((S390X,)), []
    judged = JudgedPlatforms(DEFAULT)
    for platforms in ((S390X,), (S390X,), None, ()):
        nodes.platforms = platforms
        judged.follow(nodes, lambda: told.append(judged.now))
    assert told == [(S390X,), DEFAULT]
