"""The ports: what the gate asks of the world. Each docstring lists the only errors an adapter may raise.

Adapters do not inherit from these; mypy checks the shapes where they are handed in. A caching adapter is a
Registry that holds a Registry.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from portcullis.model.contents import Contents
from portcullis.model.evidence import Carrier, CarrierKind, Evidence, Rejected, Verified
from portcullis.model.image import (
    Access,
    Anonymous,
    Descriptor,
    Digest,
    ImageReference,
    Manifest,
    RegistryCredential,
    Repository,
    ResolvedImage,
)
from portcullis.model.json import JSONObject
from portcullis.model.place import NamespaceFacts
from portcullis.model.record import (
    AuditRecord,
    ChainPlace,
    Counted,
    Extent,
    ImagePage,
    ImageUse,
    PolicyBucket,
    PolicyTally,
    RecordFilter,
    RecordPage,
    Span,
    VerdictBucket,
    Visible,
    WorkloadUse,
)
from portcullis.model.ruling import CompiledBundle, PolicyBundle, Ruling
from portcullis.model.running import (
    Admitted,
    Condition,
    FindingFilter,
    FindingPage,
    ObjectRef,
    Rejudged,
    Round,
    RunningPods,
)


class Registry(Protocol):
    """Reads images. Raises only RegistryError (errors.py draws its kinds).

    Every body is hashed and compared with the digest it was asked by; a digest in a reference wins over its tag.
    """

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """What the reference names now, down to the configuration of each platform that is judged."""
        ...

    async def referrers(
        self, image: ResolvedImage, artifact_type: str | None, access: Access
    ) -> tuple[CarrierKind, Sequence[Descriptor]]:
        """Manifests whose subject is ``image.digest``, from the Referrers API or, where the registry has none,
        its fall-back tag; which of the two is the first element. Filtered by ``artifact_type`` if given."""
        ...

    async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Manifest:
        """A manifest by digest, byte-exact."""
        ...

    async def tagged(self, repository: Repository, tag: str, access: Access) -> Manifest:
        """The manifest that a tag names now, byte-exact, with the digest of its bytes. It need not be an image."""
        ...

    def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        """A blob by digest in pieces. Raises TooLarge past ``limit`` bytes, and DigestMismatch at its end: a
        reader must not use a piece before the iterator has ended."""
        ...


class Keychain(Protocol):
    """Finds the credential for a repository. Raises only RegistryError; CredentialUnavailable where there should be
    one, and it cannot be had just now."""

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:
        """The credential that covers the repository: one for its whole host, or for whole first segments of its path.
        A host is compared label by label, port included."""
        ...


class Inspector(Protocol):
    """Looks into images. Raises only RegistryError and InspectionError."""

    async def inspect(self, image: ResolvedImage, access: Access) -> tuple[Contents, ...]:
        """What lies in the layers of each of ``image.platforms``, in their order. Layers are fetched as ``access``
        allows. What was begun goes on when the caller is cancelled, and the next one finds it done."""
        ...

    def remaining_seconds(self, image: ResolvedImage) -> float:
        """An estimate of how long the inspection that is under way will take."""
        ...


class Gatherer(Protocol):
    """Finds what was signed about an image. Raises only RegistryError."""

    async def gather(self, image: ResolvedImage, access: Access) -> Evidence:
        """All that is attached to the image and its platforms, verified or with the reason why not."""
        ...


class Verifier(Protocol):
    """Judges found evidence. Returns Rejected for anything that is bad; never raises."""

    async def verify(self, carrier: Carrier, subject: Digest) -> Verified | Rejected: ...


class Engine(Protocol):
    """Judges documents by policies."""

    async def compile(self, bundle: PolicyBundle) -> CompiledBundle:
        """Compiles, loads, and proves that this revision is what is served from now on.

        Raises:
            PolicyCompileError: with file, row and column; what was served before is still served.
            EngineError: the engine is not there.
        """
        ...

    def hold(self, compiled: CompiledBundle) -> AbstractContextManager[None]:
        """Keeps a set that is served until the end of the block, also when another takes its place meanwhile: a
        decision ends with the set that it began with."""
        ...

    async def evaluate(
        self,
        compiled: CompiledBundle,
        policies: Sequence[str],
        document: bytes,
        deadline: float,
        parameters: Mapping[str, JSONObject] = ...,
    ) -> Ruling:
        """Evaluates the named policies over ``document`` (the policy input as JSON) until ``deadline``
        (a Clock.monotonic instant), after which the evaluation is cancelled inside the engine as well.
        ``parameters`` take the place of the bundle's for the policies that they name.

        Raises only EngineError. A single policy that fails is in Ruling.failed, not an error of all.
        """
        ...


class Namespaces(Protocol):
    """Namespaces as the API server knows them. Raises only ClusterError."""

    async def get(self, name: str) -> NamespaceFacts:
        """The namespace; ClusterError where it is not there, or not known just now."""
        ...


class Records(Protocol):
    """The audit log. Raises only RecordsError."""

    async def append(self, record: AuditRecord) -> None:
        """Returns once the record is durable."""
        ...

    async def get(self, decision_id: str) -> AuditRecord | None: ...

    async def search(self, query: RecordFilter) -> Sequence[AuditRecord]:
        """Newest first; the decisions' documents are left out (b"")."""
        ...


class Ledger(Protocol):
    """What people ask of the audit log. Raises only RecordsError, and answers within ``limits.read_seconds``.

    ``visible`` are the namespaces that the reader may see; nothing of any other is in an answer, neither as a record
    nor in a number.
    """

    async def page(self, query: RecordFilter) -> RecordPage: ...

    async def newer(self, query: RecordFilter, after: int) -> int:
        """How many records with a sequence above ``after`` meet the query, a thousand at most."""
        ...

    async def get(self, decision_id: str, visible: Visible = None) -> AuditRecord | None:
        """With its document."""
        ...

    async def place(self, sequence: int) -> ChainPlace | None:
        """Of a record; None where it is older than chains."""
        ...

    async def previous(self, record: AuditRecord, visible: Visible = None) -> AuditRecord | None:
        """The decision before it on the same kind, namespace and name, with its document; dry runs do not count."""
        ...

    async def verdicts(self, span: Span, visible: Visible = None, namespace: str = "") -> Sequence[VerdictBucket]:
        """By hour up to a week, by day beyond; buckets without decisions are there, too."""
        ...

    async def namespaces(self, span: Span, visible: Visible = None) -> Sequence[Counted]:
        """Where most was refused, ten at most."""
        ...

    async def policies(self, span: Span, visible: Visible = None) -> Sequence[PolicyTally]:
        """The most violated first."""
        ...

    async def policy(self, name: str, span: Span, visible: Visible = None) -> Sequence[PolicyBucket]: ...

    async def policy_namespaces(self, name: str, span: Span, visible: Visible = None) -> Sequence[Counted]:
        """Where it was violated most, ten at most."""
        ...

    async def policy_images(self, name: str, span: Span, visible: Visible = None) -> Sequence[Counted]:
        """The images, as digests, of the newest thousand decisions that violated it, ten at most."""
        ...

    async def images(
        self, visible: Visible = None, *, written: str = "", after: str = "", limit: int = 50
    ) -> ImagePage:
        """``written`` is how the reference begins; ``after`` is ``next`` of the page before.

        Raises:
            CursorInvalid: ``after`` is not of ours.
        """
        ...

    async def image(self, digest: str, visible: Visible = None) -> ImageUse | None: ...

    async def workloads(self, digest: str, visible: Visible = None) -> Sequence[WorkloadUse]:
        """Where it was judged lately: among the newest thousand decisions with it, the newest of each workload."""
        ...

    async def documents(self, digest: str, visible: Visible = None, limit: int = 20) -> Sequence[AuditRecord]:
        """The newest decisions with that image whose documents differ, with their documents."""
        ...

    async def extent(self, visible: Visible = None) -> Extent: ...


class Bundles(Protocol):
    """Policy sets and configurations by hash, so that a record can be judged again (design rule 12).
    Raises only RecordsError."""

    async def put(self, revision: str, kind: str, content: bytes) -> None: ...

    async def get(self, revision: str) -> bytes | None: ...


class Facts(Protocol):
    """Immutable facts by key: what was derived from content of a digest. Raises only RecordsError."""

    async def get(self, key: str) -> bytes | None:
        """What was put under ``key``, None where nothing is kept (any more). It counts as used."""
        ...

    async def put(self, key: str, content: bytes) -> None:
        """Keeps ``content``; what is there already stays. Where room is needed, the least recently used go. What is
        too large for the room is not kept."""
        ...


class Marks(Protocol):
    """Instants that only move forward, by key: the newest scan that was ever seen of an image. Raises only
    RecordsError."""

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        """The marks of those keys that have one."""
        ...

    async def advance(self, marks: Mapping[str, datetime]) -> None:
        """Moves each mark forward to the instant; one that stands later already stays, whoever else writes."""
        ...


class Workloads(Protocol):
    """What runs in the cluster. Raises only ClusterError."""

    def groups(self) -> AsyncIterator[RunningPods]:
        """Everything that runs now, each group once, in an order that keeps groups with the same images together."""
        ...


class Admissions(Protocol):
    """What the audit log knows of how objects were let in. Raises only RecordsError."""

    async def admitted(self, objects: Sequence[ObjectRef]) -> Sequence[Admitted]:
        """Of each the newest decision that let it in, where there is one that changed anything; in the order of the
        objects."""
        ...


class Findings(Protocol):
    """What came of judging again what runs: the newest round that has ended, and the one under way. Raises only
    RecordsError, and answers readers within ``limits.read_seconds``.

    ``visible`` are the namespaces that the reader may see; nothing of any other is in an answer, but for the sums of
    :meth:`round`.
    """

    async def begin(self, started: Round) -> None:
        """A round begins; what was kept of another one that has not ended is forgotten."""
        ...

    async def put(self, round_id: str, results: Sequence[Rejudged]) -> None:
        """Keeps results of the round that goes on, without the documents of their decisions. Of one that is too large
        the worst is kept, and the rest counted (``omitted``). What is there already by its key stays.

        Raises:
            RecordsError: also where the round is not the one that goes on, or has more than ``running_workloads``.
        """
        ...

    async def finish(self, ended: Round) -> None:
        """From now on the results of this round are those that are shown; older ones go.

        Raises:
            RecordsError: also where the round is not the one that goes on.
        """
        ...

    async def round(self) -> Round | None:
        """The newest that has ended; None before the first. Its sums are of the whole cluster."""
        ...

    async def under_way(self) -> Round | None:
        """The one that was begun after it and has not ended; it may have been given up."""
        ...

    async def results(
        self, *, visible: Visible = None, query: FindingFilter = ..., after: str = "", limit: int = 50
    ) -> FindingPage:
        """Of the newest round that has ended, the worst first, then by namespace, kind and name.

        Raises:
            CursorInvalid: ``after`` is not of ours.
        """
        ...

    async def totals(self, visible: Visible = None, query: FindingFilter = ...) -> Mapping[Condition, int]:
        """How many workloads that meet the query stand how; its ``condition`` is not looked at."""
        ...

    async def policies(self, visible: Visible = None) -> Sequence[PolicyTally]:
        """What policies find now, by policy and mode: in how many workloads. The most violated first."""
        ...

    async def namespaces(self, visible: Visible = None) -> Sequence[Counted]:
        """Every namespace with results, in order, and how many it has."""
        ...


class Reporter(Protocol):
    """Publishes results in the cluster. Raises only ClusterError."""

    async def publish(self, namespace: str, results: Sequence[Rejudged], at: datetime) -> None:
        """The reports of one namespace are those of ``results`` from now on; those that have not changed are not
        written. No results: none is left."""
        ...

    async def clear(self, namespaces: Collection[str]) -> None:
        """Takes away the reports of every namespace but these."""
        ...


class Clock(Protocol):
    """The two times: for people and for deadlines."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; the scale of every deadline (that of the event loop's ``time()``)."""
        ...
