"""Small files that the configuration names."""

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
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
        text = content.decode()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: {path} is no text") from None
    if len(content) > limit:
        raise ConfigError(f"{key}: {path} has more than {limit} bytes")
    return text
