"""From OPA's messages to what mends it. The texts are those of OPA 1.21 (tried; tests hold them to the pinned OPA)."""

import difflib
import re
from collections.abc import Iterable

from portcullis.policy.capabilities import ALLOWED_BUILTINS

_WORDS: tuple[tuple[str, str], ...] = (
    (
        r"`if` keyword is required before (rule|function) body",
        "write `if` before the brace: `deny contains violation if { … }`",
    ),
    (
        r"`contains` keyword is required for partial set",
        "write `deny contains violation if { … }` instead of `deny[violation]`",
    ),
    (r"var (?P<name>\S+) is unsafe", "nothing gives `{name}` a value: {unsafe}"),
    (r"import (?P<name>\S+).* unused", "remove the import, or use it"),
    (
        r"(assigned|declared) var (?P<name>\S+) unused",
        "remove `{name}`, use it, or write `_` for a value that nobody reads",
    ),
    (r"unused argument (?P<name>[^.\s]+)", "write `_` for an argument that the function does not read"),
    (r"var (?P<name>\S+) assigned above", "a variable gets one value only: choose another name, or compare with `==`"),
    (
        r"var (?P<name>\S+) referenced above",
        "`{name}` is used before it is assigned: move the `:=` up, or choose another name",
    ),
    (r"import must not shadow", "give one of the imports another name: `import data.… as other`"),
    (r"rules must not shadow (?P<name>\S+)", "`{name}` is a word of the language: choose another name"),
    (r"(variables|arguments) must not shadow", "choose another name"),
    (r"cannot assign to", "`:=` makes a new variable; compare with `==`"),
    (r"is recursive", "Rego has no recursion: use `walk`, `graph.reachable`, or an iteration"),
    (r"conflicting rules", "all rules of one name must be of one kind (set, object, value) and take as many arguments"),
    (r"multiple default rules", "keep one `default`"),
    (r"illegal default rule \(value cannot contain", "a default is a constant: no references, calls or variables"),
    (r"illegal default rule", "write `default name := value`; sets need no default"),
    (r"non-terminated string", 'close the string with `"`; a text of several lines stands between backquotes'),
    (r"illegal escape sequence", "write a pattern between backquotes (`\\d`), or double the backslash"),
    (
        r"unexpected eof|non-terminated expression",
        "something that was opened is not closed: look for a missing }, ) or ]",
    ),
    (
        r"unexpected and token",
        "there is no `&&`: every line of a body must hold, so write the conditions one below the other",
    ),
    (r"unexpected or token", "`|` joins sets; for `or` write a rule of the same name for each case"),
    (r"illegal ! character", "write `not`"),
    (r"illegal (character|token)", "{token}"),
    (r"unexpected not keyword", "`not` cannot be doubled: negate a helper rule"),
    (r"unexpected if keyword", "`if` stands once, after the rule's head; conditions in a body are lines of their own"),
    (r"unexpected else keyword", "`else` follows the closing brace of a rule with a body: `} else := value if { … }`"),
    (
        r"unexpected contains keyword: the contains keyword can only",
        "a function cannot be a set: return one, `f(x) := {y | …}`",
    ),
    (r"unexpected in keyword", "write `some element in collection`"),
    (r"missing body", "`every` needs a body: `every x in xs { … }`"),
    (r"found empty body", "a body needs an expression; for a rule that always holds leave out `if` and braces"),
    (
        r"hint: `import future\.keywords\.and`",
        "every line of a body must hold: write the conditions one below the other",
    ),
    (r"unexpected .* expected \\n or ; or }", "{statement}"),
    (r"cannot be used for rule name", "a rule begins with its name, then `:=`, `contains` or `if`"),
    (r"unexpected package", "`package` stands once, at the top of the file"),
    (r"package expected", "a file begins with `package portcullis.policies.<name>`"),
    (r"empty module", "the file holds nothing: begin with `package portcullis.policies.<name>`"),
    (r"with keyword target must reference", "`with` replaces input, data, or a function, such as `with input as …`"),
    (r"arity mismatch", "the number of arguments is wrong"),
    (r"invalid argument\(s\)", "an argument has a type that the function does not take"),
    (r"deprecated built-in function calls in expression: (?P<name>\S+)", "{deprecated}"),
    (r"match error", "the two sides have types that are never equal"),
)

_DEPRECATED = {
    "all": "use `every x in xs { x == true }`",
    "any": "use `some x in xs; x == true`",
    "re_match": "use `regex.match`",
    "set_diff": "use `a - b`",
    "net.cidr_overlap": "use `net.cidr_contains`",
}

_STATEMENTS = {
    "return": "there is no `return`: the value stands in the rule's head, `f(x) := value if { … }`",
    "for": "there is no `for`: write `some element in collection`, or `every element in collection { … }`",
    "def": "a function is a rule: `f(x) := value if { … }`",
    "let": "write `name := value`",
    "var": "write `name := value`",
}


def advice(message: str, text: str = "", row: int = 0, names: Iterable[str] = ()) -> str:
    """How to mend it; "" where OPA's words must do.

    Args:
        message: OPA's.
        text: the source, for what OPA says at a line of it.
        row: that line, from 1.
        names: functions that the policy could have meant.
    """
    if function := re.match(r"undefined function (\S+)", message):
        return _near(function[1], (*ALLOWED_BUILTINS, *names))
    line = text.split("\n")[row - 1] if 0 < row <= text.count("\n") + 1 else ""
    for pattern, words in _WORDS:
        if found := re.search(pattern, message):
            name = found.groupdict().get("name", "")
            return (
                words.replace("{name}", name)
                .replace("{unsafe}", _unsafe(name))
                .replace("{token}", _token(line))
                .replace("{deprecated}", _DEPRECATED.get(name, "use another one"))
                .replace("{statement}", _statement(line))
            )
    return ""


def _near(name: str, known: Iterable[str]) -> str:
    """A function that is called nearly so, by its whole name or by the last part of it."""
    choices = sorted(set(known))
    close = difflib.get_close_matches(name, choices, 1, 0.7)
    if not close:
        last = name.rpartition(".")[2]
        close = [choice for choice in choices if choice.rpartition(".")[2] == last]
    return f"did you mean {close[0]}?" if close else "import the package that has it, or define it"


def _unsafe(name: str) -> str:
    if name in ("True", "False", "None"):
        word = {"True": "true", "False": "false", "None": "null"}[name]
        return f"it is written `{word}` in Rego"
    if name == "_":
        return "`_` stands for any element and cannot stand inside `not`; use a helper rule or `every`"
    made = f"declare it (`some {name} in …`, `{name} := …`) or import it"
    return f"{made}; what stands inside `not` must have its value from outside"


def _token(line: str) -> str:
    if "'" in line:
        return "texts stand between double quotes"
    if "?" in line:
        return "there is no `? :`: write two rules, or `else`"
    return "this character has no meaning in Rego"


def _statement(line: str) -> str:
    for word, words in _STATEMENTS.items():
        if re.search(rf"(^|[{{;\s]){word}\s", line):
            return words
    return "one expression ends here and another begins: put it on a line of its own, or look for a missing operator"
