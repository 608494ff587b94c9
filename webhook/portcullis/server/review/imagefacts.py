"""What is known of an image, read out of the documents that decisions were made by.

Documents of the same image differ in how far the gate looked: one was refused before its layers were read, another
waited for them. So each platform is taken from the newest document that has all of it.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from portcullis.inspection.history import dockerfile
from portcullis.model.contents import ContentsStatus, FindingClass
from portcullis.model.image import BuildStep
from portcullis.model.record import AuditRecord
from portcullis.server.review.loose import Tree, decoded, flag, moment, pairs, rows, text, texts, tree, trees, whole

FINDINGS: Final[Mapping[str, str]] = {
    FindingClass.SHELLS: "shell",
    FindingClass.BUILD_TOOLS: "build tool",
    FindingClass.PACKAGE_MANAGERS: "package manager",
    FindingClass.INTERPRETERS: "interpreter",
    FindingClass.DOWNLOAD_TOOLS: "download tool",
    FindingClass.SETUID: "setuid",
    FindingClass.WORLD_WRITABLE: "world-writable",
    FindingClass.SECRETS: "secret",
    FindingClass.VCS: "version control",
    FindingClass.CACHES: "cache",
    FindingClass.TESTS: "tests",
    "libcMismatches": "other C library",
}
"""The lists of findings in ``contents``, and what one of them is called."""

SHOWN_FINDINGS: Final = 40
"""Of one layer."""
SHOWN_PACKAGES: Final = 1000
SHOWN_STEPS: Final = 300
SHOWN_LAYERS: Final = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """A part of a document and the decision that it was recorded for."""

    decision_id: str
    at: datetime
    image: Tree = field(repr=False)


@dataclass(frozen=True, slots=True)
class LayerFinding:
    """``kind`` is the word for its class; ``count`` how many files it stands for."""

    kind: str
    what: str
    path: str
    rule: str
    mode: str
    count: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Layer:
    """``number`` counts from 1, the base first. Sizes are None where nobody looked; ``more`` findings are left out."""

    number: int
    digest: str
    compressed_bytes: int | None
    bytes: int | None
    files: int | None
    created_by: str
    findings: tuple[LayerFinding, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Step:
    """Lines of the Dockerfile, and the number of the layer that they made, None for none."""

    text: str
    layer: int | None


@dataclass(frozen=True, slots=True)
class ImageUserFacts:
    """``root`` is None where that is not known."""

    raw: str
    uid: int | None
    gid: int | None
    name: str
    source: str
    root: bool | None


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    manager: str
    name: str
    version: str
    layer: int | None


@dataclass(frozen=True, slots=True)
class Inside:
    """What lies in the layers. ``counts`` are findings by the word for their class."""

    status: str
    system: str
    libc: str
    distroless: bool | None
    files: int | None
    bytes: int | None
    counts: tuple[tuple[str, int], ...]

    @property
    def complete(self) -> bool:
        return self.status == ContentsStatus.COMPLETE


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """The image of one platform; ``seen`` is the decision that it was recorded for. ``packages`` is None where the
    document has no list of them, and ``package_count`` how many there are."""

    seen: Seen
    platform: str
    digest: str
    created: datetime | None
    compressed_bytes: int | None
    layer_count: int | None
    user: ImageUserFacts
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    working_folder: str
    ports: tuple[str, ...]
    volumes: tuple[str, ...]
    variables: tuple[str, ...]
    healthcheck: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    more_steps: int
    layers: tuple[Layer, ...]
    inside: Inside
    packages: tuple[InstalledPackage, ...] | None
    package_count: int


@dataclass(frozen=True, slots=True)
class FactProblem:
    """A fact that could not be had, and when that was."""

    reason: str
    message: str
    stage: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """``problems`` are those of the newest document."""

    reference: str
    is_index: bool | None
    written: tuple[str, ...]
    platforms: tuple[PlatformFacts, ...]
    problems: tuple[FactProblem, ...]


def seen_in(records: Iterable[AuditRecord], digest: str) -> tuple[Seen, ...]:
    """The parts of the documents that are about ``digest``, the newest first. Reads every document as a whole, which
    may be megabytes: not for the event loop."""
    found = (
        Seen(record.decision.id, record.decision.decided_at, image)
        for record in records
        for image in _images(record, digest)
    )
    return tuple(sorted(found, key=lambda seen: seen.at, reverse=True))


def _images(record: AuditRecord, digest: str) -> Iterator[Tree]:
    images = tree(decoded(record.decision.document).get("images"))
    named = [tree(images.get(one.written)) for one in record.decision.images if one.digest == digest]
    found = [image for image in named if image.get("digest") == digest]
    # Where one object names the image in two ways, both say the same of it.
    return iter(found[:1])


def image_facts(seen: Sequence[Seen]) -> ImageFacts:
    """Args:
    seen: as :func:`seen_in` gives them.
    """
    newest = seen[0].image if seen else {}
    references = dict.fromkeys(text(one.image.get("reference")) for one in seen)
    return ImageFacts(
        reference=text(newest.get("reference")),
        is_index=flag(newest.get("isIndex")),
        written=tuple(reference for reference in references if reference),
        platforms=tuple(_platform(one, platform) for one, platform in _best(seen)),
        problems=tuple(
            FactProblem(text(one.get("reason")), text(one.get("msg")), text(one.get("stage")), seen[0].at)
            for one in trees(newest.get("problems"), 100)
        ),
    )


def best_known(seen: Sequence[Seen]) -> Seen | None:
    """The newest one that knows most: contents and packages of all platforms, and something that was signed."""

    def knowledge(one: Seen) -> tuple[int, bool]:
        known = [_known(platform) for platform in trees(one.image.get("platforms"), 100)]
        return min(known, default=-1), bool(rows(one.image.get("attestations")))

    return max(seen, key=knowledge, default=None)


def _best(seen: Sequence[Seen]) -> list[tuple[Seen, Tree]]:
    """Of each platform the newest description that has its contents and packages, else its contents, else any."""
    best: dict[tuple[str, str], tuple[int, Seen, Tree]] = {}
    for one in seen:
        for platform in trees(one.image.get("platforms"), 100):
            name = (text(platform.get("platform")), text(platform.get("digest")))
            known = _known(platform)
            if name not in best or known > best[name][0]:
                best[name] = known, one, platform
    return [(one, platform) for _, one, platform in best.values()]


def _known(platform: Tree) -> int:
    contents = tree(platform.get("contents"))
    if contents.get("status") != ContentsStatus.COMPLETE:
        return 0
    return 2 if isinstance(contents.get("packages"), list) else 1


def _platform(seen: Seen, platform: Tree) -> PlatformFacts:
    config, contents = tree(platform.get("config")), tree(platform.get("contents"))
    layers = _layers(platform, contents)
    history = rows(config.get("history"))
    return PlatformFacts(
        seen=seen,
        platform=text(platform.get("platform")),
        digest=text(platform.get("digest")),
        created=moment(platform.get("created")),
        compressed_bytes=whole(platform.get("compressedBytes")),
        layer_count=whole(platform.get("layers")),
        user=_user(tree(platform.get("user"))),
        entrypoint=texts(config.get("entrypoint"), 100),
        command=texts(config.get("cmd"), 100),
        working_folder=text(config.get("workingDir")),
        ports=texts(config.get("exposedPorts"), 100),
        volumes=texts(config.get("volumes"), 100),
        variables=texts(config.get("envNames"), 300),
        healthcheck=texts(config.get("healthcheck"), 100),
        labels=pairs(config.get("labels")),
        steps=tuple(_steps(history)),
        more_steps=max(len(history) - SHOWN_STEPS, 0),
        layers=layers,
        inside=_inside(contents),
        packages=_packages(contents),
        package_count=len(rows(contents.get("packages"))),
    )


def _user(user: Tree) -> ImageUserFacts:
    return ImageUserFacts(
        raw=text(user.get("raw")),
        uid=whole(user.get("uid")),
        gid=whole(user.get("gid")),
        name=text(user.get("name")),
        source=text(user.get("source")),
        root=flag(user.get("root")),
    )


def _steps(history: Sequence[object]) -> Iterator[Step]:
    """The history as lines of a Dockerfile; what follows an instruction is indented already."""
    for one in trees(history, SHOWN_STEPS):
        index = whole(one.get("layerIndex"))
        # Not cleaned here: the lines of a RUN are told by its blanks, and dockerfile() cleans each of them.
        created_by, arguments = _raw(one.get("createdBy")), _raw(one.get("arguments"))
        step = BuildStep(created_by, bool(one.get("emptyLayer")), text(one.get("instruction")), arguments, index)
        yield Step(dockerfile([step]).removesuffix("\n"), None if index is None else index + 1)


def _raw(value: object) -> str:
    return value if isinstance(value, str) else ""


def _layers(platform: Tree, contents: Tree) -> tuple[Layer, ...]:
    listed = list(trees(platform.get("layerList"), SHOWN_LAYERS))
    looked = {text(one.get("digest")): one for one in trees(contents.get("layers"))}
    found: dict[int, list[LayerFinding]] = {}
    for index, finding in _findings(contents):
        found.setdefault(index, []).append(finding)
    layers = []
    for index, one in enumerate(listed):
        inside = looked.get(text(one.get("digest")), {})
        findings = found.get(index, [])
        layers.append(
            Layer(
                number=index + 1,
                digest=text(one.get("digest")),
                compressed_bytes=whole(one.get("compressedBytes")),
                bytes=whole(inside.get("bytes")),
                files=whole(inside.get("files")),
                created_by=text(one.get("createdBy")),
                findings=tuple(findings[:SHOWN_FINDINGS]),
                more=max(len(findings) - SHOWN_FINDINGS, 0),
            )
        )
    return tuple(layers)


def _findings(contents: Tree) -> Iterator[tuple[int, LayerFinding]]:
    for name, kind in FINDINGS.items():
        for one in trees(contents.get(name)):
            finding = LayerFinding(
                kind=kind,
                what=text(one.get("what")),
                path=text(one.get("path")),
                rule=text(one.get("rule")),
                mode=text(one.get("mode")),
                count=whole(one.get("count")) or 1,
                deleted=one.get("deleted") is True,
            )
            index = whole(one.get("layerIndex"))
            yield -1 if index is None else index, finding


def _inside(contents: Tree) -> Inside:
    system = tree(contents.get("os"))
    named = text(system.get("name")) or f"{text(system.get('id'))} {text(system.get('versionId'))}".strip()
    counts = ((kind, len(rows(contents.get(name)))) for name, kind in FINDINGS.items())
    return Inside(
        status=text(contents.get("status")),
        system=named,
        libc=text(system.get("libc")),
        distroless=flag(system.get("distroless")),
        files=whole(contents.get("files")),
        bytes=whole(contents.get("bytes")),
        counts=tuple((kind, count) for kind, count in counts if count),
    )


def _packages(contents: Tree) -> tuple[InstalledPackage, ...] | None:
    if not isinstance(contents.get("packages"), list):
        return None
    listed = trees(contents.get("packages"), SHOWN_PACKAGES)
    return tuple(
        InstalledPackage(
            manager=text(one.get("manager")),
            name=text(one.get("name")),
            version=text(one.get("version")),
            layer=None if (index := whole(one.get("layerIndex"))) is None else index + 1,
        )
        for one in itertools.islice(listed, SHOWN_PACKAGES)
    )
