"""Files that the configuration or the command line names, none of them read without an end."""

from pathlib import Path

from portcullis.errors import ConfigError

SMALL_FILE_BYTES = 64 * 1024
"""A public key, a password."""


def read_small(path: Path | None, key: str, limit: int = SMALL_FILE_BYTES) -> str:
    """The text of a small file that the configuration names under ``key``.

    Raises:
        ConfigError: it is not there, too large, or no text.
    """
    assert path is not None
    try:
        return read_bounded(path, limit, f"{key}: {path}").decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: {path} is no text") from None


def read_bounded(path: Path, limit: int, named: str = "") -> bytes:
    """The content of a file.

    Args:
        named: how a message begins; without it, with the path.

    Raises:
        ConfigError: it cannot be read, or has more than ``limit`` bytes.
    """
    named = named or f"{path}:"
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{named} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise ConfigError(f"{named} has more than {limit} bytes")
    return content
