"""Fuzzes one of the targets with Atheris (libFuzzer), from the seeds on.

    uv run --frozen --no-sync --with atheris==3.0.0 python tests/fuzz/run.py TARGET [-max_total_time=SECONDS ...]

TARGET is tar, decompress or layer; what follows is for libFuzzer, a folder for its corpus, too. An input that fails
is left in the current folder, as ``crash-*``. Atheris has wheels for some versions of Python only, and is not locked.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path[0] = str(Path(__file__).resolve().parents[1])  # or "fuzz" would not be found

with atheris.instrument_imports(include=["portcullis.inspection", "portcullis.text"]):
    from fuzz import seeds, targets


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    return targets.mended(atheris.Mutate(data, max_size))


def main() -> None:
    name, *options = sys.argv[1:] or ["?"]
    if name not in targets.TARGETS:
        raise SystemExit(f"fuzz: a target is one of {', '.join(targets.TARGETS)}")
    with tempfile.TemporaryDirectory(prefix="portcullis-fuzz-") as corpus:
        for number, blob in enumerate(seeds.BLOBS.values()):
            Path(corpus, str(number)).write_bytes(blob)
        arguments = [sys.argv[0], "-max_len=65536", *options, corpus]
        if name == "tar":
            atheris.Setup(arguments, targets.TARGETS[name], custom_mutator=mutated)
        else:
            atheris.Setup(arguments, targets.TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
