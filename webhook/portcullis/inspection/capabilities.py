"""File capabilities, as they stand in the extended attribute ``security.capability``."""

import struct
from typing import Final

_NAMES: Final = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner"),
    *("sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice"),
    *("sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap"),
    *("mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf"),
    "checkpoint_restore",
)
"""capabilities(7), by number."""

_PAIRS: Final = {0x01000000: 1, 0x02000000: 2, 0x03000000: 2}
"""Pairs of 32-bit sets by revision (linux/capability.h, vfs_cap_data)."""
_EFFECTIVE: Final = 1


def shown_capabilities(attribute: bytes) -> str:
    """As getcap(8) writes it, such as ``cap_net_raw=ep``; "" where no capability is given, and ``unknown
    capabilities`` for what the kernel would not read."""
    if len(attribute) < 4:
        return "unknown capabilities"
    (magic,) = struct.unpack_from("<I", attribute)
    pairs = _PAIRS.get(magic & 0xFF000000, 0)
    if not pairs or len(attribute) < 4 + 8 * pairs:
        return "unknown capabilities"
    words = struct.unpack_from(f"<{2 * pairs}I", attribute, 4)
    permitted = sum(word << (32 * index) for index, word in enumerate(words[::2]))
    inheritable = sum(word << (32 * index) for index, word in enumerate(words[1::2]))
    effective = "e" if magic & _EFFECTIVE else ""
    groups: dict[str, list[str]] = {}
    for number in range(64):
        bit = 1 << number
        flags = (effective + "p" if permitted & bit else "") + ("i" if inheritable & bit else "")
        if flags:
            name = f"cap_{_NAMES[number]}" if number < len(_NAMES) else str(number)
            groups.setdefault(flags, []).append(name)
    return " ".join(f"{','.join(names)}={flags}" for flags, names in groups.items())
