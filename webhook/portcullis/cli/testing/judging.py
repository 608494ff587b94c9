"""Judges fixtures by the real gate, with recorded facts in the place of registries and of the cluster."""

import asyncio
import functools
import io
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from portcullis.admission.review import parse_review
from portcullis.admission.workloads import WorkloadReader
from portcullis.cli.manifests import BadManifest, Manifest, read_manifests
from portcullis.cli.requests import request_of
from portcullis.cli.testing.expecting import compare
from portcullis.cli.testing.fixtures import BadFixture, FactsFile, Fixture, FixtureError, read_file
from portcullis.cli.testing.recorded import Recorded, RecordedImages, images_of, missing_images, recorded_at
from portcullis.decision.modes import Override
from portcullis.errors import ClusterError, ConfigError, NotAllowed, PolicyCompileError, PortcullisError
from portcullis.gate import Gate
from portcullis.inspection.catalogue import Catalogue
from portcullis.limits import Limits
from portcullis.model.decision import Decision
from portcullis.model.place import NamespaceFacts, Scope
from portcullis.model.request import AdmissionRequest, Caller, UserInfo
from portcullis.model.ruling import CompiledBundle, PolicyBundle
from portcullis.policy.bundle import revision_of
from portcullis.policy.opa import OpaEngine
from portcullis.policy.supervisor import OpaSupervisor
from portcullis.policy.testing.results import Kind, Outcome, Result
from portcullis.reference.parse import parse_reference
from portcullis.server.compose import bundle_of, standing_of, with_profile
from portcullis.server.settings import Settings
from portcullis.strictjson import StrictJsonError, load_json
from portcullis.text import clean
from portcullis.times import parse_rfc3339

USER = UserInfo(username="portcullis-test")

SHOWN_PROBLEMS = 10

_NO_INPUT = io.BytesIO()


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a fixture asks: the request, what was recorded of its images, and what is known around it."""

    request: AdmissionRequest
    images: Mapping[str, Recorded]
    namespace: NamespaceFacts | None
    now: datetime


class FixtureJudge:
    """Judges fixtures one after the other; those that need the same policies share one OPA.

    Args:
        folders: of policies, beside the built-in ones.
        builtin: whether these count.
    """

    def __init__(
        self, *, folders: Sequence[Path], builtin: bool, binary: Path | None, supervisor: OpaSupervisor, limits: Limits
    ) -> None:
        self._folders = folders
        self._builtin = builtin
        self._binary = binary
        self._supervisor = supervisor
        self._limits = limits
        self._reader = WorkloadReader(limits=limits)
        self._compiled: CompiledBundle | None = None
        self._refused: dict[str, PolicyCompileError] = {}
        self._engine = OpaEngine(supervisor=supervisor, clock=_FixedClock(datetime.now(UTC)), limits=limits)
        self._read: dict[tuple[Path, str], Mapping[str, Any]] = {}

    async def judge(self, fixture: Fixture | BadFixture) -> Result:
        """What comes of it. Nothing is raised for what is wrong with a fixture.

        Raises:
            EngineError: OPA does not start.
        """
        if isinstance(fixture, BadFixture):
            return _result(fixture, fixture.name, Outcome.BROKEN, fixture.message)
        name = fixture.model.name
        started = time.monotonic()
        try:
            subject = self._subject(fixture)
            decision = await self._decide(fixture, subject)
        except PolicyCompileError as error:
            return _result(fixture, name, Outcome.BROKEN, "\n".join(map(str, error.problems[:SHOWN_PROBLEMS])))
        except (FixtureError, ConfigError) as error:
            return _result(fixture, name, Outcome.BROKEN, str(error))
        faults, diff = compare(fixture.model.expect, decision)
        outcome = Outcome.FAILED if faults else Outcome.PASSED
        result = _result(fixture, name, outcome, "\n".join(faults), diff)
        return replace(result, seconds=time.monotonic() - started)

    async def _decide(self, fixture: Fixture, subject: _Subject) -> Decision:
        settings = with_profile(_settings(fixture, self._folders, builtin=self._builtin))
        bundle = await asyncio.to_thread(bundle_of, settings, self._limits)
        # Parameters go with the question, so that fixtures which differ in them alone share one OPA.
        bare = replace(bundle, parameters={}, revision=revision_of(bundle.sources, {}))
        compiled = await self._compile(bare)
        standing = standing_of(settings, compiled)
        everywhere = Override(Scope(), {}, settings.policies.parameters)
        modes = replace(standing.modes, parameters={}, overrides=(*standing.modes.overrides, everywhere))
        standing = replace(standing, modes=modes)
        parse = functools.partial(parse_reference, default_registry=settings.registries.default, limits=self._limits)
        clock = _FixedClock(subject.now)
        gate = Gate(
            reader=self._reader,
            registry=_Nowhere(),
            gatherer=_Nowhere(),
            inspector=None,
            catalogue=Catalogue(()),
            engine=self._engine,
            standing=lambda: standing,
            clock=clock,
            limits=self._limits,
            namespaces=_OneNamespace(subject.namespace),
            collector=RecordedImages(subject.images, now=subject.now, parse=parse),
        )
        return await gate.decide(subject.request, clock.monotonic() + self._limits.test_seconds)

    async def _compile(self, bundle: PolicyBundle) -> CompiledBundle:
        """Raises PolicyCompileError; of the same policies the same one, without trying again."""
        if bundle.revision in self._refused:
            raise self._refused[bundle.revision]
        if self._compiled is None or self._compiled.revision != bundle.revision:
            try:
                self._compiled = await self._engine.compile(bundle)
            except PolicyCompileError as error:
                self._refused[bundle.revision] = error
                raise
        return self._compiled

    def _subject(self, fixture: Fixture) -> _Subject:
        """Raises FixtureError where something that it names is not there, or is not what it should be."""
        subject = self._decided(fixture) if fixture.model.decision is not None else self._given(fixture)
        try:
            workload = self._reader.read(subject.request)
        except PortcullisError:
            return subject  # the gate says it better
        if missing := missing_images([container.image for container in workload.containers], subject.images):
            names = ", ".join(clean(one, 200) for one in missing[:5])
            known = ", ".join(clean(one, 200) for one in list(subject.images)[:5]) or "none"
            raise FixtureError(f"no facts are recorded of {names} (there are those of {known})")
        return subject

    def _given(self, fixture: Fixture) -> _Subject:
        model = fixture.model
        images: dict[str, Recorded] = {}
        for at, entry in enumerate(model.facts):
            found = self._facts(fixture, entry, at)
            if twice := sorted(images.keys() & found.keys()):
                raise FixtureError(f"facts.{at}: {clean(twice[0], 200)} has facts already")
            images |= found
        try:
            request = request_of(
                self._manifest(fixture), namespace=model.namespace.name, user=USER, limits=self._limits
            )
        except PortcullisError as error:
            raise FixtureError(f"manifest: {error.message}") from None
        recorded = max((one.at for one in images.values()), default=datetime.now(UTC))
        namespace = None
        if "namespace" in model.model_fields_set:
            namespace = NamespaceFacts(request.namespace, model.namespace.labels, model.namespace.annotations)
        return _Subject(request, images, namespace, self._time(model.time, recorded))

    def _facts(self, fixture: Fixture, entry: "str | FactsFile | Mapping[str, Any]", at: int) -> dict[str, Recorded]:
        if isinstance(entry, Mapping):
            return images_of(entry, f"facts.{at}")
        path, image = (entry, "") if isinstance(entry, str) else (entry.path, entry.image)
        tree = self._json(fixture, path)
        record = tree.get("record")
        found = _recorded_images(record, path) if isinstance(record, Mapping) else images_of(tree, path)
        if not image:
            return found
        if len(found) != 1:
            raise FixtureError(f"facts.{at}.image: {path} holds the facts of {len(found)} images, and not of one")
        return {image: next(iter(found.values()))}

    def _manifest(self, fixture: Fixture) -> Manifest:
        """Raises FixtureError, ManifestError."""
        given = fixture.model.manifest
        if isinstance(given, Mapping):
            return _object(given, f"{fixture.file}")
        assert isinstance(given, str)
        path, _, number = given.partition("#")
        read_file(fixture, path, self._limits)
        place = str(fixture.folder / path)
        found = list(read_manifests([place], standard_input=_NO_INPUT, limits=self._limits))
        chosen = [one for one in found if not number or one.source == f"{place}#{number}"]
        if len(chosen) != 1:
            raise FixtureError(f"manifest: {path} holds {len(found)} objects; name one, as in {path}#0")
        if isinstance(chosen[0], BadManifest):
            raise FixtureError(f"manifest: {chosen[0].file}:{chosen[0].line}: {chosen[0].error.message}")
        return chosen[0]

    def _decided(self, fixture: Fixture) -> _Subject:
        given = fixture.model.decision
        where = given if isinstance(given, str) else "decision"
        tree = self._json(fixture, given) if isinstance(given, str) else given
        record = tree.get("record") if isinstance(tree, Mapping) else None
        document = record.get("input") if isinstance(record, Mapping) else None
        if not isinstance(record, Mapping) or not isinstance(document, Mapping):
            raise FixtureError(f"{where}: no decision with its input: portcullis audit show ID -o json prints one")
        images = _recorded_images(record, where)
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": document.get("request")}
        try:
            request = parse_review(msgspec.json.encode(review), limits=self._limits, caller=Caller.LOCAL)
        except PortcullisError as error:
            raise FixtureError(f"{where}: {error.message}") from None
        recorded = max((one.at for one in images.values()), default=None) or recorded_at(document, where)
        namespace = _namespace(document.get("namespace"), request.namespace)
        if "namespace" in fixture.model.model_fields_set:
            said = fixture.model.namespace
            namespace = NamespaceFacts(request.namespace, said.labels, said.annotations)
        return _Subject(request, images, namespace, self._time(fixture.model.time, recorded))

    def _json(self, fixture: Fixture, path: str) -> Mapping[str, Any]:
        key = (fixture.folder, path)
        if key not in self._read:
            content = read_file(fixture, path, self._limits)
            try:
                tree = load_json(content, max_depth=self._limits.review_depth)
            except StrictJsonError as error:
                raise FixtureError(f"{path}: no JSON as portcullis writes it: {error}") from None
            if not isinstance(tree, dict):
                raise FixtureError(f"{path}: no JSON object")
            self._read = {key: tree}  # fixtures with the same facts stand beside one another
        return self._read[key]

    def _time(self, text: str, otherwise: datetime) -> datetime:
        if not text:
            return otherwise
        try:
            moment = parse_rfc3339(text)
        except ValueError:
            moment = None
        if moment is None:
            raise FixtureError(f"time: {clean(text, 80)!r}: write 2026-11-24T12:00:00Z")
        return moment


@asynccontextmanager
async def judging(
    *, folders: Sequence[Path], builtin: bool, binary: Path | None, limits: Limits
) -> AsyncIterator[FixtureJudge]:
    """A judge whose OPA ends with the block."""
    supervisor = OpaSupervisor(binary=binary, limits=limits, keep_seconds=0)
    try:
        yield FixtureJudge(folders=folders, builtin=builtin, binary=binary, supervisor=supervisor, limits=limits)
    finally:
        await supervisor.aclose()


def _settings(fixture: Fixture, folders: Sequence[Path], *, builtin: bool) -> Settings:
    """The configuration that the fixture says. Raises ConfigError."""
    said = fixture.model
    policies: dict[str, Any] = {
        "builtin": builtin,
        "folders": [str(folder.absolute()) for folder in folders],
        "enabled": list(said.policies),
        "modes": {name: str(mode) for name, mode in said.modes.items()},
        "parameters": said.parameters,
        "profile": said.profile,
    }
    return Settings.from_tree({"policies": policies, "exceptions": list(said.exceptions)})


def _recorded_images(record: Mapping[str, Any], where: str) -> dict[str, Recorded]:
    pending = [
        (str(one.get("image")), str(one.get("stage")), str(one.get("reason")))
        for one in record.get("problems") or ()
        if isinstance(one, Mapping) and one.get("pending") is True
    ]
    return images_of(record.get("input"), where, pending)


def _namespace(tree: object, name: str) -> NamespaceFacts | None:
    """As the gate knew it; None where it did not know its labels."""
    labels = tree.get("labels") if isinstance(tree, Mapping) else None
    annotations = tree.get("annotations") if isinstance(tree, Mapping) else None
    if not isinstance(labels, Mapping):
        return None
    return NamespaceFacts(name, labels, annotations if isinstance(annotations, Mapping) else {})


def _object(tree: Mapping[str, Any], source: str) -> Manifest:
    for key in ("apiVersion", "kind"):
        if not (isinstance(tree.get(key), str) and tree[key]):
            raise FixtureError(f"manifest: an object without {key}")
    return Manifest(source, source, 1, tree)


def _result(
    fixture: Fixture | BadFixture, name: str, outcome: Outcome, message: str, diff: tuple[str, ...] = ()
) -> Result:
    file = str(fixture.file)
    return Result(Kind.FIXTURE, file, name, file, fixture.line, outcome, message=message, diff=diff)


class _FixedClock:
    """The time of a fixture; what is measured goes on."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic()


class _OneNamespace:
    """The namespace that the fixture says."""

    def __init__(self, facts: NamespaceFacts | None) -> None:
        self._facts = facts

    async def get(self, name: str) -> NamespaceFacts:
        if self._facts is None or self._facts.name != name:
            raise ClusterError("the fixture does not say them (namespace.labels)")
        return self._facts


class _Nowhere:
    """A Registry and a Gatherer that nobody may ask: fixtures reach no network."""

    def _refuse(self, *arguments: object) -> NoReturn:
        raise NotAllowed(f"a fixture asks no registry ({len(arguments)} arguments)")

    async def resolve(self, *arguments: object) -> NoReturn:
        self._refuse(*arguments)

    async def referrers(self, *arguments: object) -> NoReturn:
        self._refuse(*arguments)

    async def manifest(self, *arguments: object) -> NoReturn:
        self._refuse(*arguments)

    async def tagged(self, *arguments: object) -> NoReturn:
        self._refuse(*arguments)

    async def gather(self, *arguments: object) -> NoReturn:
        self._refuse(*arguments)

    def blob(self, *arguments: object) -> NoReturn:
        self._refuse(*arguments)
