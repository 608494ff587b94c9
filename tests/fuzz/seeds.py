"""Small layers of every form, from which fuzzers and tests begin."""

import gzip
import io
import tarfile
from collections.abc import Mapping

from backports import zstd

from unit.inspection import tars

_FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def _written(form: int) -> bytes:
    long = form != tarfile.USTAR_FORMAT
    members = [
        ("etc/passwd", tarfile.REGTYPE, "", 700),
        ("a/b/", tarfile.DIRTYPE, "", 0),
        ("bin", tarfile.SYMTYPE, "usr/bin" * (30 if long else 1), 0),
        ("x/y", tarfile.LNKTYPE, "./etc/passwd", 0),
        ("dev/null", tarfile.CHRTYPE, "", 0),
        ("é" * 60 + "/" + "n" * 90 if long else "n" * 99, tarfile.REGTYPE, "", 10),
        ("../../up/./a//b", tarfile.FIFOTYPE, "", 0),
    ]
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form, pax_headers={"comment": "x"} if long else None) as archive:
        for name, kind, link, size in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size, member.uid = kind, link, size, 3_000_000 if long else 5
            archive.addfile(member, io.BytesIO(b"z" * size))
    return target.getvalue()[:12_000]


TARS: Mapping[str, bytes] = {
    **{name: _written(form) for name, form in _FORMATS.items()},
    "sparse 0.1": tars.pax((b"GNU.sparse.numblocks", b"1"), (b"GNU.sparse.map", b"2,3"), (b"GNU.sparse.size", b"9"))
    + tars.entry(data=b"abc")
    + tars.END,
    "sparse 1.0": tars.pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"x"), (b"GNU.sparse.size", b"9")
    )
    + tars.entry(data=b"1\n2\n3\n".ljust(512, b"\0") + b"abc")
    + tars.END,
    "capability": tars.pax((b"SCHILY.xattr.security.capability", bytes(20)), (b"uid", b"7")) + tars.entry() + tars.END,
}
BLOBS: Mapping[str, bytes] = {
    **TARS,
    "gzip": gzip.compress(TARS["pax"], mtime=0),
    "gzip members": tars.members(TARS["pax"], 4),
    "zstd": zstd.compress(TARS["gnu"]),
    "zstd frames": zstd.compress(TARS["gnu"][:999]) + b"\x53\x2a\x4d\x18\1\0\0\0x" + zstd.compress(TARS["gnu"][999:]),
}
