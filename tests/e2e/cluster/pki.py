"""Certificates and kubeconfigs of one throw-away cluster."""

from dataclasses import dataclass
from pathlib import Path

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PERSON = "jane@acme.example"
"""Administrator, and a person: no user name of Kubernetes' own begins like this."""


@dataclass(frozen=True, slots=True)
class Pki:
    """Files of the cluster's CA, the API server's certificate, and the key of service account tokens."""

    folder: Path
    authority: trustme.CA

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def server(self) -> tuple[Path, Path]:
        return self.folder / "server.crt", self.folder / "server.key"

    @property
    def token_key(self) -> Path:
        return self.folder / "tokens.key"

    def client(self, user: str, group: str | None = None) -> tuple[Path, Path]:
        """Certificate and key of a user (subject CN) in a group (O)."""
        name = user.replace(":", "-").replace("@", "-")
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        if not key.exists():
            # A name that nobody has: without any, trustme writes an empty critical extension, which Go refuses.
            leaf = self.authority.issue_cert("client.invalid", common_name=user, organization_name=group)
            certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
            key.write_bytes(leaf.private_key_pem.bytes())
        return certificate, key

    def kubeconfig(self, server: str, user: str, group: str | None = None) -> Path:
        certificate, key = self.client(user, group)
        path = self.folder / f"{certificate.stem}.kubeconfig"
        tls = {"client-certificate": str(certificate), "client-key": str(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority": str(self.ca)}}],
            "users": [{"name": user, "user": tls}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
            "current-context": "e2e",
        }
        path.write_text(yaml.safe_dump(document))
        return path


def make_pki(folder: Path) -> Pki:
    folder.mkdir()
    pki = Pki(folder, trustme.CA(key_type=trustme.KeyType.ECDSA))
    pki.authority.cert_pem.write_to_path(pki.ca)
    names = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1")
    leaf = pki.authority.issue_cert(*names)
    certificate, key = pki.server
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    tokens = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    pki.token_key.write_bytes(
        tokens.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pki
