"""The clients of commands ask as the user who runs them."""

import base64
import json
from pathlib import Path

import pytest

from fakes.faulty import Answer, Asked, FaultyServer, serve_faulty
from fakes.oci import image_routes
from portcullis.cli.clients import open_clients
from portcullis.errors import Denied
from portcullis.model.image import Access
from portcullis.server.settings import Settings, load_settings

pytestmark = pytest.mark.anyio

BASIC = "Basic " + base64.b64encode(b"me:s3cret").decode()


def guard(server: FaultyServer) -> None:
    """Every route of the image demands the user's credential."""
    for path, answer in image_routes().items():
        assert isinstance(answer, Answer)

        def route(asked: Asked, answer: Answer = answer) -> Answer:
            known = asked.headers.get("authorization") == BASIC
            return answer if known else Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})

        server.routes[path] = route


def settings(folder: Path, server: FaultyServer) -> Settings:
    hosts = {server.host: {"insecure": True, "private": True}}
    (folder / "portcullis.yaml").write_text(json.dumps({"registries": {"hosts": hosts}}))
    return load_settings(folder / "portcullis.yaml", {})


async def resolve(chosen: Settings, image: str, environ: dict[str, str]) -> None:
    async with open_clients(chosen, environ=environ) as clients:
        await clients.registry.resolve(clients.parse(image), Access())


async def test_the_docker_config_of_the_user_counts(tmp_path: Path) -> None:
    async with serve_faulty() as server:
        guard(server)
        login = {"username": "me", "password": "s3cret"}
        (tmp_path / "config.json").write_text(json.dumps({"auths": {f"http://{server.host}": login}}))
        chosen, image = settings(tmp_path, server), f"{server.host}/acme/web:1"
        await resolve(chosen, image, {"DOCKER_CONFIG": str(tmp_path)})
        with pytest.raises(Denied, match="none is configured"):
            await resolve(chosen, image, {})
