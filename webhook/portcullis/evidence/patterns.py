"""Patterns of identities: regular expressions that take linear time, whatever the text.

The text is the name in a certificate, of which whoever signs chooses a good part, and Python's own engine goes back and
forth in it: ``(a+)+b`` would keep a thread busy for years. Here a pattern becomes a list of instructions, all ways
through which are walked at once, one character after the other (R. Cox, "Regular Expression Matching: the Virtual
Machine Approach"). The time is bounded by the length of the text times that of the list.

Read are literals, ``.``, classes, ``\\d \\w \\s`` and their opposites (ASCII), groups, ``|``, and the quantifiers
``* + ? {n} {n,} {n,m}``, with the meaning that they have in ``re``. A pattern stands for the whole text: ``^`` as its
first and ``$`` as its last character are allowed and say nothing more. What this cannot do (look-around, references,
flags, boundaries) is refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from string import ascii_letters, digits

PATTERN_CHARS = 1000
_INSTRUCTIONS = 2000
"""After counted quantifiers are written out."""
_KNOWN = 128
"""Texts of which a pattern keeps what it said, if they are no longer than a pattern may be."""
_NESTING = 30
_COUNT_DIGITS = 4

_DIGIT = ((ord("0"), ord("9")),)
_WORD = ((ord("0"), ord("9")), (ord("A"), ord("Z")), (ord("_"), ord("_")), (ord("a"), ord("z")))
_SPACE = ((ord("\t"), ord("\r")), (ord(" "), ord(" ")))
_CATEGORIES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_LAST = 0x10FFFF


class PatternError(ValueError):
    """Why a pattern cannot be used; goes on after its name."""


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character within one of the ranges."""

    ranges: tuple[tuple[int, int], ...]

    def holds(self, character: str) -> bool:
        code = ord(character)
        return any(low <= code <= high for low, high in self.ranges)


@dataclass(frozen=True, slots=True)
class _Split:
    """Goes on at each of these instructions."""

    ways: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    ways: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    """``most`` is None where there is no end."""

    part: "_Node"
    least: int
    most: int | None


_Node = _Chars | _Sequence | _Choice | _Repeat
_Program = list[_Chars | _Split]


class Pattern:
    """A pattern that stands for a whole text.

    Raises:
        PatternError: it is empty, too long, or holds what is not read.
    """

    __slots__ = ("_known", "_program")

    def __init__(self, text: str) -> None:
        if not 0 < len(text) <= PATTERN_CHARS:
            raise PatternError(f"has {len(text)} characters")
        self._known: dict[str, bool] = {}
        self._program: _Program = []
        _write(_Reader(text).read(), self._program)

    def matches(self, text: str) -> bool:
        """Whether the whole of ``text`` is one that the pattern describes. The same few ask again and again."""
        known = self._known.get(text)
        if known is None:
            known = self._describes(text)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            if len(text) <= PATTERN_CHARS:
                self._known[text] = known
        return known

    def _describes(self, text: str) -> bool:
        at = self._follow((0,))
        for character in text:
            at = self._follow(
                place + 1 for place in at if isinstance(step := self._at(place), _Chars) and step.holds(character)
            )
            if not at:
                return False
        return len(self._program) in at

    def _at(self, place: int) -> _Chars | _Split | None:
        return self._program[place] if place < len(self._program) else None

    def _follow(self, places: Iterable[int]) -> set[int]:
        """The places where a character is awaited, or the end, that are reached from ``places`` without one."""
        reached: set[int] = set()
        seen: set[int] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            step = self._at(place)
            if isinstance(step, _Split):
                waiting.extend(step.ways)
            else:
                reached.add(place)
        return reached


def _write(node: _Node, program: _Program) -> None:
    """Appends the instructions of ``node``."""
    if len(program) > _INSTRUCTIONS:
        raise PatternError("is too large once its quantifiers are written out")
    match node:
        case _Chars():
            program.append(node)
        case _Sequence():
            for part in node.parts:
                _write(part, program)
        case _Choice():
            _write_choice(node, program)
        case _Repeat():
            _write_repeat(node, program)


def _write_choice(node: _Choice, program: _Program) -> None:
    split = len(program)
    program.append(_Split(()))
    starts, ends = [], []
    for way in node.ways:
        starts.append(len(program))
        _write(way, program)
        ends.append(len(program))
        program.append(_Split(()))
    program[split] = _Split(tuple(starts))
    for end in ends:
        program[end] = _Split((len(program),))


def _write_repeat(node: _Repeat, program: _Program) -> None:
    start = len(program)
    for _ in range(node.least):
        start = len(program)
        _write(node.part, program)
    if node.most is None and node.least:
        # The last one that must be there is the one that may come again: nested quantifiers do not double their part.
        program.append(_Split((start, len(program) + 1)))
    elif node.most is None:
        program.append(_Split(()))
        _write(node.part, program)
        program.append(_Split((start,)))
        program[start] = _Split((start + 1, len(program)))
    else:
        _write_optional(node.part, node.most - node.least, program)


def _write_optional(part: _Node, times: int, program: _Program) -> None:
    skips = []
    for _ in range(times):
        skips.append(len(program))
        program.append(_Split(()))
        _write(part, program)
    for skip in skips:
        program[skip] = _Split((skip + 1, len(program)))


class _Reader:
    """Reads a pattern by recursive descent."""

    def __init__(self, text: str) -> None:
        # Each says what is so already; an escaped dollar is a literal.
        text = text.removeprefix("^")
        if text.endswith("$") and not _is_escaped(text, len(text) - 1):
            text = text[:-1]
        self._text = text
        self._place = 0
        self._nesting = 0

    def read(self) -> _Node:
        node = self._choice()
        if self._place < len(self._text):
            raise PatternError("has a ) without its (")
        return node

    def _next(self) -> str:
        return self._text[self._place] if self._place < len(self._text) else ""

    def _take(self) -> str:
        character = self._next()
        if not character:
            raise PatternError("ends too early")
        self._place += 1
        return character

    def _choice(self) -> _Node:
        ways = [self._sequence()]
        while self._next() == "|":
            self._place += 1
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else _Choice(tuple(ways))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._quantified())
        return _Sequence(tuple(parts))

    def _quantified(self) -> _Node:
        part = self._atom()
        counts = self._quantifier()
        if counts is None:
            return part
        if self._next() == "?":  # asks for the shortest, which is the same for a whole text
            self._place += 1
        if self._next() == "+" or self._quantifier() is not None:
            raise PatternError("has a quantifier behind a quantifier")
        return _Repeat(part, *counts)

    def _quantifier(self) -> tuple[int, int | None] | None:
        match self._next():
            case "*":
                counts: tuple[int, int | None] = (0, None)
            case "+":
                counts = (1, None)
            case "?":
                counts = (0, 1)
            case "{":
                return self._counted()
            case _:
                return None
        self._place += 1
        return counts

    def _counted(self) -> tuple[int, int | None]:
        end = self._text.find("}", self._place)
        least, comma, most = self._text[self._place + 1 : max(end, 0)].partition(",")
        if end < 0 or not _is_count(least) or (most and not _is_count(most)):
            raise PatternError("has a { that begins no {n}, {n,} or {n,m}; write \\{ for the character")
        self._place = end + 1
        if not comma:
            return int(least), int(least)
        if most and int(most) < int(least):
            raise PatternError("has a quantifier whose end is before its begin")
        return int(least), int(most) if most else None

    def _atom(self) -> _Node:
        match character := self._take():
            case "(":
                return self._group()
            case "[":
                return self._class()
            case ".":
                return _Chars(_all_but(((ord("\n"), ord("\n")),)))
            case "\\":
                return _Chars(self._escape())
            case "*" | "+" | "?" | "{" | "}" | "]":
                raise PatternError(f"has a {character} in a place where it has no meaning; write \\{character}")
            case "^" | "$":
                raise PatternError(f"has a {character} inside; it stands for a whole text")
            case _:
                return _Chars(((ord(character), ord(character)),))

    def _group(self) -> _Node:
        if self._next() == "?":
            self._place += 1
            if self._take() != ":":
                raise PatternError("has a group of a kind that is not read: only ( ) and (?: ) are")
        self._nesting += 1
        if self._nesting > _NESTING:
            raise PatternError(f"has groups nested more than {_NESTING} deep")
        node = self._choice()
        if self._next() != ")":
            raise PatternError("has a ( without its )")
        self._place += 1
        self._nesting -= 1
        return node

    def _class(self) -> _Node:
        negated = self._next() == "^"
        if negated:
            self._place += 1
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self._next() != "]":
            first = False
            ranges.extend(self._member())
        self._place += 1
        return _Chars(_all_but(ranges) if negated else tuple(ranges))

    def _member(self) -> tuple[tuple[int, int], ...]:
        """One member of a class: a character, a range, or a category."""
        low = self._member_ranges()
        if self._next() != "-" or self._text[self._place + 1 : self._place + 2] in ("]", ""):
            return low
        self._place += 1
        high = self._member_ranges()
        if not (_is_single(low) and _is_single(high) and low[0][0] <= high[0][0]):
            raise PatternError("has a range in a class that is none")
        return ((low[0][0], high[0][0]),)

    def _member_ranges(self) -> tuple[tuple[int, int], ...]:
        character = self._take()
        if character == "[":
            raise PatternError("has a [ in a class; write \\[ for the character")
        return self._escape() if character == "\\" else ((ord(character), ord(character)),)

    def _escape(self) -> tuple[tuple[int, int], ...]:
        character = self._take()
        if character.lower() in _CATEGORIES:
            ranges = _CATEGORIES[character.lower()]
            return ranges if character.islower() else _all_but(ranges)
        if character in ascii_letters + digits and character not in _CONTROLS:
            raise PatternError(f"has \\{character}, which is not read")
        code = ord(_CONTROLS.get(character, character))
        return ((code, code),)


def _is_escaped(text: str, place: int) -> bool:
    before = text[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _is_count(text: str) -> bool:
    return 0 < len(text) <= _COUNT_DIGITS and all(character in digits for character in text)


def _is_single(ranges: tuple[tuple[int, int], ...]) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _all_but(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The characters in none of the ranges."""
    others, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            others.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST:
        others.append((start, _LAST))
    return tuple(others)
