"""How registries are reached: from the configuration to host rules, proxies and mirrors."""

import os
from collections.abc import Mapping

from portcullis.errors import ConfigError
from portcullis.registry.hosts import HostRules
from portcullis.registry.mirrors import Mirror, Mirrors
from portcullis.registry.proxy import Proxies, Proxy, environment_proxies, parse_exempt, parse_proxy, with_credential
from portcullis.server.files import read_small
from portcullis.server.sections import ProxySection
from portcullis.server.settings import Settings


def host_rules_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> HostRules:
    """Which registries may be asked, and how.

    Args:
        environment: where HTTPS_PROXY, HTTP_PROXY and NO_PROXY are looked for; they count where the configuration says
            nothing of proxies.

    Raises:
        ConfigError: a proxy cannot be used.
    """
    hosts = settings.registries.hosts
    section = settings.registries.proxy
    return HostRules(
        allowed=settings.registries.allowed,
        insecure=frozenset(host for host, entry in hosts.items() if entry.insecure),
        private=frozenset(host for host, entry in hosts.items() if entry.private),
        ca_files={host: entry.ca_file for host, entry in hosts.items() if entry.ca_file is not None},
        proxies=environment_proxies(environment) if section is None else _proxies_of(section),
    )


def mirrors_of(settings: Settings) -> Mirrors:
    """Where else images are read from.

    Raises:
        ConfigError: a mirror of a path has no path.
    """
    return Mirrors(
        {
            prefix: tuple(Mirror(entry.endpoint, entry.tags) for entry in listed)
            for prefix, listed in settings.registries.mirror_endpoints.items()
        }
    )


def named_hosts(settings: Settings) -> tuple[str, ...]:
    """The hosts of registries that the configuration names, each once, those that say most about it first."""
    registries, trust = settings.registries, settings.trust
    endpoints = [entry.endpoint for listed in registries.mirror_endpoints.values() for entry in listed]
    texts = [
        registries.default,
        *registries.hosts,
        *registries.allowed,
        *endpoints,
        *registries.mirrors,
        *(source.match for source in registries.credentials if source.match),
        *(source.repository for source in trust.repositories),
        *(images for rule in trust.rules for images in rule.images),
    ]
    hosts = (text.partition("/")[0] for text in texts)
    return tuple(dict.fromkeys(host for host in hosts if "*" not in host))


def _proxies_of(section: ProxySection) -> Proxies:
    credential = ""
    if section.password_file is not None:
        key = "registries.proxy.passwordFile"
        credential = read_small(section.password_file, key).removesuffix("\n").removesuffix("\r")
        if not credential:
            raise ConfigError(f"{key}: {section.password_file} is empty")

    def proxy(key: str, text: str) -> Proxy | None:
        if not text:
            return None
        found = parse_proxy(text, f"registries.proxy.{key}")
        if found.authorization:
            raise ConfigError(f"registries.proxy.{key} holds a credential: username and passwordFile are for that")
        return with_credential(found, section.username, credential) if section.username else found

    return Proxies(
        https=proxy("https", section.https), http=proxy("http", section.http), exempt=parse_exempt(section.no_proxy)
    )
