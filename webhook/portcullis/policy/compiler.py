"""From sources to a bundle directory that OPA can serve, and to what is known of each policy."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from portcullis.errors import CompileProblem, EngineMalformed, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.ruling import CompiledBundle, Fingerprint, Origin, PolicyBundle, PolicyInfo, PolicySource, Rego
from portcullis.policy.bridges import match_blocks, render_bridge
from portcullis.policy.bundle import LIBRARY, plain_json, policy_name
from portcullis.policy.capabilities import arities, restricted
from portcullis.policy.fingerprint import fingerprints
from portcullis.policy.foreign import Foreign, Known, Tree, prepare, unmoved
from portcullis.policy.foreigninfo import describe_foreign, foreign_problems
from portcullis.policy.inputs import closed
from portcullis.policy.metadata import read_metadata
from portcullis.policy.needs import derive_needs
from portcullis.policy.process import Completed, OpaServer, own_capabilities, run_opa
from portcullis.policy.shared import shared_modules
from portcullis.policy.sourcenames import write_names
from portcullis.policy.syntax import Module, RuleSet, find_problems, read_module, verdict_rules
from portcullis.policy.wrapper import render_wrapper
from portcullis.text import clean

CHECK_OUTPUT_BYTES = 4 * 1024 * 1024
SHOWN_PROBLEMS = 50


class Compiler:
    """Compiles policy sets with OPA.

    Args:
        binary: OPA.
        limits: bounds of time and size.
        memory_bytes: GOMEMLIMIT of the OPA that hands out the compiled form.
        known: what was made of files from elsewhere before; None makes all anew.
        fingerprinted: whether policies get fingerprints, which only those need who compare sets.
    """

    def __init__(
        self,
        *,
        binary: Path,
        limits: Limits,
        memory_bytes: int,
        known: Known | None = None,
        fingerprinted: bool = False,
    ) -> None:
        self._known = known or Known()
        self._fingerprinted = fingerprinted
        self._binary = binary
        self._limits = limits
        self._memory_bytes = memory_bytes

    async def compile(self, bundle: PolicyBundle, workspace: Path) -> tuple[CompiledBundle, Path]:
        """Writes ``workspace/bundle`` and says what is in it.

        1. Policies from elsewhere are moved and get their bridges.
        2. The sources are written under names of ours, so that no path from outside reaches the file system.
        3. ``opa check`` with the allowed builtins sees exactly these files; with ``--strict`` those that were written
           for Portcullis, which use nothing of the others.
        4. A server of these files hands out their compiled form; references to nothing and verdicts that are no
           sets are refused; metadata and needs are read from it.
        5. The module that asks the policies is added.

        Raises:
            PolicyCompileError: with file, row and column.
            EngineUnavailable, EngineMalformed: OPA is not there or not as documented.
        """
        folder = workspace / "bundle"
        capabilities, foreign, files = await self.check(bundle, workspace)
        modules = await self._modules(folder, workspace, files)
        rules = RuleSet(modules)
        policies = await asyncio.to_thread(self._describe, rules, arities(capabilities), foreign)
        prints: Mapping[str, Fingerprint] = {}
        if self._fingerprinted:
            prints = await asyncio.to_thread(fingerprints, bundle, policies, rules, foreign, self._limits.violations)
        asked = {policy.name: policy.rules for policy in policies}
        wrapper = render_wrapper(bundle.revision, asked, {policy.name for policy in foreign.policies})
        await asyncio.to_thread((folder / "gate.rego").write_text, wrapper, "utf-8")
        remarks = (*bundle.remarks, *foreign.remarks)
        parameters = bundle.parameters
        return CompiledBundle(bundle.revision, policies, remarks, parameters, prints), folder

    async def check(self, bundle: PolicyBundle, workspace: Path) -> "tuple[Mapping[str, Any], Foreign, _Files]":
        """The first three steps of :meth:`compile`, which take most faults and half of its time.

        Raises:
            PolicyCompileError, EngineUnavailable, EngineMalformed: as there.
        """
        folder, native = workspace / "bundle", workspace / "native"
        capabilities = await self._capabilities()
        foreign = await self._prepare(bundle, workspace / "parsed")
        files = _Files(bundle, foreign, self._limits.violations)
        await asyncio.to_thread(files.write, folder, native, workspace / "capabilities.json", capabilities)
        await asyncio.to_thread(write_names, workspace, files.sources())
        if foreign.policies or foreign.files:
            await self._check(native, workspace / "capabilities.json", files, strict=True)
        await self._check(folder, workspace / "capabilities.json", files, strict=not foreign.files)
        return capabilities, foreign, files

    async def _prepare(self, bundle: PolicyBundle, scratch: Path) -> Foreign:
        await asyncio.to_thread(scratch.mkdir, 0o700)

        async def parse(number: int, source: PolicySource, rego: Rego) -> Tree | tuple[CompileProblem, ...]:
            path = scratch / _file_name(number)
            await asyncio.to_thread(_write_text, path, source, source.text)
            old = ("--v0-compatible",) if rego is Rego.V0 else ()
            arguments = ("parse", *old, "--format", "json", "--json-include", "locations,-comments", str(path))
            done = await run_opa(
                self._binary,
                arguments,
                seconds=self._limits.compile_seconds,
                output_bytes=self._limits.policy_tree_bytes,
            )
            if done.code == 0:
                return await asyncio.to_thread(_tree, done.stdout)
            return tuple(
                CompileProblem(clean(source.path, 300), *_place(error, source), clean(error.message, 1000))
                for error in _errors(done, "parse")
            )

        try:
            return await prepare(bundle, parse, self._known)
        except (LookupError, TypeError, AttributeError) as error:
            raise EngineMalformed("what `opa parse` says has an unknown shape") from error

    async def _capabilities(self) -> dict[str, Any]:
        return restricted(await own_capabilities(self._binary, self._limits.engine_start_seconds))

    async def _check(self, folder: Path, capabilities: Path, files: "_Files", *, strict: bool) -> None:
        done = await run_opa(
            self._binary,
            (
                *("check", "--format", "json", "--max-errors", str(SHOWN_PROBLEMS)),
                *(("--strict",) if strict else ()),
                *("--capabilities", str(capabilities), "--bundle", str(folder)),
            ),
            seconds=self._limits.compile_seconds,
            output_bytes=CHECK_OUTPUT_BYTES,
        )
        if done.code != 0:
            raise PolicyCompileError(tuple(files.problem(error) for error in _errors(done, "check")))

    async def _modules(self, folder: Path, workspace: Path, files: "_Files") -> tuple[Module, ...]:
        """The compiled form, from a server that is stopped again."""
        server = OpaServer(
            binary=self._binary, bundle=folder, socket=workspace / "compile.sock", memory_bytes=self._memory_bytes
        )
        await server.start(self._limits.compile_seconds)
        try:
            async with asyncio.timeout(self._limits.compile_seconds):
                listed = await server.client.modules(self._limits.policy_tree_bytes)
        except TimeoutError as error:
            raise EngineMalformed("OPA did not hand out the compiled policies in time") from error
        finally:
            await server.stop()
        modules = await asyncio.to_thread(_read_modules, listed, files)
        if len(modules) != len(files.texts):
            raise EngineMalformed("OPA did not load all policies")
        return modules

    def _describe(self, rules: RuleSet, known: Mapping[str, int], foreign: Foreign) -> tuple[PolicyInfo, ...]:
        problems = [*_strangers(rules.modules), *find_problems(rules), *foreign_problems(foreign, rules)]
        policies = rules.policies()
        count = len(policies) + len(foreign.policies)
        if count > self._limits.policies:
            message = f"{count} policies; the limit policies is {self._limits.policies}"
            problems.append(CompileProblem("policies", 0, 0, message))
        described: list[PolicyInfo] = []
        for name, own in policies.items():
            try:
                metadata = read_metadata(name, own)
            except PolicyCompileError as error:
                problems.extend(error.problems)
                continue
            if problems:
                continue
            described.append(
                PolicyInfo(
                    name=name,
                    title=metadata.title,
                    description=metadata.description,
                    severity=metadata.severity,
                    mode=metadata.mode,
                    docs=metadata.docs,
                    needs=closed(derive_needs(rules, own, known) | metadata.needs),
                    rules=verdict_rules(own),
                    category=metadata.category,
                    exceptions_forbidden=metadata.exceptions_forbidden,
                    reads_secrets=metadata.reads_secrets,
                )
            )
        if problems:
            raise PolicyCompileError(tuple(problems[:SHOWN_PROBLEMS]))
        described.extend(describe_foreign(policy, rules) for policy in foreign.policies)
        return tuple(sorted(described, key=lambda policy: policy.name))


class _Location(msgspec.Struct):
    file: str = ""
    row: int = 0
    col: int = 0


class _Error(msgspec.Struct):
    message: str
    location: _Location | None = None


class _Errors(msgspec.Struct):
    errors: list[_Error]


def _file_name(number: int) -> str:
    return f"{number:05}.rego"


class _Files:
    """The files of one set: each source under its number, and what is made of those from elsewhere."""

    def __init__(self, bundle: PolicyBundle, foreign: Foreign, most: int) -> None:
        self._bundle = bundle
        self._most = most
        self._foreign = foreign
        self.texts: dict[int, str] = {number: file.moved.text for number, file in foreign.files.items()}
        for number, source in enumerate(bundle.sources):
            if source.origin is Origin.NATIVE:
                self.texts[number] = source.text

    def write(self, folder: Path, native: Path, capabilities_file: Path, capabilities: Mapping[str, Any]) -> None:
        """Writes all of them to ``folder``, those of Portcullis to ``native`` as well."""
        folder.mkdir(mode=0o700)
        native.mkdir(mode=0o700)
        for number, text in self.texts.items():
            _write_text(folder / _file_name(number), self._bundle.sources[number], text)
            if number not in self._foreign.files:
                _write_text(native / _file_name(number), self._bundle.sources[number], text)
        constraints = match_blocks(self._foreign.policies)
        data = {"portcullis": {"parameters": dict(self._bundle.parameters), "constraints": constraints}}
        for place in (folder, native):
            (place / "data.json").write_text(json.dumps(data, default=plain_json), encoding="utf-8")
            (place / ".manifest").write_text(json.dumps(self._manifest(place == folder)), encoding="utf-8")
        asked = self._foreign.policies
        for name, text in shared_modules().items() if asked else ():
            (folder / name).write_text(text, encoding="utf-8")
        for number, policy in enumerate(asked):
            bridge = render_bridge(policy, most=self._most, inventory_in_input=self._bundle.inventory_in_input)
            (folder / f"bridge-{number:05}.rego").write_text(bridge, encoding="utf-8")
        capabilities_file.write_text(json.dumps(capabilities), encoding="utf-8")

    def _manifest(self, whole: bool) -> dict[str, Any]:
        manifest: dict[str, Any] = {"revision": self._bundle.revision, "roots": ["portcullis"]}
        old = [number for number, file in self._foreign.files.items() if file.rego is Rego.V0]
        if whole and old:
            manifest["rego_version"] = 1
            manifest["file_rego_versions"] = {f"/{_file_name(number)}": 0 for number in old}
        return manifest

    def sources(self) -> Mapping[str, PolicySource]:
        """By file name."""
        return {_file_name(number): self._bundle.sources[number] for number in self.texts}

    def source_at(self, path: str) -> PolicySource | None:
        """The source behind a file name of ours."""
        number = self._number(path)
        return self._bundle.sources[number] if number is not None else None

    def problem(self, error: "_Error") -> CompileProblem:
        """OPA's error as one of the file that its author knows."""
        location = error.location or _Location()
        number = self._number(location.file)
        if number is None:
            return CompileProblem("policies", location.row, location.col, clean(error.message, 1000))
        path = clean(self._bundle.sources[number].path, 300)
        problem = CompileProblem(path, location.row, location.col, clean(error.message, 1000))
        file = self._foreign.files.get(number)
        return unmoved(problem, file) if file is not None else problem

    def _number(self, path: str) -> int | None:
        stem = path.rpartition("/")[2].removesuffix(".rego")
        return int(stem) if stem.isascii() and stem.isdigit() and int(stem) in self.texts else None


def _write_text(path: Path, source: PolicySource, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except UnicodeEncodeError as error:
        raise PolicyCompileError((CompileProblem(clean(source.path, 300), 0, 0, "not UTF-8"),)) from error


def _tree(output: bytes) -> Tree:
    try:
        tree: Tree = msgspec.json.decode(output, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise EngineMalformed("what `opa parse` says is no JSON, or nested too deep") from error
    return tree


def _errors(done: Completed, command: str) -> Sequence[_Error]:
    """What OPA found wrong. Raises EngineMalformed where it does not say."""
    for output in (done.stderr, done.stdout):
        try:
            errors = msgspec.json.decode(output, type=_Errors).errors
        except msgspec.MsgspecError:
            continue
        if errors:
            return errors
    said = clean((done.stderr or done.stdout).decode("utf-8", "replace"), 500)
    raise EngineMalformed(f"`opa {command}` ended with status {done.code}: {said}")


def _place(error: _Error, source: PolicySource) -> tuple[int, int]:
    location = error.location or _Location()
    return source.row + location.row, source.column + location.col


def _read_modules(listed: Sequence[Mapping[str, Any]], files: _Files) -> tuple[Module, ...]:
    modules: list[Module] = []
    try:
        for item in listed:
            source = files.source_at(str(item["id"]))
            if source is not None:
                modules.append(read_module(source, item["ast"]))
    except (LookupError, TypeError, AttributeError) as error:
        raise EngineMalformed("OPA's compiled policies have an unknown shape") from error
    return tuple(sorted(modules, key=lambda module: module.source.path))


def _strangers(modules: Sequence[Module]) -> list[CompileProblem]:
    """Packages that are neither policies nor library, in bundles that load_bundle did not make."""
    return [
        CompileProblem(clean(module.source.path, 300), 1, 1, "neither portcullis.policies.<name> nor portcullis.lib")
        for module in modules
        if module.source.origin is Origin.NATIVE and not policy_name(module.package) and module.package[:2] != LIBRARY
    ]
