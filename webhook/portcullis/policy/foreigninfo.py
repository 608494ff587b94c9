"""What is known of a policy from elsewhere once it is compiled, and what OPA accepts and a set must not hold."""

from collections.abc import Iterator

from portcullis.errors import CompileProblem
from portcullis.model.evidence import Severity
from portcullis.model.ruling import Mode, Origin, PolicyInfo
from portcullis.policy.foreign import Foreign, ForeignPolicy, Prepared
from portcullis.policy.inputs import closed
from portcullis.policy.metadata import DEFAULT_SEVERITY, SEVERITIES
from portcullis.policy.syntax import Path, RuleSet, data_paths, problem_at
from portcullis.text import clean

INVENTORY: Path = ("inventory",)
_SYSTEM_NAMES = {Origin.GATEKEEPER: 3, Origin.ADMISSION: 2, Origin.CONFTEST: 2}
"""How many parts of a place are ours: portcullis.gatekeeper_lib[kind], portcullis.foreign."""


def foreign_problems(foreign: Foreign, rules: RuleSet) -> Iterator[CompileProblem]:
    """References to data that is not there, templates without a verdict, and packages that nothing uses."""
    used: set[Path] = set()
    for module in rules.modules:
        if module.source.origin is Origin.NATIVE:
            continue
        seen: set[Path] = set()
        for path in data_paths(module):
            if path in seen or path[:1] == INVENTORY or path[: len(module.package)] == module.package:
                continue
            seen.add(path)
            used.add(path)
            if not any(rules.led_to(path)):
                own = path[_SYSTEM_NAMES[module.source.origin] :]
                text = clean(".".join(("data", *own)), 200)
                word = text if text in module.source.text else own[-1] if own else "data"
                yield problem_at(module.source, word, f"{text} does not exist")
    for policy in foreign.policies:
        if not policy.unsupported:
            yield from _verdict_problems(policy, rules)
    yield from _unused(foreign, used)


def _verdict_problems(policy: ForeignPolicy, rules: RuleSet) -> Iterator[CompileProblem]:
    for verdict in policy.verdicts:
        if not rules.at((*policy.package, verdict)):
            source = policy.files[0].source
            yield problem_at(source, "package", f"{policy.name}: the template defines no {verdict}")


def _unused(foreign: Foreign, used: set[Path]) -> Iterator[CompileProblem]:
    """A package without a verdict that no other one uses is a policy with a slip of the pen."""
    for file in foreign.files.values():
        if file.source.origin is Origin.GATEKEEPER or _has_verdict(file, foreign):
            continue
        if not any(_meet(path, file.package) for path in used):
            package = clean(".".join(file.package[2:]), 200)
            message = f"package {package} defines none of deny, warn, violation, and no other package uses it"
            yield problem_at(file.source, "package", message)


def _has_verdict(file: Prepared, foreign: Foreign) -> bool:
    return any(other.verdicts for other in foreign.files.values() if other.package == file.package)


def _meet(path: Path, package: Path) -> bool:
    length = min(len(path), len(package))
    return path[:length] == package[:length]


def describe_foreign(policy: ForeignPolicy, rules: RuleSet) -> PolicyInfo:
    """Title and so on from the annotations of the constraint and its template, else from METADATA of the package."""
    constraint = policy.constraint
    if constraint is not None:
        title, description, severity = constraint.title, constraint.description, constraint.severity
        mode, docs, forbidden = constraint.mode, constraint.docs, constraint.exceptions_forbidden
    else:
        title, description, severity, forbidden = _metadata(policy, rules)
        mode, docs = Mode.DENY, ""
    return PolicyInfo(
        name=policy.name,
        title=title or policy.name,
        description=description,
        severity=severity or DEFAULT_SEVERITY,
        mode=mode,
        docs=docs,
        needs=closed(policy.needs),
        rules=policy.rules,
        origin=policy.origin,
        exceptions_forbidden=forbidden,
        rego=policy.rego,
        unsupported=policy.unsupported,
    )


def _metadata(policy: ForeignPolicy, rules: RuleSet) -> tuple[str, str, str, bool]:
    """What METADATA has that is known here; other programs put other things there."""
    for module in rules.modules:
        for annotation in module.annotations if module.package == policy.package else ():
            if annotation.get("scope") != "package":
                continue
            custom = annotation.get("custom")
            custom = custom if isinstance(custom, dict) else {}
            severity = str(custom.get("severity", "")).lower()
            return (
                clean(str(annotation.get("title", "")), 200),
                str(annotation.get("description", ""))[:4000].strip(),
                severity if severity in SEVERITIES else Severity.MEDIUM,
                custom.get("exceptions") == "forbidden",
            )
    return "", "", "", False
