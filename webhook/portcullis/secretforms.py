"""What secrets look like in text: one list for the catalogue of what is looked for in images, and for redaction.

The expressions are read by Python over text and over bytes. Each is a fixed beginning and then runs of characters that
nothing behind them could be part of, and begins nowhere inside such a run: so they take linear time. Sources: the
formats that the issuers document, as collected by GitHub's secret scanning
(https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns).
"""

import re
from typing import Final

_FORMS: Final = {
    "github": r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}",
    "gitlab": r"gl(?:pat|ptt|dt|rt|cbt|soat|agent|ft|imt|oas)-[A-Za-z0-9_-]{20,}",
    "aws": r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16,}",
    "slack": (
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,}"
        r"|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"
    ),
    "google": r"AIza[A-Za-z0-9_-]{35,}|\bya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}",
    "npm": r"npm_[A-Za-z0-9]{36,}",
    "pypi": r"pypi-[A-Za-z0-9_-]{60,}",
    "docker": r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
    "stripe": r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/=]{20,}",
    "vault": r"\bhv[bsr]\.[A-Za-z0-9_-]{24,}",
    "sendgrid": r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "digitalocean": r"\bdo[opr]_v1_[a-f0-9]{64,}",
    "huggingface": r"\bhf_[A-Za-z0-9]{34,}",
    "shopify": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32,}",
    "openai": r"\bsk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9]{48,}",
    "age": r"AGE-SECRET-KEY-1[A-Z0-9]{50,}",
    "azure": r"\b[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,}",
    # JSON Web Tokens, signed or encrypted: what begins with eyJ is the base64 of {" .
    "jwt": r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*",
    # A private key in PEM, once more in base64, as kubeconfig files have it.
    "private-key-base64": (
        r"LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJVkFUR|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVEU|BFTkNSWVBURUQgUFJJVkFUR)"
        r"[A-Za-z0-9+/=]+"
    ),
}

TOKEN: Final = "|".join(_FORMS.values())
"""A token that is known by its form alone, to its last character."""

PRIVATE_KEY: Final = r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
"""The first line of a private key in PEM."""

HARMLESS: Final = re.compile(r"\$.*|/.*|true|false|yes|no|none|null|[0-9]{1,3}|\*+|<.*>|x+", re.IGNORECASE | re.DOTALL)
"""Values that are no secret, whatever they are called: references to variables and files, switches, placeholders."""

SHARED: Final = {"${token}": TOKEN, "${private-key}": PRIVATE_KEY}
"""Names by which a rule of the catalogue takes these expressions into its own."""
