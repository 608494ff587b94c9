"""One meaning per byte string: the quick ways say what the slow and obvious ones say, whatever the bytes."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portcullis.evidence.decode import LongText, decode_base64, parse_carrier, parse_json, parse_object, require_strict
from portcullis.evidence.refusal import EvidenceError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.strictjson import StrictJsonError, check_json

LIMITS = Limits(json_depth=6)

# Texts that could be taken for the structure around them, and keys that are equal in other spellings.
HARD = st.sampled_from(
    [
        "",
        "a",
        "b",
        ":",
        '"',
        '":',
        "\\",
        '\\"',
        "{",
        "}",
        '{"a":1,"a":2}',
        ",",
        "[",
        "é",
        "\u0022",
        "\t",
        "a\n",
        "\u2028",
    ]
)
TEXT = HARD | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
NUMBERS = st.sampled_from(["0", "-0", "1.5", "1e3", "12345678901234567890", "1e999", "01", "NaN", "-Infinity", "1."])


@st.composite
def written_text(draw: st.DrawFn) -> str:
    """A text as JSON, some of its characters as escapes though they need none."""
    pieces = []
    for character in draw(TEXT):
        if ord(character) < 0x10000 and draw(st.integers(0, 3)) == 0:
            pieces.append(f"\\u{ord(character):04x}")
        else:
            pieces.append(json.dumps(character, ensure_ascii=draw(st.booleans()))[1:-1])
    return f'"{"".join(pieces)}"'


@st.composite
def written(draw: st.DrawFn, depth: int = 4) -> str:
    """JSON as text: valid mostly, with any spacing, and with keys that stand twice rather often."""
    space = draw(SPACE)
    kind = draw(st.integers(0, 5 if depth else 2))
    if kind == 0:
        return space + draw(st.sampled_from(["true", "false", "null"]) | NUMBERS)
    if kind <= 2:
        return space + draw(written_text())
    count = draw(st.integers(0, 3))
    if kind == 3:
        return space + "[" + ",".join(draw(written(depth=depth - 1)) for _ in range(count)) + space + "]"
    members = (draw(written_text()) + draw(SPACE) + ":" + draw(written(depth=depth - 1)) for _ in range(count))
    return space + "{" + (space + ",").join(members) + "}" + draw(SPACE)


def verdict(check: Any, data: bytes) -> str:
    try:
        check(data, limits=LIMITS, what="it")
    except EvidenceError as refused:
        return f"{refused.reason}: {refused.message}"
    return "strict"


@settings(max_examples=300)
@given(written().map(str.encode) | st.binary(max_size=30))
@example(b'{"a":1,"\\u0061":2}')
@example(b'{"a":"\\u0022\\u0022","a":""}')
@example(b'{"a":{"b":1,"c":{"b":1}},"b":[{"b":1},{"b":1}]}')
@example(b'{"":1,"":2}')
@example(b'{"a\\"":1,"a\\u0022":2}')
@example(b'{"a" :":","a":1}')
@example(b'["[[[[[[[[",["]]]]",{"a":"\\\\"},"\\"[[[","]","[",[]]]')
@example(b'[[["]",[["]",[["[","["]]]]]]]')
@example(b'[[["]",[["]",["[","["]]]]]]')
@example(b'{"a":[{"b":[{"c":[]}]}]}')
@example(b'{"a":[{"b":[{"c":[{}]}]}]}')
@example(b"[[[[[[]]]]]]")
@example(b"[[[[[[[]]]]]]]")
@example(b'"\\ud800"')
@example(b'"\\udc00\\ud800"')
@example(b'["\xed\xa0\x80"]')
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":1}\x00')
@example(b"[1e400]")
@example(b"[1] [2]")
def test_strictness_is_told_as_by_reading_all(data: bytes) -> None:
    assert verdict(require_strict, data) == verdict(parse_json, data)


@given(st.dictionaries(TEXT, st.integers(), min_size=1, max_size=6), st.data())
def test_a_key_that_stands_twice_is_found(pairs: dict[str, int], data: st.DataObject) -> None:
    """In any of several objects, whatever the spelling."""
    key = data.draw(st.sampled_from(sorted(pairs)))
    spelled = json.dumps(key) if any(ord(character) > 0xFFFF for character in key) else _in_numbers(key)
    inner = json.dumps(pairs)[:-1] + f", {spelled}: [0]}}"
    document = f'[{{"x": {json.dumps(pairs)}}}, {{"y": [{inner}]}}]'.encode()
    assert "stands twice" in verdict(require_strict, document)
    assert verdict(require_strict, document.replace(inner.encode(), json.dumps(pairs).encode())) == "strict"


def _in_numbers(key: str) -> str:
    return '"' + "".join(f"\\u{ord(character):04x}" for character in key) + '"'


@pytest.mark.parametrize("depth", [99, 100, 101, 900, 5000, 100_000])
@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_nesting_is_bounded_as_it_is_said(depth: int, pair: tuple[str, str]) -> None:
    opening, closing = pair
    document = (opening * depth + "[]" + closing * depth).encode()
    levels = depth * (opening.count("[") + opening.count("{")) + 1
    limits = Limits(json_values=10_000_000)
    if levels <= limits.json_depth:
        require_strict(document, limits=limits, what="it")
        return
    with pytest.raises(EvidenceError) as refused:
        require_strict(document, limits=limits, what="it")
    assert (refused.value.reason, "jsonDepth" in refused.value.message) == ("too-large", True)


def test_values_are_counted_before_anything_is_made() -> None:
    require_strict(b"[1,1]", limits=Limits(json_values=2), what="it")
    with pytest.raises(EvidenceError, match="it has more values than the limit jsonValues"):
        require_strict(b"[1,1,1]", limits=Limits(json_values=2), what="it")


# -- long documents, a few elements at a time -------------------------------------------------------------------------


def told(data: bytes, *, piece_bytes: int, max_depth: int = 14) -> str:
    try:
        check_json(data, max_depth=max_depth, piece_bytes=piece_bytes)
    except StrictJsonError as refused:
        return refused.problem
    return "strict"


KEYS = st.sampled_from(['"a"', '"a"', '"b"', '":"', '"\\u0061"'])
VALUES = st.sampled_from(
    [
        "1",
        "7.50",
        '""',
        '"a"',
        '"},{"',
        '"\\"},{\\"a\\":"',
        '"\\u0026"',
        '"\\u0022"',
        '"\\\\"',
        '"é"',
        "[]",
        "[[[0]]]",
        "{}",
    ]
)
BITS = ['},{"a":', '[{"a":', "},{", '"', "\\", "]", "\n0", ""]


@st.composite
def written_list(draw: st.DrawFn, depth: int = 2) -> str:
    """Of objects that begin with one key, as reports have it, most of them."""
    first, space = draw(KEYS), draw(SPACE)
    elements = []
    for _ in range(draw(st.integers(1, 4))):
        value = draw(written_list(depth=depth - 1) if depth and draw(st.booleans()) else VALUES)
        more = f",{draw(KEYS)}:{draw(VALUES)}" if draw(st.booleans()) else ""
        elements.append(f"{{{first}:{value}{more}}}")
    return f"[{space}{f',{space}'.join(elements)}]"


@st.composite
def long(draw: st.DrawFn) -> bytes:
    """Lists of objects in a document, and some of them with a few bytes put in or left out."""
    text = f'{{"x":{draw(written_list())},"y":[{draw(written_list())}]}}'
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(BITS)) + text[at + draw(st.integers(0, 2)) :]
    return text.encode()


@settings(max_examples=200)
@given(long(), st.integers(4, 30))
@example(b'[{"a":1},{"a":2},{"a":3}]', 8)
@example(b'[{"a":1},{"a":2,"a":3},{"a":4}]', 8)
@example(b'{"x":[{"a":1},{"a":2}],"x":[{"a":1},{"a":2}]}', 8)
@example(b'["[{\\"a\\":1},{\\"a\\":2}"]', 8)
@example(b'["[{"a":1},{"a":2},{"a":3}]"]', 8)
@example(b'{"[{":":1},{":":2}"}', 4)
@example(b'{"x":"[{","a":1},{"a":2},{"a":3}', 8)
@example(b'[{"a":1},{"a":2}5,{"a":3}]', 8)
@example(b'{"a":[{"a":1},{"a":2},{"a":3}],"a":0}', 8)
@example(b'[[{"a":1},{"a":2}],[{"a":1},{"a":2}]]', 8)
@example(b'[{"a":[{"a":1},{"a":2}]},{"a":[{"a":1}]},{"a":[]}]', 8)
@example(b'[{"a":"\\u0026"},{"a":"\\\\u0026"},{"a":"\\u003c\\\\\\u003e"},{"a":1,"\\u0026":1,"&":2}]', 8)
@example(b'[{"a":"\\u0022"},{"a":"\\u0022","a":""},{"a":7.50}]', 8)
@example(b'[{"a":7.50},{"a":7.50,"b":1},{"a":7.50,"b":1,"b":2}]', 8)
@example(b'[{"a":1},{"a":"\xff"},{"a":1}]', 8)
@example(b'[{"a":1},{"a":"\\ud800"},{"a":"\\udc00"}]', 8)
@example(b'[{"a":[[[[[[[[[1]]]]]]]]]},{"a":[[[[[[[[[[[[[1]]]]]]]]]]]]]},{"a":1}]', 8)
def test_strictness_of_long_documents_is_told_as_of_short_ones(data: bytes, piece_bytes: int) -> None:
    assert told(data, piece_bytes=piece_bytes) == told(data, piece_bytes=1 << 20)


@pytest.mark.parametrize("spaces", [(",", ":"), (", ", ": "), (" ,\n  ", " : ")])
@pytest.mark.parametrize("place", [0, 1, 700, 1998, 1999])
@pytest.mark.parametrize("depth", [0, 7, 8, 40, 97, 98])
def test_a_fault_anywhere_in_a_long_document_is_found(spaces: tuple[str, str], place: int, depth: int) -> None:
    """Of three lists, one in the other; 0.2 MB, so that it is read in pieces of the usual size."""
    elements = [{"id": number, "text": "a <b> & c" * 10} for number in range(2000)]

    def document(element: str) -> bytes:
        inner = json.dumps(elements, separators=spaces).replace(json.dumps(elements[place], separators=spaces), element)
        return f'{{"x": [{{"id": 1, "in": {inner}}}, {{"id": 2}}], "y": [{{"id": 3}}, {{"id": 4}}]}}'.encode()

    nested = f'{{"id":{"[" * depth}1{"]" * depth}}}'
    twice = f'{{"id":{"[" * depth}{{"c":1,"\\u0063":2}}{"]" * depth}}}'
    deepest = 4 + depth + 1
    assert told(document(nested), piece_bytes=16384, max_depth=deepest) == "strict"
    assert "is nested deeper" in told(document(nested), piece_bytes=16384, max_depth=deepest - 1)
    assert "stands twice" in told(document(twice), piece_bytes=16384, max_depth=deepest + 1)


def test_lists_of_which_nothing_can_be_cut_out_are_read_all_the_same() -> None:
    """More of them than are tried, and pieces that look like some and are none."""
    lists = b",".join(b'[{"a":[{"a":1},{"a":2}]},{"a":[{"a":1}]}]' for _ in range(400))
    assert told(b"[" + lists + b"]", piece_bytes=16) == "strict"
    assert "stands twice" in told(b"[" + lists + b',{"a":1,"a":2}]', piece_bytes=16)


# -- payloads that are taken out -------------------------------------------------------------------------------------

LONG = base64.b64encode(b"payload " * 5000).decode()


def plain(document: Any) -> Any:
    """What a long payload stands for, put back."""
    if isinstance(document, dict):
        return {key: plain(value) for key, value in document.items()}
    return document.quoted[1:-1].decode() if isinstance(document, LongText) else document


def outcome(parse: Any, data: bytes) -> Any:
    try:
        return plain(parse(data, limits=DEFAULT_LIMITS, what="it"))
    except EvidenceError as refused:
        return refused.message.split(" (character")[0]


MEMBERS = {
    "payload": f'"payload":"{LONG}"',
    "payload, spaced": f'"payload" : "{LONG}" ',
    "payload, longer": f'"payload":"{LONG}AAAA"',
    "payload, escaped": f'"payload":"{LONG[:-4]}\\u0041AAA"',
    "payload, empty": '"payload":""',
    "payload, short": '"payload":"AAAA"',
    "payload, null": '"payload":null',
    "payload, a list": f'"payload":["{LONG}"]',
    "payload, a number": '"payload":7041776018340925163',
    "payload, nearly that number": f'"payload":"{LONG}"5',
    "a key that ends so": f'"x\\"payload":"{LONG}"',
    "a text that ends so": f'"x":"\\"payload":"{LONG}"',
    "a text that holds it": f'"x":"\\"payload\\":\\"{LONG}\\""',
    "envelope, the number": '"dsseEnvelope":{"payload":7041776018340925163}',
    "envelope, list with it": f'"dsseEnvelope":[{{"payload":"{LONG}"}}]',
    "note": f'"note":"{LONG}"',
    "note with a quote": f'"note":"x\\"{LONG}"',
    "a key": f'"{LONG}":1',
    "envelope": f'"dsseEnvelope":{{"payload":"{LONG}"}}',
    "envelope, twice": f'"dsseEnvelope":{{"payload":"{LONG}AAAA","payload":""}}',
    "envelope, empty": '"dsseEnvelope":{"payload":""}',
    "envelope, a list": '"dsseEnvelope":[]',
    "envelope, deep": f'"deep":{{"dsseEnvelope":{{"payload":"{LONG}"}}}}',
    "signatures": '"signatures":[{"sig":"AAAA"}]',
    "a lone quote": f'"broken":"{LONG}" "',
    "no quotes": f'"broken":{LONG}',
    "a key twice": '"a":1,"a":2',
}


@given(st.lists(st.sampled_from(sorted(MEMBERS)), max_size=4))
@example(["note", "payload"])
@example(["payload", "payload, empty"])
@example(["note", "payload, empty"])
@example(["payload", "envelope, empty"])
@example(["payload, empty", "envelope"])
@example(["note with a quote", "payload"])
@example(["payload, a number", "envelope"])
@example(["envelope, the number", "payload"])
@example(["envelope", "envelope, the number"])
@example(["payload, nearly that number"])
@example(["a key that ends so"])
@example(["a text that ends so"])
@example(["a text that holds it", "payload, empty"])
def test_a_payload_that_is_taken_out_changes_nothing(members: Sequence[str]) -> None:
    data = ("{" + ",".join(MEMBERS[name] for name in members) + "}").encode()
    same = outcome(parse_carrier, data) == outcome(parse_object, data)
    assert same, members


def test_a_long_payload_is_taken_out_where_it_is_plain() -> None:
    """So that the test above tests something."""
    for text in (f'{{"payload":"{LONG}"}}', f'{{"x":1,"dsseEnvelope":{{"payload" : "{LONG}"}}}}'):
        document = parse_carrier(text.encode(), limits=DEFAULT_LIMITS, what="it")
        found = document.get("payload", document.get("dsseEnvelope", {}).get("payload"))
        assert isinstance(found, LongText)


ALPHABET = "AQgw/+09az=-_ \n\x7fé!"


@settings(max_examples=200)
@given(
    st.text(ALPHABET, min_size=1, max_size=12)
    | st.binary(min_size=1, max_size=20).map(lambda raw: base64.b64encode(raw).decode())
)
@example("AAAA====")
@example("AAAA=")
@example("====")
@example("AB==")
@example("AAB=")
@example("AA=A")
@example("AA==AAAA")
def test_long_texts_of_base64_are_decoded_as_short_ones(text: str) -> None:
    def decoded(value: object) -> bytes | None:
        try:
            return decode_base64(value, "it")
        except EvidenceError:
            return None

    assert decoded(LongText(f'"{text}"'.encode())) == decoded(text)


@pytest.mark.parametrize("text", ["AAAAAAAA", "AAAAAAA=", "AAAAAA=="])
def test_no_other_character_is_base64(text: str) -> None:
    for place in range(len(text)):
        for byte in set(range(256)) - {0x22, 0x5C}:
            changed = text[:place].encode() + bytes([byte]) + text[place + 1 :].encode()
            try:
                decoded = decode_base64(LongText(b'"' + changed + b'"'), "it")
            except EvidenceError:
                continue
            assert base64.b64encode(decoded) == changed
