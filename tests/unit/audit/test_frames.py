"""Frames survive what a crash or a bad disk does to a file."""

from hypothesis import given
from hypothesis import strategies as st

from portcullis.audit.frames import HEAD_BYTES, MARKER, Scan, frame, next_frame, scan

# The marker cannot occur in UTF-8 text, which is all that records are.
PAYLOADS = st.lists(st.text(min_size=1).map(str.encode), max_size=5)


def payloads(content: bytes) -> list[bytes]:
    found, at = [], 0
    while (place := next_frame(content, at)) is not None:
        start, at = place
        found.append(content[start + HEAD_BYTES : at])
    return found


@given(PAYLOADS)
def test_what_is_framed_is_found_in_order(written: list[bytes]) -> None:
    content = b"".join(frame(payload) for payload in written)
    assert payloads(content) == written
    assert scan(content) == Scan(frames=len(written), end=len(content), damaged=0, torn=0)


@given(PAYLOADS, st.data())
def test_a_cut_anywhere_loses_only_what_is_behind_it(written: list[bytes], data: st.DataObject) -> None:
    content = b"".join(frame(payload) for payload in written)
    cut = data.draw(st.integers(0, len(content)))
    kept = payloads(content[:cut])
    assert kept == written[: len(kept)]
    whole = sum(len(frame(payload)) for payload in kept)
    assert scan(content[:cut]) == Scan(frames=len(kept), end=whole, damaged=0, torn=cut - whole)
    assert cut - whole < (len(frame(written[len(kept)])) if len(kept) < len(written) else 1)


@given(PAYLOADS, st.data())
def test_a_changed_byte_loses_only_its_own_frame(written: list[bytes], data: st.DataObject) -> None:
    written = [b"first", *written, b"last"]
    hit = data.draw(st.integers(0, len(written) - 1))
    before = sum(len(frame(payload)) for payload in written[:hit])
    place = before + data.draw(st.integers(0, len(frame(written[hit])) - 1))
    content = bytearray(b"".join(frame(payload) for payload in written))
    content[place] ^= data.draw(st.integers(1, 255))
    assert payloads(bytes(content)) == written[:hit] + written[hit + 1 :]


@given(PAYLOADS, st.integers(1, 100))
def test_zeros_at_the_end_are_no_frames(written: list[bytes], zeros: int) -> None:
    content = b"".join(frame(payload) for payload in written)
    assert scan(content + bytes(zeros)) == Scan(frames=len(written), end=len(content), damaged=0, torn=zeros)


@given(st.binary())
def test_any_bytes_are_scanned(content: bytes) -> None:
    assert scan(content).torn <= len(content)


def test_a_length_beyond_the_end_is_no_frame() -> None:
    assert payloads(MARKER + b"\xff\xff\xff\xff" + bytes(100) + frame(b"whole")) == [b"whole"]
