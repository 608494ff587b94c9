"""What every part that asks the API server needs: a configuration, and words for what goes wrong."""

import json
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.exceptions import ApiException, OpenApiException
from kubernetes.aio.config import ConfigException, load_incluster_config

from portcullis.errors import ClusterError
from portcullis.text import clean

REQUEST_SECONDS: Final = 3.0

STATUS_BYTES: Final = 64 * 1024
STATUS_CHARS: Final = 300
"""What is read, and shown, of the API server's own words."""

FAULTS: Final = (OpenApiException, aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What the client raises; pydantic's errors, for answers that are not what they should be, are ValueErrors."""


def in_cluster(who: str) -> Configuration:
    """The API server as a pod sees it, with the pod's service account; its token is read again as the kubelet
    renews it.

    Args:
        who: needs it, for the message.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    configuration = Configuration()
    # A proxy is for registries: the API server is a neighbour.
    configuration.client_session_kwargs = {"trust_env": False}
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise ClusterError(f"{who} needs a pod with its service account mounted: {error}") from error
    return configuration


def reason_of(error: Exception, seconds: float) -> str:
    """What went wrong, for a sentence; ``seconds`` is the time that there was."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, ApiException):
        said = _message(error.body)
        return f"the API server answered {error.status} {error.reason or ''}".rstrip() + (f": {said}" if said else "")
    return str(error) or type(error).__name__


def _message(body: object) -> str:
    """What a Status says, "" where the body is none."""
    try:
        found = json.loads(body) if isinstance(body, str | bytes) and len(body) <= STATUS_BYTES else None
    except (ValueError, RecursionError):
        return ""
    message = found.get("message") if isinstance(found, dict) else None
    return clean(message, STATUS_CHARS) if isinstance(message, str) else ""


async def bounded_json(response: aiohttp.ClientResponse, limit: int, what: str) -> Any:
    """The JSON of an answer with status 200, or 201 for what was posted.

    Args:
        limit: bytes.
        what: it is, for messages.

    Raises:
        ApiException: the status is another one.
        ValueError: it has more bytes than the limit, or is no JSON.
    """
    if response.status not in (200, 201):
        raise ApiException(status=response.status, reason=response.reason)
    content = await response.content.read(limit + 1)
    while len(content) <= limit and (more := await response.content.read(limit)):
        content += more
    if len(content) > limit:
        raise ValueError(f"{what} has more than {limit} bytes")
    return json.loads(content)
