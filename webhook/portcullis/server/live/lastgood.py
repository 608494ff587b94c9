"""The ConfigMaps and bundles that were good last, kept for the next start of the program."""

import json
from pathlib import Path
from typing import Any

import structlog

from portcullis.limits import Limits
from portcullis.server.live.sources import Laid

log = structlog.get_logger(__name__)


class LastGood:
    """The ConfigMaps and bundles that were good last, in one file.

    Args:
        file: None where nothing is kept.
    """

    def __init__(self, file: Path | None, limits: Limits) -> None:
        self._file = file
        self._limits = limits

    def write(self, laid: Laid) -> None:
        """Whole or not at all; a file that cannot be written is only told. Blocks."""
        if self._file is None or not (laid.maps or laid.bundles or self._file.exists()):
            return  # nothing was ever kept, and nothing is to be
        document = {
            "maps": [[*place, dict(files)] for place, files in sorted(laid.maps.items())],
            "bundles": {
                name: {path: content.decode("utf-8", "replace") for path, content in files.items()}
                for name, files in laid.bundles.items()
            },
        }
        temporary = self._file.with_name(f".{self._file.name}.new")
        try:
            temporary.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
            temporary.replace(self._file)
        except OSError as error:
            log.warning("last good policies not kept", problem=error.strerror)

    def read(self) -> Laid | None:
        """None where there are none. Blocks."""
        if self._file is None:
            return None
        try:
            with self._file.open("rb") as stream:
                content = stream.read(4 * self._limits.policy_source_bytes + 1)
            found: dict[str, Any] = json.loads(content)
            maps = {(str(namespace), str(name)): dict(files) for namespace, name, files in found["maps"]}
            bundles = {
                str(name): {str(path): str(text).encode() for path, text in files.items()}
                for name, files in found["bundles"].items()
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return Laid("", maps, bundles)
