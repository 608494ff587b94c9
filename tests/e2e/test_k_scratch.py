import sys, time, json
from e2e.test_evidence_attacks import *
pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

@pytest.mark.parametrize("key", [made.CI])
async def test_200(tmp_path, registry, key):
    scene = Scene(registry.host, "many")
    for payload in many(scene, 200, 225_000):
        scene.sign(payload, key)
    registry.routes.update(scene.served())
    async with gate(tmp_path, registry, limits={"referrers": 200}) as running:
        for _ in range(4):
            t=time.monotonic()
            body = json.dumps(review(pod(scene.written))).encode()
            reply = await running.post(body, f"/{SEGMENT}/validate?timeout=30s")
            print(str(reply.response)[:300], time.monotonic()-t, memory_of(running)//1024, file=sys.stderr)
        await asyncio.sleep(1)
        for l in running.logged("decision"): print(l, file=sys.stderr)
