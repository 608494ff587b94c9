"""What OPA and the compiler of the gate say of the policies, as findings."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from portcullis.errors import CompileProblem, EngineMalformed, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.ruling import Origin, PolicyBundle, PolicySource
from portcullis.policy.bundle import ADMISSION, revision_of
from portcullis.policy.capabilities import ALLOWED_BUILTINS
from portcullis.policy.compiler import CHECK_OUTPUT_BYTES, SHOWN_PROBLEMS, Compiler
from portcullis.policy.gatekeeper.load import gather
from portcullis.policy.linting.advice import advice
from portcullis.policy.linting.finding import Finding, Level, finding
from portcullis.policy.linting.sources import LintFile, OpaError, Parsed, opa_errors
from portcullis.policy.linting.terms import rule_path
from portcullis.policy.process import own_capabilities, run_opa
from portcullis.policy.schema import document_schema
from portcullis.policy.workspace import Workspace
from portcullis.text import clean

_REASONS = (
    (("http.", "net.", "providers."), "it reaches the network, so the answer could change between two decisions"),
    (("json.match_schema", "json.verify_schema"), "it follows addresses in schemas, which reach the network"),
    (("rand.", "uuid.rfc4122", "io.jwt.encode"), "it is random: the same input would be judged differently"),
    (("opa.", "rego.parse_module"), "it looks into the engine that judges"),
    (("io.jwt.decode_verify", "crypto.x509"), "it uses the wall clock, not the time of the decision"),
)
_MISSING = re.compile(r"undefined function (\S+)")
_NOWHERE = re.compile(r"undefined ref: (\S+)")
_SET = (
    "must be a set of messages",
    "defines none of deny",
    "is out of reach",
    "does not exist",
    "METADATA of",
    "policies; the limit",
    "neither portcullis",
    "for its package twice",
)


class Checks:
    """Runs them.

    Args:
        binary: OPA.
        limits: as for the gate's compiler.
        memory_bytes: GOMEMLIMIT of the OPA that hands out the compiled form.
    """

    def __init__(self, *, binary: Path, limits: Limits, memory_bytes: int) -> None:
        self._binary = binary
        self._limits = limits
        self._memory_bytes = memory_bytes

    async def compile(self, policies: Sequence[Parsed], objects: Sequence[LintFile]) -> list[Finding]:
        """What hinders the gate from loading the policies and Gatekeeper's ``objects``: it is the gate's own compiler
        that is asked. What it loads and cannot judge by is ``not-supported``.

        Raises:
            EngineUnavailable, EngineMalformed: OPA is not there or not as documented.
        """
        texts = {one.path: one.text for one in (*objects, *(one.file for one in policies))}
        try:
            gathered = gather([(one.path, one.text) for one in objects], self._limits)
        except PolicyCompileError as error:
            return [_of_objects(problem) for problem in error.problems]
        sources = (
            *(PolicySource(one.file.path, one.file.text, _origin(one)) for one in policies),
            *gathered.sources,
        )
        bundle = PolicyBundle(
            sources=sources,
            parameters=gathered.parameters,
            revision=revision_of(sources, gathered.parameters),
            constraints=gathered.constraints,
            remarks=gathered.remarks,
        )
        compiler = Compiler(binary=self._binary, limits=self._limits, memory_bytes=self._memory_bytes)
        workspace = Workspace()
        try:
            compiled, _ = await compiler.compile(bundle, workspace.path)
        except PolicyCompileError as error:
            known = await self._builtins()
            names = _functions(policies)
            return [_told(problem, texts, known, names) for problem in error.problems]
        finally:
            workspace.remove()
        return [_of_objects(remark) for remark in compiled.remarks]

    async def types(self, policies: Sequence[Parsed]) -> list[Finding]:
        """What can never hold by the schema of the policy input; paths that it has not are ``unknown-input``."""
        workspace = Workspace()
        try:
            schema = workspace.path / "input.json"
            schema.write_text(json.dumps(document_schema()), encoding="utf-8")
            errors = await self._check((one.file for one in policies), "--schema", str(schema))
        finally:
            workspace.remove()
        return [_typed(file, error) for file, error in errors]

    async def tests(self, files: Sequence[Parsed]) -> list[Finding]:
        """What hinders tests from compiling. They may use every builtin."""
        names = _functions(files)
        errors = await self._check(one.file for one in files)
        return [
            finding(
                "compile-error",
                (file.path, error.location.row, error.location.col),
                _one_line(error.message),
                advice(error.message, file.text, error.location.row, names),
            )
            for file, error in errors
            if file.is_test
        ]

    async def _check(self, files: Iterable[LintFile], *options: str) -> list[tuple[LintFile, OpaError]]:
        known = {str(file.place): file for file in files}
        if not known:
            return []
        done = await run_opa(
            self._binary,
            ("check", "--strict", "--format", "json", "--max-errors", str(SHOWN_PROBLEMS), *options, *known),
            seconds=self._limits.compile_seconds,
            output_bytes=CHECK_OUTPUT_BYTES,
        )
        if done.code == 0:
            return []
        errors = opa_errors(done.stderr, done.stdout)
        if not errors:
            said = clean((done.stderr or done.stdout).decode("utf-8", "replace"), 500)
            raise EngineMalformed(f"`opa check` ended with status {done.code}: {said}")
        return [(known[error.location.file], error) for error in errors if error.location.file in known]

    async def _builtins(self) -> frozenset[str]:
        """Every builtin of this OPA, allowed or not."""
        own = await own_capabilities(self._binary, self._limits.engine_start_seconds)
        try:
            listed = own["builtins"]
            return frozenset(builtin["name"] for builtin in listed)
        except (KeyError, TypeError) as error:
            raise EngineMalformed("OPA's capabilities have an unknown shape") from error


def _origin(one: Parsed) -> Origin:
    if one.native:
        return Origin.NATIVE
    return Origin.ADMISSION if one.package == ADMISSION else Origin.CONFTEST


def _of_objects(problem: CompileProblem) -> Finding:
    """Of templates and constraints. One that is meant for another enforcement point only is no mistake."""
    place = (problem.file, problem.row, problem.column)
    found = finding("not-supported", place, _one_line(problem.message))
    return replace(found, level=Level.WARNING) if "not judged here" in problem.message else found


def _functions(files: Sequence[Parsed]) -> frozenset[str]:
    """Functions of the files, as they are called within their package and through an import of it."""
    found: set[str] = set()
    for file in files:
        for rule in file.rules:
            if rule["head"].get("args"):
                name = ".".join(rule_path(rule))
                found.update((name, f"{file.package[-1]}.{name}", ".".join(("data", *file.package, name))))
    return frozenset(found)


def _told(
    problem: CompileProblem, texts: Mapping[str, str], builtins: frozenset[str], names: frozenset[str]
) -> Finding:
    place = (problem.file, problem.row, problem.column)
    message = _one_line(problem.message)
    missing = _MISSING.match(problem.message)
    if missing and missing[1] in builtins - ALLOWED_BUILTINS:
        return finding(
            "builtin-not-allowed",
            place,
            f"policies do not get {missing[1]}: {_reason(missing[1])}",
            _instead(missing[1]),
        )
    rule = "policy-set" if any(words in problem.message for words in _SET) else "compile-error"
    return finding(rule, place, message, advice(problem.message, texts.get(problem.file, ""), problem.row, names))


def _reason(builtin: str) -> str:
    for beginnings, words in _REASONS:
        if builtin.startswith(beginnings):
            return words
    return "nobody has read yet what it does; what policies get is an allow list"


def _instead(builtin: str) -> str:
    if builtin.startswith(("http.", "net.", "providers.")):
        return "what the gate found out about images is in `input`; fixed lists go into the policy's parameters"
    if builtin.startswith(("io.jwt.decode_verify", "crypto.x509")):
        return "verify and parse apart, and compare the times with time.now_ns(), which is the time of the decision"
    return "leave it out"


def _typed(file: LintFile, error: OpaError) -> Finding:
    place = (file.path, error.location.row, error.location.col)
    if nowhere := _NOWHERE.match(error.message):
        return finding("unknown-input", place, f"there is no {nowhere[1]} in the policy input", _wanted(error.message))
    return finding("type-error", place, _one_line(error.message), advice(error.message))


def _wanted(message: str) -> str:
    found = re.search(r"want \(one of\): \[([^\]]*)\]", message)
    return f"there is: {clean(found[1].replace(chr(34), ''), 200)}" if found else ""


def _one_line(message: str) -> str:
    """OPA draws into some messages; a finding has its excerpt apart."""
    return clean(" ".join(message.split()), 500)
