"""Media types of signatures which several modules ask for. Those of envelopes and bundles stand with their readers."""

from typing import Final

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
"""What ``cosign sign`` signs in its old format, https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md;
the signature stands in an annotation beside it."""

JWS: Final = "application/jose+json"
COSE: Final = "application/cose"
NOTATION: Final = frozenset({JWS, COSE})
"""The two signature envelopes of Notation (notaryproject/specifications, signature-specification.md)."""
