"""What the API server asks: AdmissionRequest of admission.k8s.io/v1."""

from dataclasses import dataclass, field
from enum import StrEnum

from portcullis.model.json import JSONObject


class Operation(StrEnum):
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


class Caller(StrEnum):
    """How the sender of a review was told apart from anybody else in the cluster (design rule 13)."""

    CERTIFICATE = "certificate"
    PATH = "path"
    UNVERIFIED = "unverified"
    LOCAL = "local"
    """A command on the operator's own machine; no review came over the network."""
    RECHECK = "recheck"
    """The gate itself, about what runs already."""


@dataclass(frozen=True, slots=True)
class GroupVersionKind:
    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class GroupVersionResource:
    group: str
    version: str
    resource: str


@dataclass(frozen=True, slots=True)
class UserInfo:
    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()

    @property
    def is_person(self) -> bool:
        """False for service accounts, nodes and the control plane, whose clients must back off by themselves.

        Source: Kubernetes reserves the ``system:`` prefix for its own users
        (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-subjects).
        """
        return bool(self.username) and not self.username.startswith("system:")


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """One request to judge. ``raw`` is the whole AdmissionRequest object as decoded JSON; the fields beside
    it are those that the gate itself reads."""

    uid: str
    kind: GroupVersionKind
    resource: GroupVersionResource
    sub_resource: str
    name: str
    namespace: str
    operation: Operation
    user: UserInfo
    object: JSONObject | None
    old_object: JSONObject | None
    dry_run: bool
    raw: JSONObject = field(repr=False)
    caller: Caller = Caller.UNVERIFIED

    @property
    def about_namespace(self) -> bool:
        """Whether it is about a namespace itself, which its ``namespace`` then names."""
        return (self.kind.group, self.kind.kind) == ("", "Namespace")

    @property
    def creates_namespace(self) -> bool:
        """Whether it is about a namespace that is not there yet."""
        return self.operation is Operation.CREATE and self.about_namespace
