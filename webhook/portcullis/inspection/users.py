"""The USER of an image, looked up in the image's own /etc/passwd and /etc/group.

Read as containerd (``pkg/oci/spec_opts.go`` WithUser, WithUserID, WithUsername) and moby's user package
(``github.com/moby/sys/user``, which containerd, Docker, CRI-O and runc share) read them:

* The first line that matches counts. Blanks around a line are cut off, and what is no number is 0: a line that is
  ``app`` alone makes that name root. Ids are then cut to 32 bits, so 4294967296 is root as well.
* A number is a uid whether or not passwd has it; passwd tells its group, which is 0 otherwise.
* A line of 64 KiB ends the reading with an error (Go's bufio.Scanner), and the container does not start.
* Further groups that /etc/group gives the user are not considered here.
"""

import re
from collections.abc import Iterator
from typing import Final, Protocol

from portcullis.errors import TooLarge
from portcullis.inspection.config import as_id
from portcullis.model.image import ImageUser, UserSource

PASSWD: Final = b"etc/passwd"
GROUP: Final = b"etc/group"

_PASSWD_LINE: Final = 64 * 1024
_GROUP_LINE: Final = 1024 * 1024
_MIN, _MAX = -(2**63), 2**63 - 1
_NUMBER: Final = re.compile(r"([+-]?)(?=[0-9])0*+([0-9]*)")
_BLANKS: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What Go's ``unicode.IsSpace`` says; Python's own idea is a wider one."""


class Files(Protocol):
    """Files of the merged tree."""

    def read(self, path: bytes) -> bytes | None:
        """The content of this file, symlinks followed; None where there is none.

        Raises:
            TooLarge: it is longer than may be kept.
        """
        ...


class _UnreadableError(Exception):
    """No runtime reads this file."""


def resolve_user(known: ImageUser, files: Files) -> ImageUser:
    """The user whose first process an image starts.

    Args:
        known: what the configuration alone tells (``config.image_user``).
        files: the image's own.

    Returns:
        With source ``passwd`` where the name was found. A name that is nowhere stays unresolved: no container of
        that image would start.

    Raises:
        TooLarge: a name must be looked up in a file that is longer than the limit userDatabaseBytes.
    """
    user, _, group = known.raw.partition(":")
    if not user or ":" in group:
        return known
    uid = as_id(user)
    try:
        if uid is not None:
            gid = _gid(group, files) if group else _gid_of(uid, files)
            return ImageUser(raw=known.raw, uid=uid, gid=gid, name="", source=known.source, root=uid == 0)
        found = _line(files.read(PASSWD), user, at_most=_PASSWD_LINE)
    except _UnreadableError:
        return known
    if found is None:
        return known
    uid, gid_of_user = _number(found, 2), _number(found, 3)
    try:
        gid = _gid(group, files) if group else gid_of_user
    except _UnreadableError:
        gid = None
    return ImageUser(raw=known.raw, uid=uid, gid=gid, name=user, source=UserSource.PASSWD, root=uid == 0)


def _gid(group: str, files: Files) -> int | None:
    """None for a group that is nowhere: the container would not start."""
    number = as_id(group)
    if number is not None:
        return number
    found = _line(files.read(GROUP), group, at_most=_GROUP_LINE)
    return None if found is None else _number(found, 2)


def _gid_of(uid: int, files: Files) -> int | None:
    """The group that passwd gives a uid, 0 where it has none. None where the file is too long: nothing hangs on it."""
    try:
        content = files.read(PASSWD)
    except TooLarge:
        return None
    for fields in _lines(content or b"", at_most=_PASSWD_LINE):
        if _number(fields, 2) == uid:
            return _number(fields, 3)
    return 0


def _line(content: bytes | None, name: str, *, at_most: int) -> list[str] | None:
    """The fields of the first line of that name. The rest is read as well, for one that no runtime reads."""
    found: list[str] | None = None
    for fields in _lines(content or b"", at_most=at_most):
        if found is None and fields[0] == name:
            found = fields
    return found


def _lines(content: bytes, *, at_most: int) -> Iterator[list[str]]:
    for line in content.split(b"\n"):
        if len(line) >= at_most:
            raise _UnreadableError
        text = line.decode("utf-8", "surrogateescape").strip(_BLANKS)
        if text:
            yield text.split(":")


def _number(fields: list[str], index: int) -> int:
    """A field as Go's ``strconv.Atoi`` leaves it when its error is ignored, cut to 32 bits as an id is."""
    match = _NUMBER.fullmatch(fields[index]) if index < len(fields) else None
    if match is None:
        return 0
    digits = match[2]
    value = int(digits or "0") if len(digits) < 20 else _MAX + 1  # 2^63 has 19 digits
    value = max(-value if match[1] == "-" else value, _MIN)
    return min(value, _MAX) & 0xFFFFFFFF
