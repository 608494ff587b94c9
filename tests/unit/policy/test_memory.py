"""OPA's memory follows the container's limit."""

from pathlib import Path

import pytest

from portcullis.policy.memory import MEMORY_BYTES, memory_goal

GIB = 1024**3


@pytest.mark.parametrize(
    ("texts", "goal"),
    [
        ((None, None), MEMORY_BYTES),
        (("max\n", None), MEMORY_BYTES),
        ((f"{GIB}\n", None), GIB // 2),
        ((f"{64 * GIB}\n", None), MEMORY_BYTES),
        ((None, f"{GIB}\n"), GIB // 2),
        ((None, "9223372036854771712\n"), MEMORY_BYTES),  # version 1 writes "no limit" so
        (("-1\n", None), MEMORY_BYTES),
        (("", f"{GIB}"), GIB // 2),
        (("\xff", None), MEMORY_BYTES),
    ],
)
def test_the_goal(tmp_path: Path, texts: tuple[str | None, ...], goal: int) -> None:
    files = [tmp_path / str(number) for number in range(len(texts))]
    for path, text in zip(files, texts, strict=True):
        if text is not None:
            path.write_text(text, "latin-1")
    assert memory_goal(files) == goal


def test_on_this_machine() -> None:
    assert 0 < memory_goal() <= MEMORY_BYTES
