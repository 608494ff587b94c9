"""Parameters of other policies. Each policy has settings of its own; those of another may hold what is not for it."""

from collections.abc import Iterator

from portcullis.policy.bundle import policy_name
from portcullis.policy.linting.finding import Finding, finding
from portcullis.policy.linting.sources import Parsed
from portcullis.policy.linting.terms import Term, children, imports, literal, where

_READERS = frozenset({"settings", "faults", "given"})
"""Functions of data.portcullis.lib.parameters whose first argument is the policy's name."""


def foreign_parameters(file: Parsed) -> Iterator[Finding]:
    """Every read of another policy's parameters, or of all, in a file of a policy."""
    own = policy_name(file.package)
    if not own:
        return
    brought = imports(file.tree)
    for node in children(list(file.rules)):
        if node.get("type") == "ref":
            name = _parameters_of(node, brought)
            if name is not None and name != own:
                read = f'those of "{name}"' if name else "those of all policies"
                yield finding(
                    "foreign-parameters",
                    (file.file.path, *where(node)),
                    f"a policy reads its own parameters only, and this reads {read}",
                    f'read data.portcullis.parameters["{own}"], and have the operator set what is needed there',
                )
        for terms in (node.get("terms"), node.get("value") if node.get("type") == "call" else None):
            if isinstance(terms, list) and (call := _reader(terms, brought)) and call != own:
                yield finding(
                    "foreign-parameters",
                    (file.file.path, *where(terms[1])),
                    f'a policy reads its own parameters only, and this reads those of "{call}"',
                    f'give "{own}" as the name',
                )


def _resolved(reference: Term, brought: dict[str, tuple[str, ...]] | object) -> tuple[tuple[str, ...], list[Term]]:
    """The constant path of a reference into data, and the parts after it."""
    parts = reference["value"]
    if not parts or parts[0]["type"] != "var":
        return (), []
    assert isinstance(brought, dict)
    path = list(brought.get(str(parts[0]["value"]), (str(parts[0]["value"]),)))
    for number, part in enumerate(parts[1:], 1):
        if part["type"] != "string":
            return tuple(path), list(parts[number:])
        path.append(str(part["value"]))
    return tuple(path), []


def _parameters_of(reference: Term, brought: object) -> str | None:
    """The policy whose parameters a reference reads, "" for all of them; None for any other reference."""
    path, _ = _resolved(reference, brought)
    if path[:3] != ("data", "portcullis", "parameters"):
        return None
    return path[3] if len(path) > 3 else ""


def _reader(terms: list[Term], brought: object) -> str:
    """The policy that a call of the library's readers names; "" for any other call."""
    if len(terms) < 2 or terms[0].get("type") != "ref":
        return ""
    path, _ = _resolved(terms[0], brought)
    known, name = literal(terms[1])
    library = path[:4] == ("data", "portcullis", "lib", "parameters")
    return str(name) if library and path[4:] and path[4] in _READERS and known else ""
