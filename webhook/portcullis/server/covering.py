"""Whether the API server would take the certificate that is served (design rule 14): a handshake in memory, with the
CA bundle of the webhook configuration on the one side and what is served on the other, by the name that the API server
expects. So chain, name and time are all looked at, as a client does.
"""

import ssl
from collections.abc import Mapping
from typing import Final

from portcullis.text import clean

_SHOWN: Final = 200
_ROUNDS: Final = 10


def distrust(context: ssl.SSLContext, ca_bundle: bytes, host: str) -> str:
    """Why a client that trusts ``ca_bundle`` alone refuses what ``context`` serves to who asks for ``host``.

    Args:
        ca_bundle: PEM.

    Returns:
        One sentence; "" if it is taken.
    """
    try:
        client = ssl.create_default_context(cadata=ca_bundle.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return "the CA bundle of the webhook configuration holds no certificate in PEM"
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        ours = client.wrap_bio(to_client, to_server, server_hostname=host)
        theirs = context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(_ROUNDS):
            if all([_stepped(ours), _stepped(theirs)]):
                return ""
    except ssl.SSLCertVerificationError as error:
        return f"the API server would not take the certificate as {host}: {clean(error.verify_message, _SHOWN)}"
    except (ssl.SSLError, ValueError) as error:
        return f"a handshake as the API server's fails: {clean(str(error), _SHOWN)}"
    return "a handshake as the API server's does not end"


def _stepped(side: ssl.SSLObject) -> bool:
    """Whether this side is through."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


class Coverage:
    """Looks again only where something changed.

    Args:
        context: what is served.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._seen: tuple[object, ...] = ()
        self.problem = ""

    def look(self, served: object, ca_bundles: Mapping[str, bytes], hosts: Mapping[str, str]) -> str:
        """What is wrong with the first webhook that does not fit, "" if all do. A webhook without CA bundle is left
        out: it trusts what the API server's machine trusts.

        Args:
            served: tells what is served now from what was.
            ca_bundles, hosts: by webhook.
        """
        seen = (served, tuple(ca_bundles.items()), tuple(hosts.items()))
        if seen != self._seen:
            pairs = {(bundle, hosts.get(webhook, "")) for webhook, bundle in ca_bundles.items()}
            found = (distrust(self._context, bundle, host) for bundle, host in sorted(pairs) if bundle and host)
            self._seen, self.problem = seen, next((problem for problem in found if problem), "")
        return self.problem
