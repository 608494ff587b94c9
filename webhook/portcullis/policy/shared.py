"""The Rego of ours that the bridges of policies from elsewhere use, shipped with this package."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

BRIDGE_VERSION = 1
"""Part of the revision of every set with bridges; to be raised with any change of what bridges.py or relocate.py
make."""


@cache
def shared_modules() -> Mapping[str, str]:
    """The modules by file name."""
    here = Path(__file__).parent
    paths = (here / "bridging.rego", here / "gatekeeper" / "matching.rego")
    return {path.name: path.read_text("utf-8") for path in paths}


@cache
def bridging_digest() -> str:
    """Changes with anything that bridges are made of."""
    whole = json.dumps([BRIDGE_VERSION, sorted(shared_modules().items())])
    return hashlib.sha256(whole.encode()).hexdigest()
