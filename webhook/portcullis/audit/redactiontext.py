"""Secrets in text: tokens by their form, values by the name before them, passwords in URLs, headers and arguments.

Two steps, so that the many texts without a secret cost next to nothing:

1. :func:`suspect` asks whether there can be one at all, of many texts at once: by expressions of Rust, which take
   linear time whatever the text (linear.py), 2 ms for a megabyte.
2. :func:`without_secrets` takes them out of the suspected lines of one text. Its expressions are Python's; each is a
   fixed beginning and runs that are never gone over twice, so that they take linear time as well; but a thousand times
   more of it, so that :class:`Work` bounds how much is looked at.

Only the secret goes; what names it stays, so that a policy can still ask for an argument. Redacting twice is redacting
once.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from portcullis.audit.linear import linear
from portcullis.errors import RedactionError
from portcullis.secretforms import HARMLESS, PRIVATE_KEY, TOKEN

REDACTED: Final = "[redacted]"
"""Stands where a value was."""

_ALWAYS: Final = (
    r"password|passwd|passphrase|passcode|token|api[_.-]?key|secret[_.-]?access[_.-]?key|private[_.-]?key|auth[_.-]?key"
    r"|account[_.-]?key|encryption[_.-]?key|signing[_.-]?key|master[_.-]?key|shared[_.-]?(?:access[_.-]?)?key|assertion"
    r"|(?:client|app|consumer|jwt|hmac|shared|session|cookie|oauth2?|api|signing|encryption|webhook)[_.-]?secret"
)
"""Ends of names whose value is a secret wherever they stand."""

_ARGUMENTS: Final = rf"{_ALWAYS}|secret|secret[_.-]?key|access[_.-]?key|credentials?|(?<![a-z])(?:pwd|pass|pat)"
"""The same of arguments, variables and pairs in text. A *field* that is called so mostly refers to a Secret by name."""

_NUMBER: Final = r"(?:[_-]?[0-9]{1,3})?"
_FIELD: Final = re.compile(rf"(?ia)(?:{_ALWAYS}|(?<![a-z])(?:pwd|pass)){_NUMBER}\Z")
_NUMERIC: Final = re.compile(rf"(?ia)(?:password|passwd|passphrase|passcode|(?<![a-z])(?:pwd|pass|pin)){_NUMBER}\Z")
_ARGUMENT: Final = re.compile(rf"(?ia)(?:{_ARGUMENTS}){_NUMBER}\Z")
_SWITCH: Final = "automountServiceAccountToken"
"""Nearly every pod has it, and it says yes or no: not worth a second look."""
_HEADER: Final = re.compile(r"(?ia)(?:proxy-)?authorization|cookie|set-cookie")

_TOKEN: Final = re.compile(TOKEN, re.ASCII)
_KEY: Final = re.compile(rf"{PRIVATE_KEY}.*?(?:-----END [A-Z0-9 ]{{1,60}}-----|\Z)", re.DOTALL)
_URL: Final = re.compile(r"""://[^\s/:@"'`<>]*+:([^\s/@"'`<>]++)@""")
_QUERY: Final = re.compile(
    r"""(?ia)(?:[?&;]|%26)(?:sig|signature|x-amz-signature|x-amz-security-token|x-goog-signature)=([^\s&"'#;]++)"""
)
_AUTHORIZATION: Final = re.compile(
    r"""(?ia)authorization\\{0,7}["']?[ \t]{0,8}[:=][ \t]{0,8}\\{0,7}["']?(?:[a-z]{1,20}[ \t]{1,3})?"""
)
_BEARER: Final = re.compile(r"(?ia)(?<![a-z])bearer[ \t]{1,3}")
_PAIR: Final = re.compile(
    rf"""(?ia)(?:(?:{_ARGUMENTS}){_NUMBER}\\{{0,7}}["']?|["']auth\\{{0,7}}["'])"""
    r"[ \t]{0,8}(?:=>|[:=]=?|%3d)[ \t]{0,8}"
)
_OPTION: Final = re.compile(rf"(?ia)(?:{_ARGUMENTS}){_NUMBER}[ \t]{{1,8}}")
_BEFORE_OPTION: Final = re.compile(r"""(?a)(?:^|[\s"'`=(,\[])--?[\w.-]+[ \t]{1,8}["'`]?\Z""")
_OPEN: Final = re.compile(r"""(\\{0,7})(["'`])""")
_QUOTED: Final = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*+", re.DOTALL) for quote in "\"'`"}
_ESCAPED: Final = {quote: re.compile(rf"[^{quote}\\]*+") for quote in "\"'`"}
_PLAIN: Final = re.compile(r"""[^\s"'`&;<>|\\]*+""")
_CLOSING: Final = ",)}]"
_PAIRED: Final = re.compile(r"[=:,]")
_BLANKS: Final = re.compile(r"(\s++)")

_PASSWORD_OPTIONS: Final = {
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump", "mycli"), ("-p",)),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "sshpass"), ("-p",)),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami"), ("-w",)),
    **dict.fromkeys(("redis-cli", "valkey-cli"), ("-a",)),
    "sqlcmd": ("-P",),
    "login": ("-p",),  # docker, podman, helm, skopeo, oras: only behind this word is -p a password
}
"""Short options by program: ``-p`` of mkdir, ssh and docker run is none."""
_USER_OPTIONS: Final = {
    **dict.fromkeys(("curl", "wget"), ("-u", "--user", "--proxy-user", "-U")),
    "smbclient": ("-U",),
}
"""Options that take ``user:password`` or, of smbclient, ``user%password``."""
_GLUED: Final = frozenset({"-p", "-a", "-w", "-u", "-U", "-P"})
_PROGRAMS: Final = frozenset(_PASSWORD_OPTIONS) | frozenset(_USER_OPTIONS)
_PROGRAM: Final = re.compile(rf"(?<![\w-])(?:{'|'.join(sorted(map(re.escape, _PROGRAMS)))})(?![\w-])")
_END_OF_COMMAND: Final = frozenset({";", "&&", "||", "|", "&"})


def _plain(expression: str) -> str:
    """The expression without what looks around, which Rust's have not: it fits more."""
    return re.sub(r"\(\?<![^)]*\)|\\b|\\Z", "", expression)


_NAMES: Final = f"(?:{_plain(_ARGUMENTS)}){_NUMBER}"
_MAYBE_TOKEN: Final = f"{_plain(TOKEN)}|-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
_MAYBE_ADDRESS: Final = (
    r"""://[^ \t\r\n/:@"'`<>]*:[^ \t\r\n/@"'`<>]+@|(?i-u:[?&;]|%26)(?i-u:[a-z-]*sig|[a-z-]*token)[a-z]*="""
)
_MAYBE_VALUE: Final = (
    r"""(?i-u:authorization)\\*["']?[ \t]*[:=]|(?i-u:bearer)[ \t]+[^ \t\r\n]{8}|["'](?i-u:auth)\\*["']"""
    rf"""|(?i-u:{_NAMES}\\*["']?[ \t]*(?:[:=]|%3d)|-[a-z0-9_.-]*{_NAMES}[ \t])"""
)
_MAYBE_COMMAND: Final = rf"""(?:{"|".join(sorted(map(re.escape, _PROGRAMS)))})["']?[ \t](?:[^\r\n]*[ \t])?["']?-"""
_has_token = linear(_MAYBE_TOKEN)
_has_address = linear(_MAYBE_ADDRESS)
_has_value = linear(_MAYBE_VALUE)
_has_command = linear(_MAYBE_COMMAND)
_has_any = linear("|".join((_MAYBE_TOKEN, _MAYBE_ADDRESS, _MAYBE_VALUE, _MAYBE_COMMAND)))
_has_name = linear(f"(?i-u:{_NAMES}|authorization|cookie)$")


class Work:
    """What may still be spent on one request: characters of suspected lines, so that no text can take long.

    Args:
        chars: how many.
    """

    __slots__ = ("_left", "_limit")

    def __init__(self, chars: int) -> None:
        self._left = self._limit = chars

    def spend(self, chars: int) -> None:
        """Raises RedactionError: that is more than is left."""
        self._left -= chars + _EACH
        if self._left < 0:
            raise RedactionError(
                f"there is too much in the request that may be a secret; limits.suspectChars is {self._limit}"
            )


_EACH: Final = 16
"""Characters that a line, a name or an argument counts for beside its own: even an empty one takes time."""


def suspect(text: str) -> bool:
    """Whether a secret may be in ``text``. Never False where :func:`without_secrets` would take something out."""
    return _has_any(text)


def is_secret_field(name: str) -> bool:
    """Whether a field, an annotation or a label of this name holds a secret."""
    return name != _SWITCH and _has_name(name) and _FIELD.search(name[-80:]) is not None


def is_numeric_secret(name: str) -> bool:
    """Whether also a number is one there."""
    return _NUMERIC.search(name[-80:]) is not None


def is_secret_argument(name: str) -> bool:
    """Whether an argument or a variable of this name holds one; also headers, as probes name them."""
    return _has_name(name) and (_ARGUMENT.search(name[-80:]) is not None or _HEADER.fullmatch(name) is not None)


def is_harmless(value: str) -> bool:
    """Whether a value is no secret, whatever it is called, or was taken out before."""
    if not value or value.startswith(REDACTED):
        return True
    # What goes on with a pair of its own is more than a reference or a path.
    return HARMLESS.fullmatch(value) is not None and _PAIRED.search(value) is None


def without_secrets(text: str, work: Work) -> str:
    """``text`` with the marker in the place of every secret that is known by its form or its name, line by line.

    Raises:
        RedactionError: there is more to look at than ``work`` allows.
    """
    if "PRIVATE KEY" in text:
        work.spend(0)
        text = _KEY.sub(REDACTED, text)
    return "".join([_line(line, work) if _has_any(line) else line for line in text.splitlines(keepends=True)])


def _line(line: str, work: Work) -> str:
    for _ in range(_ROUNDS):
        windows = _windows(line)
        work.spend(sum(end - start for start, end in windows))
        spans = sorted(span for find in _FINDERS for span in find(line, windows))
        made = _without(line, spans) if spans else line
        if len(line) <= _COMMAND_CHARS and _has_command(line) and _PROGRAM.search(line):
            made = _command_line(made)
        if made == line:
            return line
        line = made
    return REDACTED


_ROUNDS: Final = 4
"""What was taken out brings what stood around it together; a line that never comes to rest goes whole."""
_COMMAND_CHARS: Final = 16 * 1024
"""A longer line is no command line but data."""
_WINDOW: Final = 4096

Span = tuple[int, int]


def _windows(line: str) -> list[Span]:
    """The parts of a line in which a secret may begin; each reaches half into the next one."""
    size = len(line)
    if size <= _WINDOW:
        return [(0, size)]
    parts = ((start, min(start + _WINDOW, size)) for start in range(0, size - _WINDOW // 2, _WINDOW // 2))
    return [(start, end) for start, end in parts if _has_any(line[start:end])]


def _found(line: str, windows: Sequence[Span], pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Matches that begin in the windows; each goes on as far as it will."""
    at = 0
    for start, end in windows:
        at = max(at, start)
        while (found := pattern.search(line, at, end)) is not None:
            whole = pattern.match(line, found.start()) if found.end() == end else found
            assert whole is not None
            at = max(whole.end(), found.start() + 1)
            yield whole


def _tokens(line: str, windows: Sequence[Span]) -> Iterator[Span]:
    return (found.span() for found in _found(line, windows, _TOKEN)) if _has_token(line) else iter(())


def _addresses(line: str, windows: Sequence[Span]) -> Iterator[Span]:
    """Passwords in URLs, and signatures in their queries."""
    if _has_address(line):
        for pattern in (_URL, _QUERY):
            for found in _found(line, windows, pattern):
                if not is_harmless(found[1]):
                    yield found.span(1)


def _values(line: str, windows: Sequence[Span]) -> Iterator[Span]:
    """Values of pairs, headers and options."""
    if _has_value(line):
        yield from _behind(line, windows, _AUTHORIZATION)
        yield from _behind(line, windows, _PAIR)
        for start, end in _behind(line, windows, _BEARER):
            value = line[start:end]  # "bearer authentication" is prose
            if len(value) >= 20 or (len(value) >= 8 and any(character.isdigit() for character in value)):
                yield start, end
        for start, end in _behind(line, windows, _OPTION):
            # The name must be an option, and what follows must not be the next one.
            if line[start] != "-" and _BEFORE_OPTION.search(line[max(0, start - 100) : start]):
                yield start, end


_FINDERS: Final = (_tokens, _addresses, _values)


def _behind(line: str, windows: Sequence[Span], head: re.Pattern[str]) -> Iterator[Span]:
    """Values behind ``head``. The search goes on behind each value, so that no text is gone over twice."""
    at = 0
    for begin, limit in windows:
        at = max(at, begin)
        while (found := head.search(line, at, limit)) is not None:
            start, end = _value(line, found.end())
            at = max(found.end(), end)
            if not is_harmless(line[start:end]):
                yield start, end


def _without(line: str, spans: Sequence[Span]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in spans:
        if start >= at:
            pieces += (line[at:start], REDACTED)
        at = max(at, end)
    return "".join((*pieces, line[at:]))


def _value(text: str, at: int) -> tuple[int, int]:
    """Where the value that begins at ``at`` stands, without its quotes."""
    opened = _OPEN.match(text, at)
    if opened is not None:
        inside = (_ESCAPED if opened[1] else _QUOTED)[opened[2]].match(text, opened.end())
        assert inside is not None  # it fits nothing, too
        return inside.span()
    if text.startswith(("{", "[", "("), at) and not text.startswith(REDACTED, at):
        return at, at
    plain = _PLAIN.match(text, at)
    assert plain is not None
    value = plain[0]
    end = at + (len(REDACTED) if value.startswith(REDACTED) else len(value.rstrip(_CLOSING)))
    return at, end


# -- arguments ---------------------------------------------------------------------------------------------------------


def without_secret_arguments(arguments: Sequence[object]) -> dict[int, str]:
    """What stands in the place of those arguments of a command that hold a secret, by their place; by the names of
    options and programs alone, for :func:`without_secrets` looks into each text."""
    changed: dict[int, str] = {}
    command = _Command()
    for at, argument in enumerate(arguments):
        if isinstance(argument, str):
            made = command.next(argument)
            if made != argument:
                changed[at] = made
        else:
            command = _Command()
    return changed


class _Command:
    """One command line, word by word."""

    def __init__(self) -> None:
        self._passwords: tuple[str, ...] = ()
        self._users: tuple[str, ...] = ()
        self._pending = ""
        """What the word before says of the next one: that it is a password, or a user with one."""

    def next(self, word: str) -> str:
        pending, self._pending = self._pending, ""
        if word in _END_OF_COMMAND:
            self._passwords = self._users = ()
        elif pending and not word.startswith("-"):
            return self._whole(word) if pending == "password" else self._user(word)
        elif word.startswith("-") or "=" in word:
            return self._option(word)
        elif (program := word.rpartition("/")[2].strip("\"'")) in _PROGRAMS:
            self._passwords = _PASSWORD_OPTIONS.get(program, ())
            self._users = _USER_OPTIONS.get(program, ())
        return word

    def _option(self, word: str) -> str:
        name, equals, value = word.partition("=")
        if equals:
            if name in self._users:
                return f"{name}={self._user(value)}"
            return f"{name}={self._whole(value)}" if is_secret_argument(name) else word
        if word in self._passwords or is_secret_argument(word):
            self._pending = "password"
        elif word in self._users:
            self._pending = "user"
        elif word[:2] in _GLUED and word[:2] in self._passwords:
            return f"{word[:2]}{self._whole(word[2:])}"
        elif word[:2] in _GLUED and word[:2] in self._users:
            return f"{word[:2]}{self._user(word[2:])}"
        return word

    @staticmethod
    def _whole(value: str) -> str:
        return value if is_harmless(value.strip("\"'")) else REDACTED

    @staticmethod
    def _user(value: str) -> str:
        mark = ":" if ":" in value else "%"
        name, separator, password = value.partition(mark)
        return f"{name}{separator}{REDACTED}" if separator and not is_harmless(password) else value


def _command_line(line: str) -> str:
    """A command line in a text, as ``sh -c`` takes it: the same, word by word."""
    command = _Command()
    words = _BLANKS.split(line)
    words[::2] = [command.next(word) if word else word for word in words[::2]]
    return "".join(words)
