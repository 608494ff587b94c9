"""What every part that asks the API server needs: a configuration, and words for what goes wrong."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException, OpenApiException
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from portcullis.errors import ClusterError
from portcullis.text import clean

REQUEST_SECONDS: Final = 3.0

STATUS_BYTES: Final = 64 * 1024
STATUS_CHARS: Final = 300
"""What is read, and shown, of the API server's own words."""

FAULTS: Final = (OpenApiException, aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What the client raises; pydantic's errors, for answers that are not what they should be, are ValueErrors."""

KUBECONFIG_BYTES: Final = 8 * 1024 * 1024
"""Of one file; thousands of clusters take less."""
LOGIN_SECONDS: Final = 300.0
"""For a program that a kubeconfig names for the credential; a person may have to log in meanwhile."""
_UNREADABLE: Final = (
    ConfigException, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError,
)  # fmt: skip
"""What the client's reader of kubeconfigs raises for one that is none, or holds something else than it should."""
_OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Configured:
    """An API server that can be asked.

    Args:
        configuration: for an ApiClient.
        namespace: the one that is meant where none is named, as kubectl has it.
        where: which cluster this is, for people.
    """

    configuration: Configuration
    namespace: str
    where: str

    def client(self) -> ApiClient:
        """Asks it; to be closed."""
        return ApiClient(self.configuration)


async def configured(*, kubeconfig: Path | None = None, context: str = "", environ: Mapping[str, str]) -> Configured:
    """The API server that a person means who runs a command, as kubectl finds it: by ``kubeconfig``, else by the files
    that ``KUBECONFIG`` names, else by ``~/.kube/config``; where there is none of these, that of the pod.

    Args:
        context: of the kubeconfig; "": its current one.
        environ: of the command.

    Raises:
        ClusterError: a kubeconfig is not there, or cannot be used; its login program gives no credential; there is
            none, and this is no pod.
    """
    paths = _kubeconfigs(kubeconfig, environ)
    if paths:
        return await _from_files(paths, context)
    if context:
        raise ClusterError(f"there is no kubeconfig that could have the context {clean(context, 100)}")
    try:
        configuration = in_cluster("the command")
    except ClusterError as error:
        message = "no cluster is known: there is no kubeconfig (--kubeconfig, KUBECONFIG, ~/.kube/config), and"
        raise ClusterError(f"{message} {error.message}") from error
    try:
        namespace = _OWN_NAMESPACE.read_text().strip()
    except OSError:
        namespace = ""
    return Configured(configuration, namespace or _DEFAULT_NAMESPACE, "the cluster of this pod")


def _kubeconfigs(kubeconfig: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """The files to read, in order. Of those that KUBECONFIG names some may be missing, as for kubectl."""
    if kubeconfig is not None:
        return [kubeconfig]
    if named := environ.get("KUBECONFIG", ""):
        paths = [Path(path).expanduser() for path in named.split(os.pathsep) if path]
        if not (found := [path for path in paths if path.exists()]):
            raise ClusterError(f"no file that KUBECONFIG names exists: {clean(named, 300)}")
        return found
    usual = Path(environ.get("HOME") or Path.home(), ".kube", "config")
    return [usual] if usual.exists() else []


async def _from_files(paths: list[Path], context: str) -> Configured:
    shown = clean(os.pathsep.join(map(str, paths)), 300)
    configuration = Configuration()
    said: list[str] = []
    try:
        for path in paths:
            if path.stat().st_size > KUBECONFIG_BYTES:
                raise ValueError(f"it has more than {KUBECONFIG_BYTES} bytes")
        async with asyncio.timeout(LOGIN_SECONDS):
            with _overheard(said):
                loader = await load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=os.pathsep.join(map(str, paths)),
                    context=context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
        chosen = loader.current_context
        # Certificates and keys are read when a client is made: what is wrong with them is said here.
        await ApiClient(configuration).close()  # type: ignore[no-untyped-call]
    except TimeoutError as error:
        message = f"the program that gives the credential did not end within {LOGIN_SECONDS:g} s"
        raise ClusterError(f"the kubeconfig {shown} cannot be used: {message}") from error
    except _UNREADABLE as error:
        ours = isinstance(error, TypeError | LookupError | AttributeError)
        reason = "it is no kubeconfig that can be understood" if ours else clean(str(error), 500)
        raise ClusterError(f"the kubeconfig {shown} cannot be used: {reason}") from error
    if said and not configuration.api_key and not configuration.cert_file:
        raise ClusterError(f"the kubeconfig {shown} gives no credential: {clean(said[-1], 500)}")
    if hasattr(loader, "exec_plugin_expiry"):

        async def renew(renewed: Configuration) -> None:
            await loader.load_from_exec_plugin()
            renewed.api_key["BearerToken"] = loader.token

        configuration.refresh_api_key_hook = renew  # type: ignore[assignment]
    namespace = chosen["context"].get("namespace")
    return Configured(
        configuration,
        namespace if isinstance(namespace, str) and namespace else _DEFAULT_NAMESPACE,
        f"context {clean(str(chosen['name']), 100)} of {shown}",
    )


@contextmanager
def _overheard(said: list[str]) -> Iterator[None]:
    """Takes what the client's reader of kubeconfigs logs: why a login program gave nothing is said nowhere else."""

    def take(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            said.append(record.getMessage())
        return False

    logger = logging.getLogger("kubernetes.aio.config.kube_config")
    logger.addFilter(take)
    try:
        yield
    finally:
        logger.removeFilter(take)


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
    return json.loads(await bounded_content(response, limit, what))


async def bounded_content(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    """All of an answer, whatever its status.

    Args:
        limit: bytes.
        what: it is, for messages.

    Raises:
        ValueError: it has more bytes than the limit.
    """
    content = await response.content.read(limit + 1)
    while len(content) <= limit and (more := await response.content.read(limit)):
        content += more
    if len(content) > limit:
        raise ValueError(f"{what} has more than {limit} bytes")
    return content
