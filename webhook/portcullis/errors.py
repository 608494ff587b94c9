"""The tree of errors.

    PortcullisError
    ├── ConfigError                config-invalid            the operator's file is wrong
    ├── ReviewError                review-malformed          what was sent is no AdmissionReview
    ├── ManifestError              manifest-malformed        a file or document given to a command is no object
    ├── WorkloadError              workload-malformed        a review whose object is not what its kind says
    ├── InvalidReference           image-reference-invalid   an image name outside the distribution grammar
    ├── RegistryError                                        all that Registry and Keychain may raise
    │   ├── Unreachable            registry-unreachable      no answer, or 5xx, or a TLS failure        (retryable)
    │   │   └── Throttled          registry-throttled        429                                        (retryable)
    │   ├── Denied                 registry-denied           401 or 403 after authentication
    │   ├── NotFound               image-not-found           404
    │   │   └── UnknownContent     running-image-unknown     what a node has is named by nothing in the registry
    │   ├── Malformed              registry-malformed        an answer that is not what the specification says
    │   │   └── DigestMismatch     digest-mismatch           the bytes are not those of the digest
    │   ├── TooLarge               too-large                 a limit of limits.py was crossed
    │   ├── NotAllowed             registry-not-allowed      a host or an address that the operator has not listed
    │   └── CredentialUnavailable  credential-unavailable    a credential that cannot be had just now   (retryable)
    ├── InspectionError            inspection-failed         what looks into layers failed itself          (retryable)
    │   ├── LayerMalformed         layer-malformed           a layer that is no tar, or not as it is described
    │   ├── LayerUnsupported       layer-unsupported         a media type that is not read, a foreign layer
    │   └── InspectionBusy         inspection-pending        others are being inspected first              (retryable)
    ├── EngineError                                          all that Engine.evaluate may raise
    │   ├── EngineUnavailable      engine-unavailable        OPA is not there                           (retryable)
    │   ├── EngineTimeout          engine-timeout            OPA did not finish in time                 (retryable)
    │   ├── EngineUndefined        policy-undefined          a rule gave no result at all
    │   └── EngineMalformed        policy-failed             a builtin failed, or the result has a wrong shape
    ├── PolicyCompileError         policy-invalid            Rego that does not compile; carries where
    ├── RedactionError             redaction-failed          secrets cannot be taken out of the request
    ├── RecordsError               audit-unavailable         the record cannot be kept                  (retryable)
    │   └── CursorInvalid          cursor-invalid            a place to read on from that is none of ours
    ├── ClusterError               cluster-unavailable       the API server does not do as asked        (retryable)
    └── DeadlineExceeded           deadline-exceeded         the time of the request is over            (retryable)

Each class has one stable ``reason`` (docs/reasons.md lists them with cause and remedy), a ``message`` for
the human who reads the refusal, and ``retryable``: whether the same request may succeed later without
anybody changing anything. Adapters wrap what their libraries raise; nothing else crosses a port.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


class PortcullisError(Exception):
    """Root of the tree.

    Args:
        message: one sentence for the human who reads the refusal. It names what and where, holds no
            credential, and may hold untrusted text (whoever prints it cleans it).
    """

    reason: ClassVar[str] = "internal-error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigError(PortcullisError):
    """The configuration is wrong: says file, line and key where they are known."""

    reason = "config-invalid"


class ReviewError(PortcullisError):
    """The body is not an AdmissionReview of admission.k8s.io/v1 within the bounds.

    ``uid`` is that of the request where it could be read, so that it can be answered as a review; "" where the
    only answer is HTTP 400.
    """

    reason = "review-malformed"

    def __init__(self, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.uid = uid


class ManifestError(PortcullisError):
    """A file or document given to a command cannot be read as a Kubernetes object; says where."""

    reason = "manifest-malformed"


class WorkloadError(PortcullisError):
    """The object in a review is not shaped as its kind demands (a pod spec that is a string, say)."""

    reason = "workload-malformed"


class InvalidReference(PortcullisError):
    """The text is no image reference of the distribution grammar."""

    reason = "image-reference-invalid"


class RegistryError(PortcullisError):
    """Root of what a Registry or a Keychain may raise."""

    reason = "registry-error"


class Unreachable(RegistryError):
    reason = "registry-unreachable"
    retryable = True


class Throttled(Unreachable):
    """``retry_after``: seconds that the registry asked for (Retry-After), None where it did not say."""

    reason = "registry-throttled"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Denied(RegistryError):
    reason = "registry-denied"


class NotFound(RegistryError):
    """``stale_since``: when that was last confirmed, where the registry could not be asked now; None where it was."""

    reason = "image-not-found"

    def __init__(self, message: str, stale_since: datetime | None = None) -> None:
        super().__init__(message)
        self.stale_since = stale_since


class UnknownContent(NotFound):
    """A node reports an image by the digest of its configuration, and nothing that its reference names has that one."""

    reason = "running-image-unknown"


class Malformed(RegistryError):
    reason = "registry-malformed"


class DigestMismatch(Malformed):
    reason = "digest-mismatch"


class TooLarge(RegistryError):
    reason = "too-large"


class NotAllowed(RegistryError):
    reason = "registry-not-allowed"


class CredentialUnavailable(RegistryError):
    """A credential is configured for the registry, and its file, its helper or its cloud does not give it just now."""

    reason = "credential-unavailable"
    retryable = True


class InspectionError(PortcullisError):
    """Root of what an Inspector may raise beside RegistryError (TooLarge for layers that cross a limit); itself: the
    process that reads layers failed."""

    reason = "inspection-failed"
    retryable = True


class LayerMalformed(InspectionError):
    """A layer is not what its media type, its digests or the tar format say. Says which layer and where in it."""

    reason = "layer-malformed"
    retryable = False


class LayerUnsupported(InspectionError):
    """A layer of a media type that is not read: encrypted, foreign (with ``urls``), or unknown."""

    reason = "layer-unsupported"
    retryable = False


class InspectionBusy(InspectionError):
    """So much is being inspected that this image waits for its turn."""

    reason = "inspection-pending"


class EngineError(PortcullisError):
    """Root of what Engine.evaluate may raise."""

    reason = "engine-error"


class EngineUnavailable(EngineError):
    reason = "engine-unavailable"
    retryable = True


class EngineTimeout(EngineError):
    reason = "engine-timeout"
    retryable = True


class EngineUndefined(EngineError):
    reason = "policy-undefined"


class EngineMalformed(EngineError):
    reason = "policy-failed"


@dataclass(frozen=True, slots=True)
class CompileProblem:
    """One fault in a policy source. ``row`` and ``column`` count from 1; 0 where unknown."""

    file: str
    row: int
    column: int
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.row, self.column) if part)
        return f"{place}: {self.message}"


class PolicyCompileError(PortcullisError):
    """The policy set cannot be used; the last good one stays."""

    reason = "policy-invalid"

    def __init__(self, problems: tuple[CompileProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems) or "the policies do not compile")
        self.problems = problems


class RedactionError(PortcullisError):
    """Secrets cannot be taken out of a request, or not within bounds: it is neither judged nor kept."""

    reason = "redaction-failed"


class RecordsError(PortcullisError):
    """Neither the store nor the journal can keep the record."""

    reason = "audit-unavailable"
    retryable = True


class CursorInvalid(RecordsError):
    """What was handed back to read on from is no place that the log has named."""

    reason = "cursor-invalid"
    retryable = False


class ClusterError(PortcullisError):
    """The Kubernetes API server is not there, or does not let the gate do what it asks for."""

    reason = "cluster-unavailable"
    retryable = True


class DeadlineExceeded(PortcullisError):
    """The time that the caller gives is over."""

    reason = "deadline-exceeded"
    retryable = True
