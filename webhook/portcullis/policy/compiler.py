"""From sources to a bundle directory that OPA can serve, and to what is known of each policy."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from portcullis.errors import CompileProblem, EngineMalformed, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.ruling import CompiledBundle, PolicyBundle, PolicyInfo, PolicySource
from portcullis.policy.bundle import LIBRARY, plain_json, policy_name
from portcullis.policy.capabilities import arities, restricted
from portcullis.policy.inputs import closed
from portcullis.policy.metadata import read_metadata
from portcullis.policy.needs import derive_needs
from portcullis.policy.process import OpaServer, run_opa
from portcullis.policy.syntax import Module, RuleSet, find_problems, read_module, verdict_rules
from portcullis.policy.wrapper import render_wrapper
from portcullis.text import clean

CAPABILITIES_BYTES = 4 * 1024 * 1024
CHECK_OUTPUT_BYTES = 4 * 1024 * 1024
SHOWN_PROBLEMS = 50


class Compiler:
    """Compiles policy sets with OPA.

    Args:
        binary: OPA.
        limits: bounds of time and size.
        memory_bytes: GOMEMLIMIT of the OPA that hands out the compiled form.
    """

    def __init__(self, *, binary: Path, limits: Limits, memory_bytes: int) -> None:
        self._binary = binary
        self._limits = limits
        self._memory_bytes = memory_bytes

    async def compile(self, bundle: PolicyBundle, workspace: Path) -> tuple[CompiledBundle, Path]:
        """Writes ``workspace/bundle`` and says what is in it.

        1. The sources are written under names of ours, so that no path from outside reaches the file system.
        2. ``opa check --strict`` with the allowed builtins sees exactly these files.
        3. A server of these files hands out their compiled form; references to nothing and verdicts that are no
           sets are refused; metadata and needs are read from it.
        4. The module that asks the policies is added.

        Raises:
            PolicyCompileError: with file, row and column.
            EngineUnavailable, EngineMalformed: OPA is not there or not as documented.
        """
        folder = workspace / "bundle"
        capabilities = await self._capabilities()
        await asyncio.to_thread(_write, folder, bundle, workspace / "capabilities.json", capabilities)
        await self._check(folder, workspace / "capabilities.json", bundle)
        modules = await self._modules(folder, workspace, bundle)
        policies = await asyncio.to_thread(self._describe, modules, arities(capabilities))
        wrapper = render_wrapper(bundle.revision, {policy.name: policy.rules for policy in policies})
        await asyncio.to_thread((folder / "gate.rego").write_text, wrapper, "utf-8")
        return CompiledBundle(revision=bundle.revision, policies=policies), folder

    async def _capabilities(self) -> dict[str, Any]:
        done = await run_opa(
            self._binary,
            ("capabilities", "--current"),
            seconds=self._limits.engine_start_seconds,
            output_bytes=CAPABILITIES_BYTES,
        )
        try:
            return restricted(msgspec.json.decode(done.stdout, type=dict[str, Any]))
        except msgspec.MsgspecError as error:
            said = clean(done.stderr.decode("utf-8", "replace"), 300)
            raise EngineMalformed(f"`opa capabilities` ended with status {done.code}: {said}") from error

    async def _check(self, folder: Path, capabilities: Path, bundle: PolicyBundle) -> None:
        done = await run_opa(
            self._binary,
            (
                *("check", "--strict", "--format", "json", "--max-errors", str(SHOWN_PROBLEMS)),
                *("--capabilities", str(capabilities), "--bundle", str(folder)),
            ),
            seconds=self._limits.compile_seconds,
            output_bytes=CHECK_OUTPUT_BYTES,
        )
        if done.code == 0:
            return
        for output in (done.stderr, done.stdout):
            try:
                errors = msgspec.json.decode(output, type=_Errors).errors
            except msgspec.MsgspecError:
                continue
            if errors:
                raise PolicyCompileError(tuple(_problem(error, bundle.sources) for error in errors))
        said = clean((done.stderr or done.stdout).decode("utf-8", "replace"), 500)
        raise EngineMalformed(f"`opa check` ended with status {done.code}: {said}")

    async def _modules(self, folder: Path, workspace: Path, bundle: PolicyBundle) -> tuple[Module, ...]:
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
        modules = await asyncio.to_thread(_read_modules, listed, bundle.sources)
        if len(modules) != len(bundle.sources):
            raise EngineMalformed("OPA did not load all policies")
        return modules

    def _describe(self, modules: Sequence[Module], known: Mapping[str, int]) -> tuple[PolicyInfo, ...]:
        rules = RuleSet(modules)
        problems = [*_strangers(modules), *find_problems(rules)]
        policies = rules.policies()
        if len(policies) > self._limits.policies:
            message = f"{len(policies)} policies; the limit policies is {self._limits.policies}"
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
                    exceptions_forbidden=metadata.exceptions_forbidden,
                )
            )
        if problems:
            raise PolicyCompileError(tuple(problems[:SHOWN_PROBLEMS]))
        return tuple(described)


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


def _source_at(path: str, sources: Sequence[PolicySource]) -> PolicySource | None:
    """The source behind a file name of ours."""
    stem = path.rpartition("/")[2].removesuffix(".rego")
    return sources[int(stem)] if stem.isascii() and stem.isdigit() and int(stem) < len(sources) else None


def _problem(error: _Error, sources: Sequence[PolicySource]) -> CompileProblem:
    location = error.location or _Location()
    source = _source_at(location.file, sources)
    return CompileProblem(
        file=clean(source.path, 300) if source is not None else "policies",
        row=location.row,
        column=location.col,
        message=clean(error.message, 1000),
    )


def _write(folder: Path, bundle: PolicyBundle, capabilities_file: Path, capabilities: Mapping[str, Any]) -> None:
    folder.mkdir(mode=0o700)
    for number, source in enumerate(bundle.sources):
        try:
            (folder / _file_name(number)).write_text(source.text, encoding="utf-8")
        except UnicodeEncodeError as error:
            raise PolicyCompileError((CompileProblem(clean(source.path, 300), 0, 0, "not UTF-8"),)) from error
    data = {"portcullis": {"parameters": dict(bundle.parameters)}}
    (folder / "data.json").write_text(json.dumps(data, default=plain_json), encoding="utf-8")
    manifest = {"revision": bundle.revision, "roots": ["portcullis"]}
    (folder / ".manifest").write_text(json.dumps(manifest), encoding="utf-8")
    capabilities_file.write_text(json.dumps(capabilities), encoding="utf-8")


def _read_modules(listed: Sequence[Mapping[str, Any]], sources: Sequence[PolicySource]) -> tuple[Module, ...]:
    modules: list[Module] = []
    try:
        for item in listed:
            source = _source_at(str(item["id"]), sources)
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
        if not policy_name(module.package) and module.package[:2] != LIBRARY
    ]
