"""Extensions of certificates, with whether they are critical."""

from cryptography import x509

Extension = tuple[x509.ExtensionType, bool]

_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*uses: str, critical: bool = True) -> Extension:
    """Key usage: these, and no others."""
    return x509.KeyUsage(**{use: use in uses for use in _USES}), critical
