"""Image configurations: bytes to ImageConfig.

Source: OCI image specification 1.1, config.md. Environment values are dropped here, at the rim: they may be
secrets, and nothing behind this point needs them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from portcullis.errors import Malformed, TooLarge
from portcullis.limits import Limits
from portcullis.model.image import HistoryEntry, ImageConfig, Platform
from portcullis.registry.digests import read_digest
from portcullis.registry.documents import Fields, parse_object
from portcullis.text import clean
from portcullis.times import parse_rfc3339

_FIELDS: Final = frozenset(
    {"created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history"}
)
_SETTINGS: Final = frozenset(
    {
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "Memory",
        "MemorySwap",
        "CpuShares",
        "Healthcheck",
        "ArgsEscaped",
        "Shell",
        "OnBuild",
    }
)
_HEALTHCHECK: Final = frozenset({"Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"})
_ROOTFS: Final = frozenset({"type", "diff_ids"})
_HISTORY: Final = frozenset({"created", "created_by", "author", "comment", "empty_layer"})


def read_config(content: bytes, limits: Limits, what: str) -> tuple[Platform, ImageConfig]:
    """Reads the configuration of an image, and the platform that it says it is for ("unknown" where it does not).

    Raises:
        Malformed: it is no image configuration, or one that could be read in two ways.
        TooLarge: it nests too deep, or over ``history_entries`` or ``history_chars``.
    """
    document = Fields.of(parse_object(content, depth=limits.json_depth, what=what), what, _FIELDS)
    settings = document.object("config", _SETTINGS)
    platform = Platform(
        document.text("os") or "unknown", document.text("architecture") or "unknown", document.text("variant")
    )
    config = ImageConfig(
        user=settings.text("User"),
        created=read_moment(document.text("created"), what),
        entrypoint=settings.texts("Entrypoint"),
        cmd=settings.texts("Cmd"),
        working_dir=settings.text("WorkingDir"),
        env_names=tuple(variable.partition("=")[0] for variable in settings.texts("Env")),
        exposed_ports=tuple(settings.mapping("ExposedPorts")),
        volumes=tuple(settings.mapping("Volumes")),
        labels=settings.text_mapping("Labels"),
        healthcheck=settings.object("Healthcheck", _HEALTHCHECK).texts("Test"),
        history=_history(document.items("history"), limits, what),
        diff_ids=tuple(
            read_digest(text, f"the rootfs of {what}") for text in document.object("rootfs", _ROOTFS).texts("diff_ids")
        ),
    )
    return platform, config


def read_moment(text: str, what: str) -> datetime | None:
    """A time of RFC 3339 in UTC; None for "" and for Go's unset time.

    Raises:
        Malformed: it is no such time.
    """
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Malformed(f"{what} has the time {clean(repr(text), 60)}, which is none of RFC 3339") from error


def _history(entries: Sequence[object], limits: Limits, what: str) -> tuple[HistoryEntry, ...]:
    if len(entries) > limits.history_entries:
        raise TooLarge(
            f"the history of {what} has {len(entries)} lines; the limit historyEntries is {limits.history_entries}"
        )
    history = tuple(_entry(entry, what) for entry in entries)
    chars = sum(len(entry.created_by) for entry in history)
    if chars > limits.history_chars:
        raise TooLarge(
            f"the history of {what} has {chars} characters; the limit historyChars is {limits.history_chars}"
        )
    return history


def _entry(entry: object, what: str) -> HistoryEntry:
    fields = Fields.of(entry, f"the history of {what}", _HISTORY)
    return HistoryEntry(created_by=fields.text("created_by"), empty_layer=fields.flag("empty_layer"))
