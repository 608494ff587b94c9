"""Configured signers: what the ``trust`` section says of each, before anything of it is parsed."""

from dataclasses import dataclass, field
from enum import StrEnum


class RsaPadding(StrEnum):
    """How signatures of an RSA key are padded (RFC 8017): one of the two, said by the operator."""

    PKCS1V15 = "pkcs1v15"
    PSS = "pss"


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A signer with a public key in PEM.

    Args:
        padding: of an RSA key's signatures; of no meaning for others.
        log_root: name of the trusted root whose transparency log must hold an entry for each signature; "" where none
            is asked for. The time of that entry is then a trusted one.
    """

    name: str
    public_key_pem: bytes = field(repr=False)
    padding: RsaPadding = RsaPadding.PKCS1V15
    log_root: str = ""


@dataclass(frozen=True, slots=True)
class KeylessSigner:
    """A signer with a short-lived certificate.

    Args:
        issuer: OpenID issuer, exactly.
        identity: regular expression that the whole identity (subject alternative name) must match.
        root: name of the trusted root that its certificate must lead to.
        issuer_is_pattern: whether ``issuer`` is a regular expression as well, for issuers with a tenant in them.
        set_only: whether an entry of the log counts that has a signed entry timestamp and no inclusion proof, as
            cosign's annotations and bundles of version 0.1 have.
    """

    name: str
    issuer: str
    identity: str
    root: str = "public"
    issuer_is_pattern: bool = False
    set_only: bool = True


@dataclass(frozen=True, slots=True)
class NotationSigner:
    """A signer of Notation (notaryproject/specifications, trust-store-trust-policy.md).

    Args:
        certificates_pem: the trust store: CA certificates, or signing certificates themselves.
        identities: distinguished names of which the leaf's subject must have all attributes of one
            (``x509.subject: C=US, ST=WA, O=acme``); ``*`` alone means any.
        timestamp_pem: CA certificates for time-stamps; b"" where none count.
        signing_authority: whether the trust store is one of signing authorities, whose own word on the time of signing
            counts (scheme ``notary.x509.signingAuthority``). Others sign by the scheme ``notary.x509``.
    """

    name: str
    certificates_pem: bytes = field(repr=False)
    identities: tuple[str, ...] = ("*",)
    timestamp_pem: bytes = field(default=b"", repr=False)
    signing_authority: bool = False


ConfiguredSigner = SignerKey | KeylessSigner | NotationSigner


@dataclass(frozen=True, slots=True)
class RootSource:
    """A trusted root (sigstore/protobuf-specs, ``sigstore_trustroot.proto``): ``content`` is its JSON, a
    trusted_root.json or a client trust config; None for the public one that is built in."""

    name: str
    content: bytes | None = field(default=None, repr=False)
