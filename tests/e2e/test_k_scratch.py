import sys, time, json
from e2e.test_evidence_attacks import *
pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

@pytest.mark.parametrize("key", [made.CI, made.STRANGER])
async def test_200(tmp_path, registry, key):
    scene = Scene(registry.host, "many")
    for payload in many(scene, 200, 225_000):
        scene.sign(payload, key)
    registry.routes.update(scene.served())
    async with gate(tmp_path, registry, limits={"referrers": 200}) as running:
        for _ in range(2):
            t=time.monotonic(); a = await ask(running, scene.written); print(a, time.monotonic()-t, memory_of(running)//1024, file=sys.stderr)

async def test_900k(tmp_path, registry):
    scene = Scene(registry.host, "huge")
    for n in range(12):
        row = {"PkgName": "a"}
        scene.sign(scene.scan(*[{**row, "VulnerabilityID": f"C{i}"} for i in range(99_999)], at=ago(minutes=n+1)))
    registry.routes.update(scene.served())
    good = clean(registry)
    async with gate(tmp_path, registry) as running:
        for _ in range(3):
            t=time.monotonic()
            try:
                a = await ask(running, scene.written)
            except TimeoutError as e: a = e
            print(str(a)[:400], time.monotonic()-t, memory_of(running)//1024, file=sys.stderr)
            t=time.monotonic(); a = await ask(running, good.written); print(str(a)[:200], time.monotonic()-t, memory_of(running)//1024, file=sys.stderr)
