"""A certificate for the webhook from somebody else than the gate, as a Secret."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import trustme

from e2e.cluster.gate import NAMESPACE, RELEASE

TLS = "gate-tls"


class Issuer:
    """A CA of its own."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    @property
    def values(self) -> dict[str, Any]:
        """What the chart is told."""
        bundle = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        return {"existingSecret": TLS, "caBundle": bundle}

    def secret(self, life: timedelta = timedelta(hours=1)) -> dict[str, Any]:
        """With a certificate that is good for so long."""
        leaf = self._authority.issue_cert(f"{RELEASE}.{NAMESPACE}.svc", not_after=datetime.now(UTC) + life)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        pair = {"tls.crt": chain, "tls.key": leaf.private_key_pem.bytes()}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": TLS, "namespace": NAMESPACE},
            "data": {name: base64.b64encode(content).decode() for name, content in pair.items()},
        }
