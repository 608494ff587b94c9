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
    INVENTORY = "inventory"
    """Objects of the cluster, which only policies from elsewhere read (``data.inventory``)."""
    NAMESPACE = "namespace"
    """Labels and annotations of the namespace of the request, as the API server knows them."""


class Origin(StrEnum):
    """What a policy was written for."""

    NATIVE = "native"
    GATEKEEPER = "gatekeeper"
    """A constraint with its ConstraintTemplate; ``input.review`` and ``input.parameters``."""
    ADMISSION = "admission"
    """``package kubernetes.admission`` of OPA's tutorial; ``input`` is the AdmissionReview."""
    CONFTEST = "conftest"
    """Any other package with deny, warn or violation; ``input`` is the object."""


class Rego(StrEnum):
    """The version of the language."""

    V0 = "v0"
    V1 = "v1"


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A compiled policy: its METADATA and what it reads.

    ``rules`` are those of deny, warn, audit that its package defines; ``mode`` the default for ``deny``. A policy with
    ``unsupported`` is never judged, only undecided; the text says why.
    """

    name: str
    title: str
    description: str
    severity: str
    mode: Mode
    docs: str
    needs: frozenset[Need]
    rules: tuple[Mode, ...]
    origin: Origin = Origin.NATIVE
    category: str = ""
    exceptions_forbidden: bool = False
    reads_secrets: bool = False
    rego: Rego = Rego.V1
    unsupported: str = ""


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
