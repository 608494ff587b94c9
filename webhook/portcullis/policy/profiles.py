"""Profiles: lists of built-in policies with their modes, chosen by one line of configuration.

They come with the library, as ``profiles/<name>.yaml``: {title, description, policies: {name: mode}, parameters: {name:
{…}}}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from portcullis.errors import ConfigError
from portcullis.model.json import JSONObject
from portcullis.model.ruling import Mode
from portcullis.text import clean

FOLDER = "profiles"
_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Profile:
    """``modes`` names every policy that the profile holds."""

    name: str
    title: str
    description: str
    modes: Mapping[str, Mode]
    parameters: Mapping[str, JSONObject]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    description: str
    policies: dict[str, Mode]
    parameters: dict[str, dict[str, object]] = {}


def profile_names(library: Path) -> tuple[str, ...]:
    """The profiles that the library has, in order."""
    return tuple(sorted(path.stem for path in (library / FOLDER).glob("*.yaml")))


def load_profile(library: Path, name: str) -> Profile:
    """The profile of that name.

    Raises:
        ConfigError: there is none, or its file is none.
    """
    if name not in profile_names(library):
        known = ", ".join(profile_names(library)) or "none"
        raise ConfigError(f"policies.profile: there is no profile {clean(name, 100)!r}; there are {known}")
    path = library / FOLDER / f"{name}.yaml"
    try:
        with path.open("rb") as stream:
            tree = yaml.load(stream.read(_BYTES), Loader=yaml.CSafeLoader)
        file = msgspec.convert(tree, type=_File)
    except (OSError, yaml.YAMLError, msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError(f"the profile {name} cannot be read: {clean(str(error), 300)}") from error
    return Profile(name, file.title, file.description, file.policies, file.parameters)
