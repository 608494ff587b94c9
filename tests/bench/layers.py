"""Figures of reading one layer, against the floor under it: decompression by ISA-L, and SHA-256 of the compressed and
of the plain bytes.

    python tests/bench/layers.py          all figures
    python tests/bench/layers.py FOLDER   a reader of what lies there, told what to do over its standard input

Each reading is in a process of its own, as in the webhook, so that memory and parallel work are measured as they are.
"""

import contextlib
import gzip
import hashlib
import io
import json
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isal import igzip_lib
from rich.console import Console

from portcullis.inspection.catalogue import load_catalogue
from portcullis.inspection.layer import read_layer
from portcullis.inspection.reading import CatalogueReading
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Digest

FILES = 20_000
PLAIN_BYTES = 300_000_000
PIECE = 1024 * 1024
OUT = 256 * 1024
ROUNDS = 7
MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Measured:
    """``values`` of one figure, in ``unit``."""

    name: str
    unit: str
    values: list[float]


def make_layer(folder: Path) -> tuple[int, int]:
    """Writes ``layer`` and what describes it: about 300 MB in 20,000 files, about 100 MB of gzip, the same every time.

    Returns the plain and the compressed size.
    """
    source = random.Random(4)
    words = [source.randbytes(source.randint(2, 7)).hex().encode() for _ in range(300)]
    text = b" ".join(source.choices(words, k=300_000))
    noise = source.randbytes(4 * PIECE)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(FILES):
            member = tarfile.TarInfo(f"usr/lib/python3/dist-packages/package{number % 200}/module_{number:05d}.py")
            member.size = min(int(source.expovariate(FILES / PLAIN_BYTES)), 2 * PIECE)
            member.mode, member.mtime = 0o644, 1_700_000_000 + number % 997
            # A sixth does not compress, and the rest is text.
            cut = source.randrange(len(noise) - member.size // 6)
            at = source.randrange(len(text) // 2)
            body = noise[cut : cut + member.size // 6] + text[at : at + member.size]
            archive.addfile(member, io.BytesIO((body + text)[: member.size].ljust(member.size, b"\n")))
    plain = target.getvalue()
    blob = gzip.compress(plain, 4, mtime=0)
    (folder / "layer").write_bytes(blob)
    names = {"digest": hashlib.sha256(blob).hexdigest(), "diffID": hashlib.sha256(plain).hexdigest()}
    (folder / "layer.json").write_text(json.dumps(names), "utf-8")
    return len(plain), len(blob)


class Reader:
    """In the process that reads."""

    def __init__(self, folder: Path) -> None:
        names = json.loads((folder / "layer.json").read_text("utf-8"))
        self._path = folder / "layer"
        self._digest, self._diff_id = (Digest(f"sha256:{names[name]}") for name in ("digest", "diffID"))
        self._reading = CatalogueReading(catalogue=load_catalogue(()), limits=DEFAULT_LIMITS, extra=frozenset())

    def pieces(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def floor(self) -> None:
        decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        compressed, plain = hashlib.sha256(), hashlib.sha256()
        for piece in self.pieces():
            compressed.update(piece)
            left = piece
            while True:
                content = decompressor.decompress(left, OUT)
                plain.update(content)
                if decompressor.eof or decompressor.needs_input:
                    break
                left = b""
        assert plain.hexdigest() == self._diff_id.hex

    def read(self) -> None:
        facts = read_layer(
            self.pieces(),
            media_type=MEDIA_TYPE,
            digest=self._digest,
            diff_id=self._diff_id,
            reading=self._reading,
            limits=DEFAULT_LIMITS,
            what="the layer",
        )
        assert len(facts.entries) == FILES

    def answer(self) -> None:
        """A line for each line: milliseconds, and the peak of memory in MiB."""
        print(json.dumps(_peak()), flush=True)
        for line in sys.stdin:
            started = time.perf_counter()
            (self.floor if line.strip() == "floor" else self.read)()
            print(json.dumps([(time.perf_counter() - started) * 1000, _peak()]), flush=True)


def _peak() -> float:
    """Not that of getrusage(2), which a process takes over from the one that started it."""
    (line,) = (one for one in Path("/proc/self/status").read_text("ascii").splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


class Process:
    """A reader, from outside."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self.idle = float(json.loads(self._out.readline()))

    def begin(self, what: str) -> None:
        self._in.write(f"{what}\n")
        self._in.flush()

    def end(self) -> tuple[float, float]:
        milliseconds, peak = json.loads(self._out.readline())
        return milliseconds, peak

    def do(self, what: str) -> tuple[float, float]:
        self.begin(what)
        return self.end()


@contextlib.contextmanager
def readers(folder: Path, count: int) -> Iterator[list[Process]]:
    with contextlib.ExitStack() as stack:
        yield [
            Process(
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, __file__, str(folder)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            )
            for _ in range(count)
        ]


def figures(console: Console) -> tuple[list[Measured], dict[str, float]]:
    """The figures, and what they come to: a layer against its floor, two layers one by one against two at once."""
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as text:
        folder = Path(text)
        console.print("[dim]walk: making a layer of 300 MB")
        plain, packed = make_layer(folder)
        console.print(f"[dim]walk: {plain / 1e6:.0f} MB in {FILES} files, {packed / 1e6:.0f} MB compressed")
        with readers(folder, 1) as (one,):
            _, peak = one.do("read")
            memory = peak - one.idle
            floors, reads = [], []
            for _ in range(ROUNDS):
                floors.append(one.do("floor")[0])
                reads.append(one.do("read")[0])
        with readers(folder, 2) as both:
            for process in both:
                process.do("read")
            alone, together = [], []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                for process in both:
                    process.do("read")
                alone.append((time.perf_counter() - started) * 1000)
                started = time.perf_counter()
                for process in both:
                    process.begin("read")
                for process in both:
                    process.end()
                together.append((time.perf_counter() - started) * 1000)
    measured = [
        Measured("floor of a layer of 300 MB", "ms", floors),
        Measured("the layer", "ms", reads),
        Measured("two, one after the other", "ms", alone),
        Measured("two at once", "ms", together),
        Measured("memory for it above idle", "MiB", [memory]),
    ]
    return measured, {
        "layer / floor": statistics.median(reads) / statistics.median(floors),
        "two layers after each other / at once": statistics.median(alone) / statistics.median(together),
    }


def main() -> None:
    console = Console()
    measured, ratios = figures(console)
    for one in measured:
        console.print(f"{one.name}: {statistics.median(one.values):.1f} {one.unit}")
    for name, value in ratios.items():
        console.print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Reader(Path(sys.argv[1])).answer()
    else:
        main()
