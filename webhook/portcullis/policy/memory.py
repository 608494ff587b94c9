"""How much memory an OPA aims for: Go's soft limit (GOMEMLIMIT), near which it collects garbage harder.

A container's limit is not Go's: without this, OPA would let garbage grow until the kernel ends the container.
"""

from collections.abc import Sequence
from pathlib import Path

MEMORY_BYTES = 2 * 1024**3
"""Where nothing limits us. Measured with OPA 1.21: inputs of many small values take 35 times their bytes, those of
one decision of 29 MB a gigabyte."""

SHARE = 0.5
"""Of the container's limit: the rest is for this program, and for what is no heap."""

_LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of the control group that a container sees as its own: version 2, then version 1 (kernel, admin-guide/cgroup-v2)."""


def memory_goal(limit_files: Sequence[Path] = _LIMIT_FILES) -> int:
    """Bytes: MEMORY_BYTES, or this container's SHARE where that is less. Never raises."""
    for path in limit_files:
        try:
            text = path.read_text("ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdigit():
            return min(MEMORY_BYTES, int(int(text) * SHARE))
    return MEMORY_BYTES
