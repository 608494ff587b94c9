"""A key of each kind, and the ways in which it could sign: those that are taken, and others."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric import padding as schemes

from portcullis.evidence.signers import RsaPadding

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)

KINDS: dict[str, Private] = {"P-256": P256, "P-384": P384, "P-521": P521, "Ed25519": ED25519, "RSA": RSA}

_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()


@dataclass(frozen=True, slots=True)
class Way:
    """How ``key`` signs. ``padding`` is what the signer is configured with, ``by`` what is signed with; ``taken``
    whether the signature counts."""

    name: str
    key: Private = field(repr=False)
    hash: hashes.HashAlgorithm | None
    taken: bool
    padding: RsaPadding = RsaPadding.PKCS1V15
    by: schemes.AsymmetricPadding | None = None

    def __str__(self) -> str:
        return self.name

    def sign(self, message: bytes) -> bytes:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            digest = hashes.Hash(self.hash) if self.hash else None
            if digest is None:
                return self.key.sign(message)
            digest.update(message)
            return self.key.sign(digest.finalize())
        assert self.hash is not None
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(self.hash))
        return self.key.sign(message, self.by or schemes.PKCS1v15(), self.hash)


def _pss(algorithm: hashes.HashAlgorithm, salt: int, mask: hashes.HashAlgorithm | None = None) -> schemes.PSS:
    return schemes.PSS(mgf=schemes.MGF1(mask or algorithm), salt_length=salt)


WAYS = (
    Way("P-256 with SHA-256", P256, _SHA256, taken=True),
    Way("P-256 with SHA-384", P256, _SHA384, taken=False),
    Way("P-384 with SHA-384", P384, _SHA384, taken=True),
    Way("P-384 with SHA-256", P384, _SHA256, taken=True),
    Way("P-384 with SHA-512", P384, _SHA512, taken=False),
    Way("P-521 with SHA-512", P521, _SHA512, taken=True),
    Way("P-521 with SHA-256", P521, _SHA256, taken=True),
    Way("P-521 with SHA-384", P521, _SHA384, taken=False),
    Way("Ed25519", ED25519, None, taken=True),
    Way("Ed25519 over a hash", ED25519, _SHA512, taken=False),
    Way("RSA, PKCS #1", RSA, _SHA256, taken=True),
    Way("RSA, PKCS #1, SHA-512", RSA, _SHA512, taken=False),
    Way("RSA, PSS where PKCS #1 is configured", RSA, _SHA256, taken=False, by=_pss(_SHA256, 32)),
    Way("RSA, PKCS #1 where PSS is configured", RSA, _SHA256, taken=False, padding=RsaPadding.PSS),
    Way("RSA, PSS", RSA, _SHA256, taken=True, padding=RsaPadding.PSS, by=_pss(_SHA256, 32)),
    Way("RSA, PSS, long salt", RSA, _SHA256, taken=True, padding=RsaPadding.PSS, by=_pss(_SHA256, 222)),
    Way("RSA, PSS, SHA-512", RSA, _SHA512, taken=False, padding=RsaPadding.PSS, by=_pss(_SHA512, 64)),
    Way("RSA, PSS, other mask", RSA, _SHA256, taken=False, padding=RsaPadding.PSS, by=_pss(_SHA256, 32, _SHA512)),
)
