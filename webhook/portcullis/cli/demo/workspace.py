"""The folder of one demo: keys, configuration, certificate, database, log. It goes when the demo goes."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.cli.demo.samples import CI, PRODUCT, STRANGER

_HEADER = "# Written by `portcullis demo` for this run. docs/operators.md describes every key.\n"


@dataclass(frozen=True, slots=True)
class Workspace:
    """``config`` is what ``portcullis serve`` reads; ``keys`` sign attestations, two of them trusted."""

    folder: Path
    webhook_port: int
    health_port: int
    pages_port: int
    segment: str
    keys: Mapping[str, ec.EllipticCurvePrivateKey]

    @property
    def config(self) -> Path:
        return self.folder / "portcullis.yaml"

    @property
    def log(self) -> Path:
        return self.folder / "portcullis.log"

    @property
    def ca_file(self) -> Path:
        return self.folder / "tls" / "ca.crt"

    @property
    def webhook_url(self) -> str:
        return f"https://localhost:{self.webhook_port}/{self.segment}/validate"

    @property
    def health_url(self) -> str:
        return f"http://127.0.0.1:{self.health_port}"

    @property
    def pages_url(self) -> str:
        return f"http://localhost:{self.pages_port}"


def prepare(folder: Path, *, registry: str, down: str, ports: tuple[int, int, int]) -> Workspace:
    """Makes the keys and writes the configuration.

    Args:
        registry: ``127.0.0.1:PORT`` of the registry with the samples.
        down: the same of one that nobody serves.
        ports: of the webhook, of its health, and of the audit pages.
    """
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in (CI, PRODUCT, STRANGER)}
    workspace = Workspace(folder, *ports, segment=secrets.token_urlsafe(24), keys=keys)
    for name in (CI, PRODUCT):
        (folder / f"{name}.pub").write_bytes(_pem(keys[name]))
    settings = _settings(workspace, registry, down)
    workspace.config.write_text(_HEADER + yaml.safe_dump(settings, sort_keys=False), "utf-8")
    workspace.config.chmod(0o600)  # it holds the path segment
    return workspace


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _settings(workspace: Workspace, registry: str, down: str) -> dict[str, Any]:
    loopback = {"insecure": True, "private": True}
    return {
        "server": {
            "address": "127.0.0.1",
            "port": workspace.webhook_port,
            "pathSegment": workspace.segment,
            "healthAddress": "127.0.0.1",
            "healthPort": workspace.health_port,
            "tls": {"selfManaged": {"directory": "tls"}},
            "stopDelaySeconds": 0,
        },
        "registries": {"allowed": [registry, down], "hosts": {registry: loopback, down: loopback}},
        "trust": {
            "signers": {name: {"key": {"file": f"{name}.pub"}} for name in (CI, PRODUCT)},
            "rules": [
                {
                    "images": [f"{registry}/acme/**"],
                    "accept": [
                        {"predicates": ["vulnerability"], "signers": [CI]},
                        {"predicates": ["vex"], "signers": [PRODUCT], "maxAgeHours": 720},
                    ],
                }
            ],
        },
        "policies": {
            "modes": {"image-pinned": "warn"},
            "parameters": {
                "image-source": {"allow": [f"{registry}/acme/**", f"{down}/acme/**"]},
                "scan-fresh": {"maxAgeHours": 168},
            },
        },
        "audit": {"database": "sqlite:///audit.db", "pages": {"port": workspace.pages_port}},
    }
