"""Credentials that clouds lend for their registries, each behind the Keychain port.

What they have in common: the identity is that of the program's surroundings (a role of the pod, a metadata server, a
key file); a credential is lent for hosts of that cloud only, compared label by label; it is kept until shortly before
its end; and the cloud's client is an extra of the package, imported where it is used.
"""

from types import ModuleType

from portcullis.errors import ConfigError
from portcullis.registry.hosts import split_host


def require(module: str, *, provider: str, extra: str) -> None:
    """Imports a cloud's client, so that a missing one is known at the start.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        _import(module)
    except ImportError as error:
        raise ConfigError(
            f"the provider {provider} needs {module.partition('.')[0]}, which is not installed: "
            f"pip install 'portcullis[{extra}]'"
        ) from error


def host_of(registry: str) -> str:
    """The host of a registry, in lower case, if it is served on the port of https; else "". A cloud serves its
    registries there, so another port is somebody else's."""
    host, port = split_host(registry)
    return host.removesuffix(".") if port in {None, 443} else ""


def _import(module: str) -> ModuleType:
    import importlib

    return importlib.import_module(module)
