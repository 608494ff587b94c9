"""The platforms that images are judged for. Nodes are listed by tests/unit/cluster, those of a real cluster by e2e."""

import asyncio

import pytest

from portcullis.model.image import Platform
from portcullis.server.platforms import (
    DEFAULT,
    JudgedPlatforms,
    configured_platforms,
    first_platforms,
    node_platforms,
    watch_platforms,
)
from portcullis.server.sections import Cluster, WebhookRegistration
from portcullis.server.settings import Settings

pytestmark = pytest.mark.anyio

IN_CLUSTER = Settings(cluster=Cluster(webhook=WebhookRegistration(name="portcullis")))
NAMED = Settings(platforms=("linux/s390x", "linux/arm/v7"))


def test_what_is_configured_counts() -> None:
    assert configured_platforms(NAMED) == (Platform("linux", "s390x"), Platform("linux", "arm", "v7"))
    assert configured_platforms(Settings()) == DEFAULT


async def test_no_cluster_is_asked_where_there_is_none_or_platforms_are_named() -> None:
    assert await node_platforms(Settings()) == DEFAULT
    both = Settings(platforms=("linux/s390x",), cluster=IN_CLUSTER.cluster)
    assert await node_platforms(both) == (Platform("linux", "s390x"),)
    async with asyncio.timeout(5):
        await watch_platforms(both, JudgedPlatforms(()), lambda: None)
        await watch_platforms(Settings(), JudgedPlatforms(()), lambda: None)


async def test_a_cluster_that_cannot_be_asked_means_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert await first_platforms(IN_CLUSTER) == DEFAULT  # this is no pod
