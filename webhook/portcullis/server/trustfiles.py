"""The files that the section ``trust`` names: keys, certificates, trusted roots."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.server.files import read_small
from portcullis.server.trustsections import NotationSource, SignerKeySource, TrustSection


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """``pems`` by signer (a key, or certificates of Notation), ``timestamps`` of those that have any, ``roots`` by
    name, without those that are built in."""

    pems: Mapping[str, str]
    timestamps: Mapping[str, str]
    roots: Mapping[str, str]


def read_trust_files(trust: TrustSection, limits: Limits) -> TrustFiles:
    """All of them, read.

    Raises:
        ConfigError: one cannot be read or is over a limit, or a key lies in a Secret, which nobody has fetched.
    """
    pems: dict[str, str] = {}
    timestamps: dict[str, str] = {}
    for name, signer in trust.signers.items():
        if signer.key is not None:
            pems[name] = _key(signer.key, f"trust.signers.{name}.key")
        if signer.notation is not None:
            pems[name] = _certificates(signer.notation, f"trust.signers.{name}.notation", limits)
            if signer.notation.timestamp_file is not None:
                where = f"trust.signers.{name}.notation.timestampFile"
                timestamps[name] = read_small(signer.notation.timestamp_file, where, limits.certificate_bytes)
    if len(trust.roots) > limits.trusted_roots:
        raise ConfigError(f"trust.roots has {len(trust.roots)}; the limit trustedRoots is {limits.trusted_roots}")
    roots = {
        name: read_small(root.file, f"trust.roots.{name}.file", limits.trusted_root_bytes)
        for name, root in trust.roots.items()
        if root.file is not None
    }
    return TrustFiles(MappingProxyType(pems), MappingProxyType(timestamps), MappingProxyType(roots))


def _key(source: SignerKeySource, where: str) -> str:
    if source.secret is not None:
        raise ConfigError(f"{where}.secret: Secret {source.secret.name} can be read in a cluster only")
    return source.pem or read_small(source.file, f"{where}.file")


def _certificates(source: NotationSource, where: str, limits: Limits) -> str:
    return source.pem or read_small(source.file, f"{where}.file", limits.certificate_bytes)
