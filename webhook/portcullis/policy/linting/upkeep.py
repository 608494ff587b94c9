"""What people miss in a policy that works: METADATA, tests, and what to do about a refusal."""

from collections.abc import Iterator, Mapping, Sequence

from portcullis.model.ruling import Mode
from portcullis.policy.bundle import policy_name
from portcullis.policy.linting.finding import Finding, finding
from portcullis.policy.linting.sources import Parsed
from portcullis.policy.linting.terms import Term, children, imports, is_set, literal, operator, rule_path, where

_WANTED = (("title", ""), ("description", ""), ("severity", "custom"), ("mode", "custom"))
_VERDICTS = frozenset(map(str, Mode))
_WORDS = frozenset({"string", "templatestring"})


def missing_metadata(policies: Mapping[str, Sequence[Parsed]]) -> Iterator[Finding]:
    """Policies without title, description, severity or mode."""
    for name, files in policies.items():
        annotations = [
            annotation
            for file in files
            for annotation in file.tree.get("annotations") or ()
            if annotation.get("scope") == "package"
        ]
        place = (files[0].file.path, *where(files[0].tree["package"]))
        if not annotations:
            yield finding(
                "missing-metadata",
                place,
                f"policy {name} has no METADATA",
                "begin the file with `# METADATA` and title, description, and under custom severity and mode",
            )
            continue
        lacking = [key for key, section in _WANTED if not _said(annotations[0], key, section)]
        if lacking:
            where_to = "under custom: " if set(lacking) <= {"severity", "mode"} else ""
            yield finding(
                "missing-metadata",
                place,
                f"METADATA of policy {name} lacks {', '.join(lacking)}",
                f"add {where_to}{', '.join(f'`{key}: …`' for key in lacking)}",
            )


def _said(annotation: Term, key: str, section: str) -> bool:
    place = annotation.get(section, {}) if section else annotation
    return isinstance(place, Mapping) and bool(place.get(key))


def missing_tests(policies: Mapping[str, Sequence[Parsed]], tests: Sequence[Parsed]) -> Iterator[Finding]:
    """Policies that no test names, and verdict rules that no test of the policy names."""
    read = {path for test in tests for path in _data_paths(test)}
    for name, files in policies.items():
        package = ("data", *files[0].package)
        of_it = {path[len(package) :] for path in read if path[: len(package)] == package}
        if not of_it:
            yield finding(
                "missing-tests",
                (files[0].file.path, *where(files[0].tree["package"])),
                f"no test names policy {name}",
                f"write a `policy_test.rego` beside it that imports {'.'.join(package)}",
            )
            continue
        named = {path[0] for path in of_it if path}
        rules = {rule_path(rule)[0]: (file, rule) for file in reversed(files) for rule in reversed(file.rules)}
        whole = any(not path for path in of_it) and not named
        for verdict in sorted(_VERDICTS & rules.keys() - named):
            if not whole:
                file, rule = rules[verdict]
                yield finding(
                    "missing-tests",
                    (file.file.path, *where(rule)),
                    f"no test names {verdict} of policy {name}",
                    f"test what {verdict} holds, and that it is empty for what is good",
                )


def _data_paths(file: Parsed) -> Iterator[tuple[str, ...]]:
    """What a file reads of data: its references, each behind its import. An import that is only handed on as a whole
    counts as itself."""
    brought = imports(file.tree)
    for node in children(list(file.rules)):
        kind = node.get("type")
        parts = node["value"] if kind == "ref" else [node] if kind == "var" else []
        if not parts or parts[0].get("type") != "var":
            continue
        path = list(brought.get(str(parts[0]["value"]), (str(parts[0]["value"]),)))
        for part in parts[1:]:
            if part["type"] != "string":
                break
            path.append(str(part["value"]))
        if path[0] == "data":
            yield tuple(path)


def missing_fix(file: Parsed) -> Iterator[Finding]:
    """Messages of a policy that do not say what to do: texts in the verdict itself, and objects with `msg` and no `fix`
    in a rule that writes no `fix` anywhere."""
    if not policy_name(file.package):
        return
    for rule in file.rules:
        if rule_path(rule)[0] in _VERDICTS and is_set(rule):
            yield from _texts(file, rule)
        merged = {id(item) for call in children(rule) for item in _merged(call)}
        objects = [node["value"] for node in children(rule) if node.get("type") == "object" and id(node) not in merged]
        keys = [{literal(key)[1] for key, _ in pairs} for pairs in objects]
        if any("fix" in names for names in keys):
            continue
        for pairs, names in zip(objects, keys, strict=True):
            if "msg" in names:
                place = next(key for key, _ in pairs if literal(key)[1] == "msg")
                yield _unhelpful(file, place)


def _merged(node: Term) -> Sequence[Term]:
    """What ``object.union`` puts together: the `fix` may come from the other one."""
    for terms in (node.get("terms"), node.get("value") if node.get("type") == "call" else None):
        if isinstance(terms, list) and operator(terms) in ("object.union", "object.union_n"):
            return [item for term in terms[1:] for item in children(term)]
    return ()


def _texts(file: Parsed, rule: Term) -> Iterator[Finding]:
    key = rule["head"]["key"]
    if key["type"] == "var":
        assigned = [
            expression["terms"][2]
            for expression in rule.get("body") or ()
            if isinstance(expression["terms"], list)
            and operator(expression["terms"]) in ("assign", "eq")
            and expression["terms"][1].get("value") == key["value"]
        ]
        key = assigned[0] if len(assigned) == 1 else key
    if key["type"] in _WORDS or (key["type"] == "call" and operator(key["value"]) in ("sprintf", "concat")):
        yield _unhelpful(file, key)


def _unhelpful(file: Parsed, node: Term) -> Finding:
    return finding(
        "missing-fix",
        (file.file.path, *where(node)),
        "whoever is refused reads what is wrong and not what to do",
        'make it an object with `"msg"` and `"fix"`: `{"msg": "…", "fix": "set USER in the Dockerfile"}`',
    )
