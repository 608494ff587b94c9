"""Which OPA serves the policies: one of ours, or the one that the operator names."""

import functools
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from portcullis.errors import ConfigError, EngineUnavailable
from portcullis.limits import Limits
from portcullis.policy.client import Destination
from portcullis.policy.inventory import Inventory
from portcullis.policy.opa import OpaEngine
from portcullis.policy.remote import RemoteOpa
from portcullis.policy.serving import Serving
from portcullis.policy.supervisor import OpaSupervisor
from portcullis.server.files import read_small
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics

TOKEN_SECONDS = 5.0
"""How long a token that was read is used: those of Kubernetes are renewed minutes before they end."""

_UNIX = "unix://"


def serving_of(settings: Settings, limits: Limits, inventory: Inventory | None = None) -> Serving:
    """The OPA of the configuration; nothing is started or asked yet.

    Raises:
        ConfigError: a file of the section ``opa`` cannot be used.
    """
    section = settings.opa
    if not section.address:
        return OpaSupervisor(binary=section.binary, limits=limits, inventory=inventory)
    headers = _Token(section.token_file).headers if section.token_file is not None else dict
    if section.address.startswith(_UNIX):
        socket = Path(section.address.removeprefix(_UNIX))
        destination = functools.partial(Destination, socket=socket, headers=headers)
    else:
        destination = functools.partial(_over_network, section.address, section.ca_file, headers)
    _proven(destination)
    return RemoteOpa(
        destination=destination, name=section.address, binary=section.binary, limits=limits, inventory=inventory
    )


def _proven(destination: Callable[[], Destination]) -> None:
    try:
        destination().headers()
    except EngineUnavailable as error:
        raise ConfigError(error.message) from error


def _over_network(address: str, ca_file: Path | None, headers: Callable[[], Mapping[str, str]]) -> Destination:
    """Raises EngineUnavailable where the authorities cannot be read."""
    if address.startswith("http:"):
        return Destination(base=address, headers=headers)
    try:
        pem = read_small(ca_file, "opa.caFile") if ca_file is not None else None
        if pem is not None and not pem.strip():
            raise ValueError("nothing, which would mean the authorities of the system")
        return Destination(base=address, tls=ssl.create_default_context(cadata=pem), headers=headers)
    except ConfigError as error:
        raise EngineUnavailable(error.message) from error
    except (ssl.SSLError, ValueError) as error:
        raise EngineUnavailable(f"opa.caFile: {ca_file} holds no certificate in PEM") from error


class _Token:
    """A bearer token in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._headers: Mapping[str, str] = {}
        self._read_at = -TOKEN_SECONDS

    def headers(self) -> Mapping[str, str]:
        """Raises EngineUnavailable where the file cannot be read, or holds no token."""
        if time.monotonic() - self._read_at >= TOKEN_SECONDS:
            try:
                token = read_small(self._path, "opa.tokenFile").strip()
            except ConfigError as error:
                raise EngineUnavailable(error.message) from error
            if not token or not token.isascii() or not token.isprintable() or " " in token:
                raise EngineUnavailable(f"opa.tokenFile: {self._path} holds no token")
            self._headers = {"Authorization": f"Bearer {token}"}
            self._read_at = time.monotonic()
        return self._headers


def observe_engine(engine: OpaEngine, metrics: Metrics) -> None:
    """Binds metrics to what is asked of OPA; they are read when Prometheus asks."""
    metrics.count_by(
        "opa_evaluations", "Evaluations of policies by how they ended.", "outcome", lambda: engine.evaluations
    )
    metrics.time_by("opa_evaluation_seconds", "Of these evaluations.", "", lambda: {"": engine.seconds})
    metrics.gauge("opa_waiting", "Questions that wait until OPA has room for them.").set_function(
        lambda: float(engine.waiting)
    )
