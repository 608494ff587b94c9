"""Policies and what the engine says of a document."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from portcullis.errors import CompileProblem
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
    """Objects of the cluster, at ``data.inventory``."""
    NAMESPACE = "namespace"
    """Labels and annotations of the request's namespace, as the API server knows them."""


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
    ``unsupported`` is undecided for every request that its match block fits; the text says why.
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
    """Its author lets no exception be made from it."""
    reads_secrets: bool = False
    rego: Rego = Rego.V1
    unsupported: str = ""


@dataclass(frozen=True, slots=True)
class PolicySource:
    """One Rego file, or Rego inside of another one.

    ``path`` is how messages name the file, in which the text begins after ``row`` rows and stands ``column`` columns to
    the right. ``unit`` is what belongs together: the kind of a ConstraintTemplate, "" for all others. ``rego`` is the
    version where it is known; None means that it is tried.
    """

    path: str
    text: str
    origin: Origin = Origin.NATIVE
    unit: str = ""
    library: bool = False
    rego: Rego | None = None
    row: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Constraint:
    """A Gatekeeper constraint: the policy ``name``, which asks the template ``unit``.

    ``match`` is its match block with the template's ``operations``; its parameters are in the bundle. With
    ``unsupported`` there is no Rego: it is always undecided, for that reason.
    """

    name: str
    unit: str
    kind: str
    path: str
    row: int
    match: JSONObject
    mode: Mode
    title: str = ""
    description: str = ""
    severity: str = ""
    docs: str = ""
    exceptions_forbidden: bool = False
    unsupported: str = ""


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    """Sources and parameters that are judged by together. ``revision`` is the sha256 of all of it.

    ``left_out`` are policies from elsewhere that are not among the enabled ones. ``remarks`` tell what is not as its
    author may think, though the set can be judged by: templates that are not supported, constraints that are not
    meant for admission. ``inventory_in_input`` is for suites: the inventory stands in the policy input of each case.
    """

    sources: tuple[PolicySource, ...]
    parameters: Mapping[str, JSONObject]
    revision: str
    constraints: tuple[Constraint, ...] = ()
    left_out: frozenset[str] = frozenset()
    remarks: tuple[CompileProblem, ...] = ()
    inventory_in_input: bool = False


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Where two policies have the same one, and the same parameters, they rule alike. ``parameters`` names the policies
    whose parameters it reads; None where that cannot be told."""

    digest: str
    parameters: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class CompiledBundle:
    """A bundle that the engine has compiled, loaded and proven to serve. ``remarks`` are those of the bundle and what
    compiling adds to them; ``parameters`` are the bundle's. A policy without one of the ``fingerprints`` may rule
    differently whenever anything changes."""

    revision: str
    policies: tuple[PolicyInfo, ...]
    remarks: tuple[CompileProblem, ...] = ()
    parameters: Mapping[str, JSONObject] = dataclasses.field(default_factory=dict)
    fingerprints: Mapping[str, Fingerprint] = dataclasses.field(default_factory=dict)


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
