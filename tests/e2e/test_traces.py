"""The program as its own process: one review is one trace in a collector, and its page of metrics says the same."""

import json
import signal
from pathlib import Path

import pytest

from fakes.collector import collecting
from fakes.faulty import serve_faulty
from fakes.oci import image_routes
from fakes.reviews import UID, pod, review
from fakes.webhook import head, running_webhook

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

SEGMENT = "an-unguessable-word-0001"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "hunter2-in-an-environment-variable"


async def test_a_review_of_the_api_server_is_one_trace(tmp_path: Path) -> None:
    """From the webhook's port down to the requests to the registry and the question to OPA; that of a stranger is
    none, whatever his header says."""
    async with serve_faulty(image_routes()) as registry:
        with collecting() as collector:
            sections = {
                "registries": {"hosts": {registry.host: {"insecure": True, "private": True}}},
                "policies": {"enabled": ["image-user", "image-shell"], "modes": {"image-shell": "audit"}},
                "server": {"pathSegment": SEGMENT},
                "telemetry": {"traces": {"endpoint": collector.traces_url, "ratio": 1}},
            }
            async with running_webhook(tmp_path, **sections) as running:
                await running.until_ready()
                made = pod(f"{registry.host}/acme/web:1")
                made["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": SECRET}]
                body = json.dumps(review(made, uid=UID)).encode()
                for path in (f"/{SEGMENT}/validate", "/validate"):
                    async with running.connected() as connection:
                        start = head(len(body), f"{path}?timeout=10s").removesuffix(b"\r\n")
                        await connection.send(start + f"traceparent: 00-{TRACE}-{SPAN}-01\r\n\r\n".encode() + body)
                        assert (await connection.reply()).response["uid"] == UID
                page = (await running.get("/metrics")).body.decode()
                assert await running.stop(signal.SIGTERM) == 0
                traced = [line.get("trace_id") for line in running.logged("decision")]
    spans = {one.span_id: one for one in collector.spans}
    roads = set()
    for one in spans.values():
        road, at = [one.name], one.parent_span_id
        while at in spans:
            road.append(spans[at].name)
            at = spans[at].parent_span_id
        assert at.hex() == SPAN
        roads.add("/".join(reversed(road)))
    assert {one.trace_id.hex() for one in spans.values()} == {TRACE}
    assert roads >= {
        "review",
        "review/admission",
        "review/registry/image/resolve/registry-request",
        "review/registry/image/layers",
        "review/policy/opa",
        "review/audit",
    }
    assert [one.name for one in spans.values()].count("review") == 1
    assert SECRET not in str(collector.spans)
    assert SEGMENT not in str(collector.spans)
    assert f'portcullis_registry_requests_total{{host="{registry.host}",outcome="ok"}}' in page
    assert 'portcullis_opa_evaluations_total{outcome="ok"}' in page
    assert 'portcullis_reviews_total{caller="unverified",' in page
    assert traced == [TRACE, None]
