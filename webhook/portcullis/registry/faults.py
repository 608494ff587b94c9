"""What goes wrong between here and a registry, as a RegistryError that names the host and what was asked for."""

import contextlib
import os
import ssl
from collections.abc import Iterator

import aiohttp
from yarl import URL

from portcullis.errors import Malformed, NotAllowed, RegistryError, Unreachable
from portcullis.registry.addresses import AddressRefused
from portcullis.text import clean


class Passing(Exception):
    """A fault that may be over at the next attempt; it never leaves this package.

    Args:
        error: what it is where there is no next attempt.
        wait: seconds that the host asked for (Retry-After), None where it did not say.
    """

    def __init__(self, error: RegistryError, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait = wait


@contextlib.contextmanager
def translated(where: str, what: str, *, proxy: str, connect: str, answer: str, stream: bool) -> Iterator[None]:
    """Every error of aiohttp as a RegistryError, or as a Passing one.

    Args:
        where: host and port.
        proxy: the proxy's host and port, "" where there is none.
        connect, answer: the limits that end a connection attempt and the wait for bytes, as messages name them.
        stream: the body is a blob that is streamed, so that a stall may be over at the next attempt.
    """
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
        raise _unconnected(error, where, what, proxy, connect) from error
    except aiohttp.ClientPayloadError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, aiohttp.ClientError):
            raise Passing(Unreachable(f"the connection to {where} broke while {what} was read")) from error
        raise Passing(Malformed(f"{where} ended {what} early, or sent it garbled")) from error
    except (aiohttp.InvalidURL, UnicodeError) as error:  # a label of more than 63 characters, say
        raise NotAllowed(f"{where} is no host that can be asked for {what}") from error
    except TimeoutError as error:
        late = Unreachable(f"{where} did not answer in time, within {answer}, asked for {what}")
        raise (Passing(late) if stream else late) from error
    except (aiohttp.ClientConnectionError, ConnectionError, ssl.SSLError) as error:
        raise Passing(Unreachable(f"{where} broke the connection, asked for {what}")) from error
    except (aiohttp.ClientError, aiohttp.http.HttpProcessingError) as error:
        raise Malformed(f"{where} answered what is no HTTP, asked for {what}") from error


def _unconnected(error: Exception, where: str, what: str, proxy: str, connect: str) -> Exception:
    """Why there is no connection. None of it passes within seconds, but for what a proxy says of its own way."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _refused_by_proxy(error, where, what, proxy)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable(f"{where} has a certificate that is not trusted: {_brief(error.certificate_error)}")
    if isinstance(error, aiohttp.ClientSSLError):
        return Unreachable(f"{where} cannot be spoken to over TLS: {_brief(error.os_error)}")
    host = f"the proxy {proxy}" if proxy else where
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreachable(f"the name {proxy or where} cannot be resolved: {_brief(error.os_error)}")
    if not isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(f"no connection to {host} within {connect}")
    if isinstance(error.os_error, AddressRefused):
        return NotAllowed(
            f"{where} has the address {error.os_error.address}, which is not public, and the host is not configured as "
            "private (registries.hosts)"
        )
    return Unreachable(f"no connection to {host}: {_brief(error.os_error)}")


def shown(url: URL) -> str:
    """Host and port of a URL. Never more of it: the query of a redirect may hold a signature that grants access, and
    a proxy's address a password."""
    return clean(url.host_port_subcomponent or "", 100)


def _refused_by_proxy(error: aiohttp.ClientHttpProxyError, where: str, what: str, proxy: str) -> Exception:
    if error.status == 407:
        return Unreachable(f"the proxy {proxy} wants another credential (HTTP 407), asked for {where}")
    refused = Unreachable(f"the proxy {proxy} gives no way to {where} (HTTP {error.status}), asked for {what}")
    return Passing(refused) if error.status in {502, 503, 504} else refused


def _brief(error: object) -> str:
    """What went wrong, without numbers and places in the source that mean nothing to who reads a refusal."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return clean(error.verify_message or str(error), 160)
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        known = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        return clean(known or str(error), 160)
    return clean(str(error), 160)
