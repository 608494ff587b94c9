"""Makes the guard's parts, as the configuration says."""

import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.ports import Clock
from portcullis.server.files import read_small
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.access import Access
from portcullis.server.review.accesslogin import Login
from portcullis.server.review.accessorigin import Origins
from portcullis.server.review.accessproxy import Proxy
from portcullis.server.review.accessrights import Reviews, Rights
from portcullis.server.review.csrf import Csrf
from portcullis.server.review.sessions import Sealer
from portcullis.server.settings import Settings
from portcullis.server.tls import ServerTls, files_source

_KEY_BYTES = 32
_KEY = "audit.pages.tokens.sessionKeyFile"

Names = Callable[[], Collection[str]]
"""Namespaces that there are. Raises ClusterError while they are not known."""


@asynccontextmanager
async def access_to_pages(
    settings: Settings, *, namespaces: Names | None, clock: Clock, limits: Limits
) -> AsyncIterator[Access]:
    """What :func:`portcullis.server.review.access.guard` takes.

    Args:
        namespaces: None where none are watched.

    Raises:
        ConfigError: a file cannot be used, or the API server is to be asked and there is none.
        ClusterError: this is no pod, or its service account is not mounted.
    """
    section = settings.audit.pages
    async with AsyncExitStack() as stack:
        reviews = None
        if section.reviewed:
            if settings.cluster.webhook is None or namespaces is None:
                raise ConfigError(
                    "audit.pages asks the API server what readers may see: that needs cluster.webhook, which says that "
                    "there is a cluster, and cluster.watch.namespaces"
                )
            # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
            from portcullis.cluster.reviews import access_reviews

            reviews = await stack.enter_async_context(access_reviews())
        yield access_of(section, reviews=reviews, namespaces=namespaces or tuple, clock=clock, limits=limits)


def access_of(
    section: PagesSection, *, reviews: Reviews | None, namespaces: Names, clock: Clock, limits: Limits
) -> Access:
    """The same over given reviews.

    Raises:
        ConfigError: a file cannot be used.
    """
    tokens = section.tokens
    secret = _session_secret(section)
    rights = None
    if reviews is not None:
        rights = Rights(reviews=reviews, namespaces=namespaces, clock=clock, limits=limits)
    login = None
    if tokens is not None:
        assert rights is not None
        login = Login(
            tokens,
            rights=rights,
            sealer=Sealer(secret),
            secure=section.tls is not None,
            clock=clock,
            limits=limits,
        )
    return Access(
        origins=Origins(section.allowed_hosts),
        csrf=Csrf(secret=secret, clock=clock),
        limits=limits,
        proxy=Proxy(section.proxy) if section.proxy is not None else None,
        login=login,
        rights=rights,
    )


def tls_of_pages(section: PagesSection, *, webhook: ServerTls, clock: Clock) -> ServerTls | None:
    """The TLS of the pages' port: None for plain HTTP; ``webhook`` itself, which somebody follows already; or one of
    its own, which the caller has to follow (:meth:`ServerTls.watch`).

    Raises:
        ConfigError: there is no usable pair.
    """
    tls = section.tls
    if tls is None:
        return None
    if tls.webhook:
        return webhook
    assert tls.cert_file is not None
    assert tls.key_file is not None
    return ServerTls(source=files_source(tls.cert_file, tls.key_file, "audit.pages.tls"), clock=clock)


def _session_secret(section: PagesSection) -> bytes:
    file = section.tokens.session_key_file if section.tokens is not None else None
    if file is None:
        return os.urandom(_KEY_BYTES)
    secret = read_small(file, _KEY).strip().encode()
    if len(secret) < _KEY_BYTES:
        raise ConfigError(f"{_KEY}: {file} has fewer than {_KEY_BYTES} characters: openssl rand -hex 32 makes enough")
    return secret
