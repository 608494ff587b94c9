"""Where policies come from while the gate runs: folders, ConfigMaps and OPA bundles, laid out as folders.

So that everything that is said of policies in a folder holds for all of them, ConfigMaps and bundles are written into
a folder of ours: ``configmaps/<namespace>/<name>/<key>`` and ``bundles/<name>/<path>``. These are the paths that
messages show, and by the first a message finds its ConfigMap. All names were made clean before: Kubernetes keeps to
letters, digits, ``-``, ``.`` and ``_``, and opabundle.py keeps to paths within.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.bundlesource import BundleSource
from portcullis.policy.folders import fingerprint

if TYPE_CHECKING:
    from portcullis.cluster.policymaps import PolicyMap

CONFIG_MAPS: Final = "configmaps"
BUNDLES: Final = "bundles"
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")

_FAULT_CHARS: Final = 4000
"""Of what is written on a ConfigMap."""

MapPlace = tuple[str, str]
"""Namespace and name of a ConfigMap."""
Files = Mapping[str, str]


class Maps(Protocol):
    """What is asked of cluster.policymaps.PolicyMaps. Raises only ClusterError."""

    def all(self) -> "tuple[PolicyMap, ...]": ...

    async def note(self, one: "PolicyMap", error: str) -> None: ...

    async def tell(self, one: "PolicyMap", reason: str, message: str, *, warning: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Laid:
    """What was there at one moment: a name for all of it, and the ConfigMaps and bundles with their files."""

    key: str
    maps: Mapping[MapPlace, Files] = field(default_factory=dict)
    bundles: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)

    def with_map(self, place: MapPlace, files: Files) -> "Laid":
        """The same with that ConfigMap as it is to be."""
        return Laid(self.key, {**self.maps, place: files}, self.bundles)


class LiveSources:
    """All sources of policies that may change.

    Args:
        folders: that are looked at.
        maps: ConfigMaps; None where none are watched.
        bundles: OPA bundles, which somebody fetches.
    """

    def __init__(
        self, *, folders: Sequence[Path], maps: Maps | None, bundles: Sequence[BundleSource], limits: Limits
    ) -> None:
        self.maps = maps
        self.bundles = tuple(bundles)
        self._folders = tuple(folders)
        self._limits = limits

    @property
    def dynamic(self) -> bool:
        """Whether there are others than folders."""
        return bool(self.bundles or self.maps is not None)

    @property
    def any(self) -> bool:
        return bool(self._folders) or self.dynamic

    def look(self) -> Laid:
        """What is there now. Reads the folders, so it blocks.

        Raises:
            ClusterError: the ConfigMaps are not known.
            PolicyCompileError: a bundle was never fetched: without it the policies would be others.
        """
        maps = {one.place: one.files for one in self.maps.all()} if self.maps is not None else {}
        bundles: dict[str, Mapping[str, bytes]] = {}
        for source in self.bundles:
            if source.files is None:
                raise PolicyCompileError((CompileProblem(source.origin.name, 0, 0, source.problem),))
            bundles[source.origin.name] = source.files
        digest = hashlib.sha256(fingerprint(self._folders, self._limits).encode())
        digest.update(json.dumps([[place, sorted(files.items())] for place, files in sorted(maps.items())]).encode())
        for name, files in sorted(bundles.items()):
            for path, content in sorted(files.items()):
                digest.update(f"\0{name}\0{path}\0{len(content)}\0".encode())
                digest.update(content)
        return Laid(digest.hexdigest(), maps, bundles)


def lay_out(laid: Laid, folder: Path) -> tuple[Path, ...]:
    """Writes ConfigMaps and bundles below ``folder``; the folders to load, none where there is nothing. Blocks."""
    made: list[Path] = []
    if laid.maps:
        made.append(folder / CONFIG_MAPS)
        for (namespace, name), files in laid.maps.items():
            place = folder / CONFIG_MAPS / namespace / name
            place.mkdir(mode=0o700, parents=True)
            for key, text in files.items():
                if _KEY.fullmatch(key) and key not in (".", ".."):
                    (place / key).write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    if laid.bundles:
        made.append(folder / BUNDLES)
        for bundle, contents in laid.bundles.items():
            for path, content in contents.items():
                target = folder / BUNDLES / bundle / path
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                target.write_bytes(content)
    return tuple(made)


def blamed(problems: Sequence[CompileProblem], places: Collection[MapPlace]) -> Mapping[MapPlace, str]:
    """What is wrong with each ConfigMap, by the paths of the problems: ``team.rego:3:1: …`` line by line."""
    found: dict[MapPlace, list[str]] = {}
    for problem in problems:
        words = problem.file.split("/", 3)
        if len(words) == 4 and words[0] == CONFIG_MAPS and (words[1], words[2]) in places:
            mine = CompileProblem(words[3], problem.row, problem.column, problem.message)
            found.setdefault((words[1], words[2]), []).append(str(mine))
    return {place: "\n".join(lines)[:_FAULT_CHARS] for place, lines in found.items()}
