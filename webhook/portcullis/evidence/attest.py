"""Makes attestations as cosign does: a statement, signed as DSSE, in a Sigstore bundle v0.3 without a log entry."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from portcullis.errors import ConfigError
from portcullis.evidence.bundle import BUNDLE_MEDIA_TYPE
from portcullis.evidence.decode import parse_object
from portcullis.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, sign
from portcullis.evidence.keys import PrivateKey, fingerprint
from portcullis.evidence.predicates import LINT_V1
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import RsaPadding
from portcullis.evidence.statement import COSIGN_VULN, STATEMENT_V0_1
from portcullis.limits import Limits
from portcullis.model.image import Digest
from portcullis.model.json import JSONObject
from portcullis.times import rfc3339

PREDICATE_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "vuln": COSIGN_VULN,
        "cyclonedx": "https://cyclonedx.org/bom",
        "spdxjson": "https://spdx.dev/Document",
        "openvex": "https://openvex.dev/ns",
        "slsaprovenance": "https://slsa.dev/provenance/v0.2",
        "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
        "slsaprovenance1": "https://slsa.dev/provenance/v1",
        "lint": LINT_V1,
    }
)
"""Short names as ``cosign attest --type`` takes them, and ``lint``, for which it has none."""


def attest(
    *,
    predicate: JSONObject,
    predicate_type: str,
    subject: Digest,
    name: str,
    key: PrivateKey,
    padding: RsaPadding = RsaPadding.PKCS1V15,
) -> bytes:
    """A signed statement that ``predicate`` is so of the image ``subject``.

    Args:
        predicate: any JSON object.
        predicate_type: its type URI, or a short name of :data:`PREDICATE_TYPES`.
        subject: the image's digest.
        name: what the subject is called, for people: ``registry/repository``.
        key: signs, with the hash that goes with it (keys.py).
        padding: of an RSA key's signature.

    Returns:
        A Sigstore bundle v0.3 as JSON (media type :data:`~portcullis.evidence.bundle.BUNDLE_MEDIA_TYPE`).

    Raises:
        ConfigError: the predicate cannot be written as JSON.
    """
    # Statement v0.1 is what cosign writes still (v2 and v3), so whatever reads cosign's reads ours.
    payload = _json(
        {
            "_type": STATEMENT_V0_1,
            "predicateType": PREDICATE_TYPES.get(predicate_type, predicate_type),
            "subject": [{"name": name, "digest": {subject.algorithm: subject.hex}}],
            "predicate": predicate,
        }
    )
    hint = fingerprint(key.public_key())
    return _json(
        {
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": sign_envelope(payload, key=key, keyid=hint, padding=padding),
        }
    )


def sign_envelope(
    payload: bytes,
    *,
    key: PrivateKey,
    keyid: str = "",
    payload_type: str = IN_TOTO_PAYLOAD_TYPE,
    padding: RsaPadding = RsaPadding.PKCS1V15,
) -> JSONObject:
    """A DSSE envelope over ``payload`` with one signature, as a JSON tree."""
    signature = sign(payload_type, payload, key, padding)
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode("ascii")}],
    }


def vuln_predicate(
    result: JSONObject, *, started: datetime, finished: datetime, scanner_uri: str = "", scanner_version: str = ""
) -> JSONObject:
    """Cosign's vulnerability predicate around a scanner's report. Times have a zone."""
    return {
        "invocation": {"parameters": None, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": scanner_uri,
            "version": scanner_version,
            "db": {"uri": "", "version": ""},
            "result": result,
        },
        "metadata": {"scanStartedOn": rfc3339(started), "scanFinishedOn": rfc3339(finished)},
    }


def lint_predicate(
    report: Any, *, tool: str, version: str, linted: datetime | None = None, dockerfile: str = ""
) -> JSONObject:
    """A linter's report on a Dockerfile, in an object: the report of Hadolint is a list, which no predicate may be.

    Args:
        report: as the linter wrote it: Hadolint's JSON, or SARIF.
        tool, version: what made it; the report itself may not say.
        linted: when, with a zone.
        dockerfile: SHA-256 of the Dockerfile, in hex; "" where it is not known.
    """
    return {
        "tool": {"name": tool, "version": version},
        **({} if linted is None else {"lintedOn": rfc3339(linted)}),
        **({"dockerfile": {"sha256": dockerfile}} if dockerfile else {}),
        "report": report,
    }


def read_predicate(content: bytes, limits: Limits) -> JSONObject:
    """A predicate from a file, read as strictly as it will be verified.

    Raises:
        ConfigError: it is no strict JSON object, or over a limit.
    """
    if len(content) > limits.attestation_bytes:
        raise ConfigError(f"the predicate has {len(content)} bytes; the limit is {limits.attestation_bytes}")
    try:
        return parse_object(content, limits=limits, what="the predicate")
    except EvidenceError as error:
        raise ConfigError(error.message) from None


def _json(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the predicate cannot be written as JSON: {error}") from None
