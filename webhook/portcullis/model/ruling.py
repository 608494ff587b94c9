"""Policies and what the engine says of a document."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from portcullis.model.json import JSONObject


class Mode(StrEnum):
    """What a violation does: refuse, warn the person, or only be recorded."""

    DENY = "deny"
    WARN = "warn"
    AUDIT = "audit"


class Need(StrEnum):
    """A class of facts that a policy reads (design rule 3)."""

    REQUEST = "request"
    IMAGE = "image"
    CONFIG = "config"
    USER = "user"
    """The user of an image; where USER is a name, only the files of the image tell its uid."""
    CONTENTS = "contents"
    PACKAGES = "packages"
    """The list of installed packages, which is long: it is in the input only where a policy reads it."""
    ATTESTATIONS = "attestations"
    COMPONENTS = "components"
    """The components of SBOMs, likewise."""
    NAMESPACE = "namespace"
    """Labels and annotations of the request's namespace, as the API server knows them."""
    INVENTORY = "inventory"
    """Objects of the cluster, at ``data.inventory``."""


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A compiled policy: its METADATA and what it reads.

    ``rules`` are those of deny, warn, audit that its package defines; ``mode`` the default for ``deny``.
    """

    name: str
    title: str
    description: str
    severity: str
    mode: Mode
    docs: str
    needs: frozenset[Need]
    rules: tuple[Mode, ...]
    exceptions_forbidden: bool = False
    """Its author lets no exception be made from it."""


@dataclass(frozen=True, slots=True)
class PolicySource:
    """One Rego file. ``path`` is how messages name it."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    """Sources and parameters that are judged by together. ``revision`` is the sha256 of all of it."""

    sources: tuple[PolicySource, ...]
    parameters: Mapping[str, JSONObject]
    revision: str


@dataclass(frozen=True, slots=True)
class CompiledBundle:
    """A bundle that the engine has compiled, loaded and proven to serve."""

    revision: str
    policies: tuple[PolicyInfo, ...]


@dataclass(frozen=True, slots=True)
class RuleHit:
    """One element of a policy's deny, warn or audit set, as the author wrote it."""

    policy: str
    rule: Mode
    msg: str
    container: str = ""
    image: str = ""
    digest: str = ""
    platform: str = ""
    field: str = ""
    fix: str = ""
    details: JSONObject = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PolicyFailure:
    """A policy that gave no ruling: its rule was undefined, a builtin failed, its result had a wrong shape."""

    policy: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the engine says. Every policy that was asked is in exactly one of ``judged`` and ``failed``."""

    judged: frozenset[str]
    hits: tuple[RuleHit, ...]
    failed: tuple[PolicyFailure, ...] = ()
