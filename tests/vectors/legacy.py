"""What cosign 2 keeps in annotations: attestations and image signatures, by the small Sigstore of sigstore.py."""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from vectors import sigstore as made
from vectors.attestations import SUBJECT, compact

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
CHAIN = "dev.sigstore.cosign/chain"
BUNDLE = "dev.sigstore.cosign/bundle"
TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"


def simple_signing(digest: str = SUBJECT, kind: Any = "cosign container image signature", **more: Any) -> bytes:
    critical = {
        "identity": {"docker-reference": "registry.example/acme/web"},
        "image": {"docker-manifest-digest": digest},
        "type": kind,
    }
    return compact({"critical": critical, "optional": None, **more})


def logged(body: bytes) -> dict[str, Any]:
    """The annotation with the log entry, as a tree."""
    at = int(made.AT.timestamp())
    return {
        "SignedEntryTimestamp": made.b64(made.promise(body, at)),
        "Payload": {
            "body": made.b64(body),
            "integratedTime": at,
            "logIndex": 1005,
            "logID": made.LOG_ID.hex(),
        },
    }


def annotations(holder: made.Holder | None, body: bytes | None, **more: str) -> Mapping[str, str]:
    """Of a layer; ``body`` is that of its log entry."""
    found = {"predicateType": "unsigned", SIGNATURE: ""}
    if holder is not None:
        found[CERTIFICATE] = holder.pem.decode()
        found[CHAIN] = "".join(one.public_bytes(Encoding.PEM).decode() for one in holder.chain)
    if body is not None:
        found[BUNDLE] = json.dumps(logged(body))
    return {**found, **more}


def keyless_attestation(payload: bytes) -> tuple[bytes, Mapping[str, str]]:
    """As ``cosign attest`` wrote it: the layer's content and annotations."""
    holder = made.leaf()
    one = made.made_by(holder, payload)
    return compact(made.envelope(payload, one.signature)), annotations(holder, made.dsse(one))


def keyless_signature(payload: bytes) -> tuple[bytes, Mapping[str, str]]:
    """As ``cosign sign`` wrote it."""
    holder = made.leaf()
    signature = made.sign(holder.key, payload)
    one = made.Made(payload, signature, None, holder.pem, holder.der)
    return payload, annotations(holder, made.hashedrekord(one), **{SIGNATURE: made.b64(signature)})
