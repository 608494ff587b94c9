"""Static files: their addresses hold a hash of their content, so that browsers may keep them for good."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

from starlette.responses import Response

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_HASH_CHARS = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. ``digest`` is the beginning of its sha256 in hexadecimal."""

    digest: str
    media_type: str
    content: bytes


@cache
def assets() -> dict[str, Asset]:
    """The static files by name, read once."""
    folder = files("portcullis.server.review") / "static"
    found = {}
    for file in folder.iterdir():
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:_HASH_CHARS]
        found[file.name] = Asset(digest, _TYPES[PurePosixPath(file.name).suffix], content)
    return found


def address_of_asset(name: str) -> str:
    """Where a static file is served."""
    return f"/static/{assets()[name].digest}/{name}"


def answer_of_asset(digest: str, name: str) -> Response | None:
    """The file, where it is there with that content."""
    asset = assets().get(name)
    if asset is None or asset.digest != digest:
        return None
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(asset.content, media_type=asset.media_type, headers=headers)
