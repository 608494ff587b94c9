"""Names for JSON trees as decoders make them."""

from collections.abc import Mapping
from typing import Any

JSONObject = Mapping[str, Any]
