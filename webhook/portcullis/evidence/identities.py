"""Configured keyless signers, as certificates are compared with them."""

from portcullis.errors import ConfigError
from portcullis.evidence.certificates import Identity
from portcullis.evidence.patterns import Pattern, PatternError
from portcullis.evidence.signers import KeylessSigner


class KnownIdentity:
    """A configured signer with its patterns read.

    Raises:
        ConfigError: one of them cannot be used; names the signer.
    """

    __slots__ = ("_identity", "_issuer", "configured")

    def __init__(self, configured: KeylessSigner) -> None:
        self.configured = configured
        self._identity = _pattern(configured.identity, "identity", configured)
        self._issuer = _pattern(configured.issuer, "issuer", configured) if configured.issuer_is_pattern else None

    def is_named_by(self, identity: Identity) -> bool:
        """Whether a certificate's identity and issuer are this signer's, from first to last letter. One without an
        issuer is that of a signer that is configured with none."""
        if self._issuer is None:
            issued = identity.issuer == self.configured.issuer
        else:
            issued = self._issuer.matches(identity.issuer)
        return issued and self._identity.matches(identity.name)


def _pattern(text: str, what: str, signer: KeylessSigner) -> Pattern:
    try:
        return Pattern(text)
    except PatternError as error:
        raise ConfigError(f'signer "{signer.name}": the pattern of its {what} {error}') from None
