"""The image runs as it says, under a real OCI runtime: read-only, without any right, writing to two folders only."""

import asyncio
import contextlib
import json
import shutil
import time
from pathlib import Path

import pytest
import yaml

from fakes.reviews import pod, review
from fakes.webhook import WebhookProcess
from image.container import Container, Host, Image
from image.support import DATA, USER, run, say
from portcullis import __version__
from portcullis.cli.demo.webhook import free_ports

pytestmark = pytest.mark.anyio

READY_SECONDS = 60
STOP_SECONDS = 30

# What a program that was taken over could do. Prints what it could write to, and its own rights.
PROBE = """
import json, os
def writes(folder):
    try:
        with open(os.path.join(folder, "probe"), "w"):
            return True
    except OSError as error:
        return os.strerror(error.errno)
folders = ["/", "/etc", "/usr/bin", "/usr/local/bin", "/opt/portcullis/app", "/opt/portcullis/venv/bin",
           "/home/nonroot", "/var/lib", "/dev", "/etc/portcullis", "/tmp", "/var/lib/portcullis"]
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
rights = {name: status[name].split() for name in ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs")}
print(json.dumps({"writes": {folder: writes(folder) for folder in folders}, "rights": rights}))
"""


@pytest.fixture
def host(image: Image, tmp_path: Path) -> Host:
    return Host(image, tmp_path)


def configuration(registry: str, port: int, health: int) -> str:
    return yaml.safe_dump(
        {
            "server": {
                "port": port,
                "healthPort": health,
                "stopDelaySeconds": 0,
                "tls": {"selfManaged": {"directory": f"{DATA}/tls"}},
            },
            "audit": {"database": f"sqlite:///{DATA}/audit.db"},
            "registries": {"hosts": {registry: {"insecure": True, "private": True}}},
            "policies": {"enabled": ["image-user", "image-shell", "image-build-tools", "image-secrets"]},
        }
    )


async def until_ready(webhook: WebhookProcess, container: Container) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            assert container.process.returncode is None, container.log.read_text()
            with contextlib.suppress(OSError):
                if (await webhook.get("/readyz")).status == 200:
                    return
            await asyncio.sleep(0.02)


def test_versions_are_those_of_the_source_and_of_the_pinned_opa(host: Host) -> None:
    done = host.run("version", "-o", "json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    opa = shutil.which("opa")
    assert opa
    assert (said["version"], said["opaPath"], said["revision"]) == (__version__, "/usr/local/bin/opa", "")
    assert f"Version: {said['opa']}" in run(opa, "version")


def test_it_can_do_nothing_but_write_to_two_folders(host: Host) -> None:
    done = host.python(PROBE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {folder for folder, written in found["writes"].items() if written is True} == {"/tmp", DATA}
    assert found["writes"]["/home/nonroot"] == "Read-only file system"
    assert set(found["rights"]["Uid"]) == set(found["rights"]["Gid"]) == {str(USER)}
    assert found["rights"]["Groups"] == []
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert int(found["rights"][kind][0], 16) == 0
    assert found["rights"]["NoNewPrivs"] == ["1"]


def test_without_a_configuration_it_does_not_start(host: Host) -> None:
    done = host.run("serve")
    assert done.returncode == 2
    assert done.stderr.startswith("error: /etc/portcullis/portcullis.yaml: cannot be read")


async def test_it_serves_judges_is_healthy_and_stops(host: Host, published: str) -> None:
    port, health_port = free_ports(2)
    host.configure(configuration(published, port, health_port))
    check = host.image.config["Healthcheck"]["Test"][1:]
    started = time.monotonic()
    async with host.running() as container:
        webhook = WebhookProcess(
            container.process, host.data, address=("127.0.0.1", port), health=("127.0.0.1", health_port)
        )
        await until_ready(webhook, container)
        say(f"from the start to ready: {time.monotonic() - started:.2f} s")

        started = time.monotonic()
        healthy = await asyncio.to_thread(container.execute, *check)
        say(f"the health check: {time.monotonic() - started:.2f} s")
        assert (healthy.returncode, healthy.stderr) == (0, "")
        assert healthy.stdout.endswith("readyz check passed\n")

        own = await webhook.post(json.dumps(review(pod(f"{published}/portcullis:oci"))).encode())
        assert own.response["allowed"] is True, own.response
        other = await webhook.post(json.dumps(review(pod(f"{published}/nobody:1"))).encode())
        assert other.response["status"]["code"] == 403
        assert "runs as root: the image names no USER" in other.response["status"]["message"]

        # As `kubectl exec` does it: the command by its name, the configuration by the image's variable.
        listed = await asyncio.to_thread(container.execute, "portcullis", "audit", "list", "-o", "json")
        assert listed.returncode == 0, listed.stderr
        assert [one["verdict"] for one in json.loads(listed.stdout)["items"]] == ["refused", "admitted"]

        assert await container.stop(STOP_SECONDS) == 0, container.log.read_text()
        assert '"stopped"' in container.log.read_text()
    assert {path.name for path in host.data.iterdir()} == {"tls", "audit.db", "audit.db.journal"}
    assert {(path.stat().st_uid, path.stat().st_mode & 0o077) for path in host.data.rglob("*")} == {(USER, 0)}

    stopped = host.run("health")
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert stopped.stderr == f"error: 127.0.0.1:{health_port}: no answer: Connection refused\n"
