"""A second opinion on keyless bundles: sigstore-python's own verifier, for the one shape that it can verify.

It judges in its own code from its own reading of the same bytes, after the proof of keyless.py has held; both must
agree. It reads what most bundles are: one Fulcio certificate for a P-256 key, one log entry with an inclusion proof, a
root with logs and certificate logs. It is not asked:

- about other shapes, which it refuses whatever they are worth: keys, chains, entries without proof or of kind intoto,
  other curves and RSA, roots without logs, time-stamps where the root has no authority for them;
- about a time-stamp of the last moment of its authority's window, which it counts as outside of it, against
  sigstore_trustroot.proto;
- about bundles of more than 128 KiB. It builds an object of its own for each, which takes longer than the whole proof
  and grows with the payload, and the payload is not what its judgement is sought about.

The package takes a third of a second to import: it is imported where a verifier for keyless signers is made.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.evidence.material import Material
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.roots import TRUSTED_ROOT_MEDIA_TYPE, TrustedRoot
from portcullis.evidence.signed import PublicKey, Signed
from portcullis.text import clean

if TYPE_CHECKING:
    from sigstore.verify import Verifier

_MAX_BYTES = 128 * 1024
_KINDS_OF_ENVELOPES = frozenset({("dsse", "0.0.1"), ("hashedrekord", "0.0.2")})
_KINDS_OF_MESSAGES = frozenset({("hashedrekord", "0.0.1"), ("hashedrekord", "0.0.2")})
_WHY_CHARS = 200


class _SameCertificate:
    """The policy that the library is given: that it has judged the certificate that we have. Who may sign is decided
    by the configured signers, by patterns that the library's own policies do not know."""

    def __init__(self, leaf: x509.Certificate) -> None:
        self._leaf = leaf

    def verify(self, cert: x509.Certificate) -> None:
        from sigstore.errors import VerificationError

        if cert != self._leaf:
            raise VerificationError("the bundle has another signing certificate")


class SecondOpinion:
    """sigstore-python with one trusted root, offline."""

    def __init__(self, root: TrustedRoot) -> None:
        self._root = root
        self._verifier = _library_verifier(root)

    def is_sought(self, material: Material, key: PublicKey, stamped: Sequence[datetime]) -> bool:
        """Whether the library can judge ``material``, whose certificate is for ``key`` and whose time-stamps, as far
        as they hold, are ``stamped``."""
        if self._verifier is None or not 0 < len(material.bundle) <= _MAX_BYTES:
            return False
        kinds = _KINDS_OF_MESSAGES if material.envelope is None else _KINDS_OF_ENVELOPES
        ends = {authority.window.end for authority in self._root.stampers}
        return (
            len(material.certificates) == 1
            and isinstance(key, ec.EllipticCurvePublicKey)
            and key.curve.name == "secp256r1"
            and len(material.entries) == 1
            and material.entries[0].proof is not None
            and (material.entries[0].kind, material.entries[0].version) in kinds
            and (not material.timestamps or bool(self._root.stampers))
            and not any(moment in ends for moment in stamped)
        )

    def confirm(self, material: Material, leaf: x509.Certificate, signed: Signed) -> None:
        """That the library comes to the same verdict.

        Raises:
            EvidenceError: it refuses the bundle (attestation-invalid).
        """
        from sigstore.hashes import Hashed
        from sigstore.models import Bundle

        verifier = self._verifier
        assert verifier is not None, "is_sought was not asked"
        policy = _SameCertificate(leaf)
        try:
            bundle = Bundle.from_json(material.bundle)
            if material.envelope is None:
                digest = signed.digest("sha256")
                assert digest is not None
                hashed = Hashed.model_validate({"algorithm": "SHA2_256", "digest": digest})
                verifier.verify_artifact(hashed, bundle, policy)
                return
            said = verifier.verify_dsse(bundle, policy)
        except Exception as error:  # noqa: BLE001  (it raises what it likes, TypeError included)
            raise EvidenceError(f"sigstore-python refuses the bundle: {clean(str(error), _WHY_CHARS)}") from None
        if said != (material.envelope.payload_type, material.envelope.payload):
            raise EvidenceError("sigstore-python reads another payload from the bundle")


def _library_verifier(root: TrustedRoot) -> "Verifier | None":
    """None for a root that the library cannot use: one without logs, without certificate logs, or of newer kinds."""
    from sigstore.models import ClientTrustConfig
    from sigstore.verify import Verifier

    if not root.logs or not root.ct_logs or not root.authorities:
        return None
    try:
        # The library reads the fields of version 0.1, which later versions have as well.
        plain = {**json.loads(root.text), "mediaType": TRUSTED_ROOT_MEDIA_TYPE}
        config = json.dumps({"mediaType": _CONFIG, "trustedRoot": plain, "signingConfig": _NO_SERVICES})
        return Verifier(trusted_root=ClientTrustConfig.from_json(config).trusted_root)
    except Exception:  # noqa: BLE001  (what it cannot use it is not asked about)
        return None


# A client trust config is the form in which the library takes a root as text; it does not sign here.
_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_NO_SERVICES: dict[str, Any] = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "caUrls": [],
    "oidcUrls": [],
    "rekorTlogUrls": [],
    "rekorTlogConfig": {"selector": "ANY"},
    "tsaUrls": [],
    "tsaConfig": {"selector": "ANY"},
}
