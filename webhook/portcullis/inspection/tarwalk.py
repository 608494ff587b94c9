"""The walk over the entries of a tar, in one pass and without unpacking anything.

It takes what Go's archive/tar and containerd's archive.Apply take, and sees what they see (see ``tarheader`` for why).
In two things it reads more than they do: the types ``7`` and ``S``, which GNU tar takes for files and which containerd
and Docker refuse. Nothing runs of an image that a node cannot unpack, so that to read more is no risk.
"""

from collections.abc import Iterator
from typing import Final, NoReturn, Protocol

from portcullis.errors import LayerMalformed, TooLarge
from portcullis.inspection import tarextended as extended
from portcullis.inspection.layerfacts import Entry, EntryKind
from portcullis.inspection.tarheader import BLOCK, Fault, Header, HeaderReader
from portcullis.inspection.tarstream import Plain
from portcullis.limits import Limits
from portcullis.text import clean

_ZERO: Final = bytes(BLOCK)
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE, _OLD_FILE = b"xgLKS\0"
_FILE: Final = ord("0")
_KINDS: Final = {
    _FILE: EntryKind.FILE,
    ord("7"): EntryKind.FILE,
    _GNU_SPARSE: EntryKind.FILE,
    ord("1"): EntryKind.HARD_LINK,
    ord("2"): EntryKind.SYMLINK,
    ord("3"): EntryKind.CHARACTER_DEVICE,
    ord("4"): EntryKind.BLOCK_DEVICE,
    ord("5"): EntryKind.FOLDER,
    ord("6"): EntryKind.FIFO,
}
_IN_FRONT: Final = 16
"""Extended headers of one entry; writers make up to three."""
_NO_OWNER: Final = 0xFFFFFFFF
"""As a uid or gid, chown(2) takes it for "leave it as it is"; what is greater loses its upper bits there."""
_CAPABILITY_BYTES: Final = 24
"""The longest that the kernel takes (linux/capability.h, XATTR_CAPS_SZ_3)."""
_WHITEOUT: Final = b".wh."
_DOT: Final = ord(".")
_FOLDERS: Final = 100_000
"""Names of folders that are remembered as clean."""


class Probe(Protocol):
    """Looks into one body. ``limit`` is how many of its leading bytes are wanted at most."""

    @property
    def limit(self) -> int: ...
    def marks(self, body: bytes) -> tuple[str, ...]:
        """What the first bytes of a file say of it."""
        ...


class Reading(Protocol):
    """Which bodies are looked into. Asked once for each file, so it has to be quick."""

    def keep(self, path: bytes) -> int:
        """The longest body, in bytes, that is kept whole; 0 where none is."""
        ...

    def probe(self, path: bytes, mode: int, size: int) -> Probe | None: ...


class Walk:
    """One tar.

    Args:
        pieces: its bytes; none is empty. What follows the end of the archive is left in there.
        what: the layer, for a message.

    After :meth:`run`, ``entries``, ``bodies`` and ``oversized`` are as in LayerFacts.
    """

    def __init__(self, pieces: Iterator[bytes], *, reading: Reading, limits: Limits, what: str) -> None:
        self.entries: list[Entry] = []
        self.bodies: dict[bytes, bytes] = {}
        self.oversized: dict[bytes, None] = {}
        self._plain = Plain(pieces)
        self._reading = reading
        self._limits = limits
        self._what = what
        self._count = 0
        self._name_bytes = 0
        self._kept_bytes = 0
        self._globals: set[bytes] = set()
        self._clean_folders: set[bytes] = set()
        self._start = 0
        self._header: Header | None = None
        self._reset()

    def run(self) -> None:
        """
        Raises:
            LayerMalformed: it is no tar, or one that runtimes refuse or take for different things.
            TooLarge: a limit of the section "layers" is crossed.
        """
        reader = HeaderReader()
        try:
            while (block := self._next_block()) is not None:
                self._header = None
                header = self._header = reader.read(block)
                if header.type == _FILE and not self._in_front and not header.link:  # nearly all of them
                    self._plain_file(header)
                elif header.type in (_PAX, _GNU_NAME, _GNU_LINK):
                    self._extend(header)
                elif header.type == _PAX_GLOBAL:
                    self._global(header)
                else:
                    if self._in_front:
                        self._apply(header)
                    self._entry(header, block)
                    if self._in_front:
                        self._reset()
            self._check_globals()
        except Fault as fault:
            self._fail(str(fault))

    def _next_block(self) -> bytes | None:
        """None at the end: two blocks of zeros, or one and nothing more, or nothing more."""
        plain = self._plain
        at = plain.at
        self._start = plain.before + at
        stop = plain.at = at + BLOCK
        if stop <= len(plain.piece):  # as take() does it, without the call
            block = plain.piece[at:stop]
        else:
            plain.at = at
            block = plain.take(BLOCK)
            if not block:
                return None
        if block == _ZERO:
            block = plain.take(BLOCK)
            if not block or block == _ZERO:
                return None
            raise Fault("a block of zeros is followed by something else")
        if len(block) < BLOCK:
            raise Fault("the header is cut off")
        return block

    # -- extended headers --------------------------------------------------------------------------------

    def _reset(self) -> None:
        """Extended headers are for the next entry only."""
        self._in_front = 0
        self._records: dict[bytes, bytes] = {}
        self._long_name = self._long_link = b""

    def _extend(self, header: Header) -> None:
        self._in_front += 1
        if self._in_front > _IN_FRONT:
            raise Fault(f"more than {_IN_FRONT} extended headers precede one entry")
        body = self._special(header)
        if header.type == _PAX:
            self._records = extended.read_records(body)
        elif header.type == _GNU_NAME:
            self._long_name = body.split(b"\0", 1)[0]
        else:
            self._long_link = body.split(b"\0", 1)[0]

    def _apply(self, header: Header) -> None:
        extended.apply_records(header, self._records)
        header.path = self._long_name or header.path
        header.link = self._long_link or header.link

    def _global(self, header: Header) -> None:
        """Go hands it out as if it were an entry, and with it ends what was said of the next one; its records count
        for nothing. containerd, before it ignores the entry, removes what has its name (archive.applyNaive): a name
        that an entry has, too, is refused at the end."""
        path = extended.read_records(self._special(header)).get(b"path") or header.path
        self._reset()
        self._counted(path)
        self._globals.add(self._clean(path))

    def _check_globals(self) -> None:
        if not self._globals:
            return
        for path in self._globals:
            if path.rpartition(b"/")[2].startswith(_WHITEOUT):
                self._fail("a global header has the name of a whiteout", path)
        for entry in self.entries:
            path = entry.path
            while path:
                if path in self._globals:
                    self._fail("a global header has the name of this entry or of a folder above it", entry.path)
                path = path.rpartition(b"/")[0]

    def _special(self, header: Header) -> bytes:
        """The data of an extended header."""
        size, limit = header.size, self._limits.layer_header_bytes
        if size < 0:
            raise Fault("its size is negative")
        if size > limit:
            self._too_large(f"has an extended header of {size} bytes; the limit layerHeaderBytes is {limit}")
        body = self._plain.take(size)
        if len(body) < size:
            raise Fault("an extended header is cut off")
        self._plain.skip(extended.padded(size))
        return body

    # -- entries -----------------------------------------------------------------------------------------

    def _entry(self, header: Header, block: bytes) -> None:
        if header.size < 0:
            raise Fault("its size is negative")
        kind, regions, stored = _KINDS.get(header.type), None, header.size
        if kind is None:
            kind = self._odd_kind(header)
        if self._records or header.type == _GNU_SPARSE:
            regions, stored = self._sparse(header, block, kind)
        self._counted(header.path, header.link)
        path = self._clean(header.path)
        uid, gid = header.uid, header.gid
        if not (0 <= uid < _NO_OWNER and 0 <= gid < _NO_OWNER):
            raise Fault(f"it is owned by {uid}:{gid}, which no file can be")
        mode = header.mode & 0o7777
        capability = self._records.get(extended.CAPABILITY, b"") if self._records else b""
        if len(capability) > _CAPABILITY_BYTES:
            raise Fault(f"its file capabilities have {len(capability)} bytes")
        if self.bodies:  # the last entry of a name counts
            self.bodies.pop(path, None)
        if self.oversized:
            self.oversized.pop(path, None)
        if kind is EntryKind.FILE:
            marks = self._file(path, mode, header.size, stored, regions)
            if not path:
                return
            if capability or marks:
                self.entries.append(Entry(path, 0, mode, uid, gid, header.size, b"", (0, 0), capability, marks))
            else:
                self.entries.append(Entry(path, 0, mode, uid, gid, header.size))
            return
        link = self._link(kind, header.link)
        # Whatever is at the root and is no folder is nothing, for containerd.
        if path or kind is EntryKind.FOLDER:
            device = header.device if kind in (EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE) else (0, 0)
            self.entries.append(Entry(path, int(kind), mode, uid, gid, 0, link, device, capability))

    def _plain_file(self, header: Header) -> None:
        """As :meth:`_entry`, for a file of which the block says all there is to say."""
        size, uid, gid = header.size, header.uid, header.gid
        if size < 0:
            raise Fault("its size is negative")
        self._counted(header.path)
        path = self._clean(header.path)
        if not (0 <= uid < _NO_OWNER and 0 <= gid < _NO_OWNER):
            raise Fault(f"it is owned by {uid}:{gid}, which no file can be")
        mode = header.mode & 0o7777
        if self.bodies:  # the last entry of a name counts
            self.bodies.pop(path, None)
        if self.oversized:
            self.oversized.pop(path, None)
        marks = self._file(path, mode, size, size, None)
        if marks:
            self.entries.append(Entry(path, 0, mode, uid, gid, size, b"", (0, 0), b"", marks))
        elif path:
            self.entries.append(Entry(path, 0, mode, uid, gid, size))

    def _odd_kind(self, header: Header) -> EntryKind:
        if header.type == _OLD_FILE:  # the only type for which Go asks for the slash
            return EntryKind.FOLDER if header.path.endswith(b"/") else EntryKind.FILE
        raise Fault(f"its type, {clean(repr(chr(header.type)), 10)}, is not known")

    def _sparse(self, header: Header, block: bytes, kind: EntryKind) -> tuple[list[extended.Region] | None, int]:
        """The regions of a sparse file, None where it is none, and how many bytes of data follow."""
        stored, limit = header.size, self._limits.layer_sparse_regions
        regions: list[extended.Region] = []
        if header.type == _GNU_SPARSE:
            if not header.gnu:
                raise Fault("it is sparse in a header that is not of GNU tar")
            header.size = extended.real_size(block)
            more = extended.old_sparse_map(block, regions, extension=False)
            while more:
                if len(regions) > limit:
                    self._too_many_regions()
                block = self._exactly(BLOCK)
                before = len(regions)
                more = extended.old_sparse_map(block, regions, extension=True)
                if more and len(regions) == before:
                    raise Fault("its sparse map goes on with nothing")
        else:
            version = extended.sparse_version(self._records)
            if version is None:
                return None, stored
            extended.apply_sparse_records(header, self._records)
            if version == (1, 0):
                regions, used = self._sparse_text(stored)
                stored -= used
            else:
                regions = extended.sparse_map_of(self._records)
        if len(regions) > limit:
            self._too_many_regions()
        if kind is not EntryKind.FILE:
            raise Fault("it is sparse, and not a file")
        extended.check_regions(regions, size=header.size, stored=stored)
        return regions, stored

    def _sparse_text(self, stored: int) -> tuple[list[extended.Region], int]:
        text, used = extended.SparseText(), 0
        while True:
            used += BLOCK
            if used > stored:
                raise Fault("its sparse map is cut off")
            if used > self._limits.layer_header_bytes:
                self._too_large(f"has a sparse map over the limit layerHeaderBytes, {self._limits.layer_header_bytes}")
            if text.add(self._exactly(BLOCK)):
                return text.regions(), used

    def _too_many_regions(self) -> NoReturn:
        limit = self._limits.layer_sparse_regions
        self._too_large(f"has a sparse file with more regions than the limit layerSparseRegions allows, {limit}")

    def _exactly(self, count: int) -> bytes:
        content = self._plain.take(count)
        if len(content) < count:
            raise Fault("its data is cut off")
        return content

    def _file(
        self, path: bytes, mode: int, size: int, stored: int, regions: list[extended.Region] | None
    ) -> tuple[str, ...]:
        """Passes over the data of a file, or looks into it."""
        padding = -stored % BLOCK
        keep = self._reading.keep(path) if path else 0
        probe = self._reading.probe(path, mode, size) if path else None
        if not keep and probe is None:
            plain = self._plain
            stop = plain.at + stored + padding
            if stop <= len(plain.piece):  # as skip() does it, without the call
                plain.at = stop
            # The padding of the last entry may be missing, as for Go.
            elif plain.skip(stored + padding) > padding:
                raise Fault("its data is cut off")
            return ()
        whole = keep >= size
        wanted = min(max(keep if whole else 0, probe.limit if probe else 0), size)
        data = self._exactly(min(wanted, stored))
        if self._plain.skip(stored - len(data) + padding) > padding:
            raise Fault("its data is cut off")
        body = data if regions is None else extended.expanded(regions, data, wanted)
        if keep and whole:
            self._kept_bytes += size
            if self._kept_bytes > self._limits.layer_kept_bytes:
                limit = self._limits.layer_kept_bytes
                self._too_large(f"has more bytes to be kept than the limit layerKeptBytes allows, {limit}")
            self.bodies[path] = body[:size]
        elif keep:
            self.oversized[path] = None
        return probe.marks(body[: probe.limit]) if probe else ()

    def _link(self, kind: EntryKind, target: bytes) -> bytes:
        if kind is EntryKind.SYMLINK:
            if not target:
                raise Fault("it is a symlink to nothing")
            return target
        if kind is not EntryKind.HARD_LINK:
            return b""
        # containerd follows symlinks before it goes up, and GNU tar does not.
        parts = [part for part in target.split(b"/") if part not in (b"", b".")]
        named = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
        if b".." in parts[named:]:
            raise Fault("its target goes up from a folder that may be a link")
        if named == len(parts):
            raise Fault("it is a hard link to the root")
        return b"/".join(parts[named:])

    # -- names and bounds --------------------------------------------------------------------------------

    def _counted(self, path: bytes, link: bytes = b"") -> None:
        limits = self._limits
        self._count += 1
        size = len(path) + len(link)
        self._name_bytes += size
        if self._count > limits.layer_entries:
            self._too_large(f"has more entries than the limit layerEntries allows, {limits.layer_entries}")
        if size > limits.layer_path_bytes and (longest := max(len(path), len(link))) > limits.layer_path_bytes:
            self._too_large(f"has a name of {longest} bytes; the limit layerPathBytes is {limits.layer_path_bytes}")
        if self._name_bytes > limits.layer_names_bytes:
            self._too_large(
                f"has longer names than the limit layerNamesBytes allows, {limits.layer_names_bytes} in all"
            )

    def _clean(self, name: bytes) -> bytes:
        """As filepath.Clean makes it, below the root: what goes above it ends there."""
        folder, slash, last = name.rpartition(b"/")
        if folder in self._clean_folders and last and last[0] != _DOT:
            cleaned = name
        else:
            cleaned = self._cleaned(name)
            if cleaned == name and slash and len(self._clean_folders) < _FOLDERS:
                self._clean_folders.add(folder)
        if b"\0" in cleaned:  # only the name of a pax sparse file can have it
            raise Fault("its name holds a NUL")
        return cleaned

    def _cleaned(self, name: bytes) -> bytes:
        if name[:2] == b"./":
            name = name[2:]
        if b"/." not in name and b"//" not in name and name[:1] not in (b"/", b"."):
            return name[:-1] if name[-1:] == b"/" else name
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b"..":
                del parts[-1:]
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/".join(parts)

    def _too_large(self, text: str) -> NoReturn:
        raise TooLarge(f"{self._what} {text}")

    def _fail(self, fault: str, path: bytes = b"") -> NoReturn:
        name = path or (self._header.path if self._header else b"")
        entry = f", {clean(name.decode('utf-8', 'replace'), 200)!r}" if name else ""
        raise LayerMalformed(f"{self._what}, at {self._start} in the tar{entry}: {fault}")
