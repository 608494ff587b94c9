"""Every bound of the program, one named field each, with its reason.

Over a bound is an error that says which one and how to raise it, never a silent cut. The operator may set
any of them in the ``limits`` section of the configuration, under the same names in camel case.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds. Bytes unless the name says otherwise; durations in seconds."""

    # -- the review --------------------------------------------------------------------------------------
    review_bytes: int = 8 * MIB
    """An UPDATE carries object and oldObject; the API server takes 3 MiB, etcd 1.5 MiB, each."""
    review_depth: int = 200
    """JSON nesting. CustomResourceDefinitions with deep schemas reach about 100."""
    review_values: int = 1_000_000
    """JSON values, roughly. 8 MiB of ``[]`` would decode to over 200 MiB; real reviews hold one per 20 bytes."""
    review_head_bytes: int = 64 * KIB
    """How far the uid of an unreadable review is looked for; the API server writes it first."""
    containers: int = 2500
    """Containers and image volumes of one workload; 2,000 still fit etcd's object limit."""
    distinct_images: int = 100
    """Different images of one workload, each of which costs registry requests."""

    # -- references --------------------------------------------------------------------------------------
    reference_chars: int = 1024
    """255 for the name, 128 for the tag, a digest and a host; the rest is not a reference."""

    # -- registries --------------------------------------------------------------------------------------
    manifest_bytes: int = 4 * MIB
    """What the distribution specification tells registries to accept at least."""
    config_bytes: int = 8 * MIB
    """Image configurations hold the history; real ones stay under 100 KiB."""
    index_children: int = 200
    """Manifests of one index; official images have about 30 with attestations."""
    image_layers: int = 500
    """Layers of one manifest; overlayfs stops at 128."""
    token_bytes: int = 256 * KIB
    """Answer of a token endpoint."""
    redirects: int = 5
    """Redirects of one blob request."""
    referrers: int = 100
    """Referrers of one image; more is refused, never cut."""
    referrers_pages: int = 20
    """Pages of one referrers answer."""
    connect_seconds: float = 3.0
    """TCP and TLS of a new registry connection."""
    flight_seconds: float = 60.0
    """Whole of one fetch, which may go on after the request that started it."""
    registry_connections_per_host: int = 16
    """One slow registry must not take all connections."""
    fact_cache_bytes: int = 64 * MIB
    """Manifests and configurations kept in memory by digest."""
    tag_seconds: float = 30.0
    """How long a tag's digest and a list of referrers are believed."""
    failure_seconds: float = 5.0
    """How long a registry's failure is remembered; a missing image likewise."""
    remembered_entries: int = 20_000
    """Tags, lists of referrers and failures in memory: count each; hostile names could make any number."""
    flights: int = 2000
    """Fetches under way at once, those included whose requester has given up: each may last ``flight_seconds``."""
    flights_per_host: int = 500
    """Those of one registry: one that never answers must not take all."""

    # -- evidence ----------------------------------------------------------------------------------------
    attestation_bytes: int = 16 * MIB
    """One attestation envelope."""
    attestations_bytes: int = 64 * MIB
    """All envelopes of one image."""
    envelope_signatures: int = 20
    """Signatures of one DSSE envelope."""
    statement_subjects: int = 1000
    """Subjects of one in-toto statement."""
    json_depth: int = 100
    """Nesting of attested JSON."""
    json_values: int = 600_000
    """Values of attested JSON, roughly. 16 MiB of ``[]`` would decode to 450 MiB; real ones hold one per 25 bytes."""
    signers: int = 100
    """Configured signing keys: each signature is tried with each of them."""
    findings: int = 100_000
    """Findings of one scan report."""

    # -- policies ----------------------------------------------------------------------------------------
    policy_bytes: int = 1 * MIB
    """One Rego source."""
    policies: int = 500
    """Policies in one set."""
    policy_files: int = 2000
    """Rego sources of one set, and entries of one of its folders."""
    policy_set_bytes: int = 16 * MIB
    """All Rego sources of one set."""
    policy_tree_bytes: int = 256 * MIB
    """The compiled set as OPA hands it out; about twenty times its sources."""
    compile_seconds: float = 60.0
    """Checking one set; 500 policies take a few seconds."""
    engine_start_seconds: float = 20.0
    """From the start of OPA to its first answer; a tenth of a second on a quiet machine."""
    violations: int = 1000
    """Violations of one policy in one decision."""
    document_bytes: int = 32 * MIB
    """The policy input of one decision."""
    engine_bytes: int = 16 * MIB
    """Policy inputs that OPA has in hand at once; many small values take thirty times their bytes there."""
    engine_answer_bytes: int = 16 * MIB
    """OPA's answer to one decision."""
    message_chars: int = 2000
    """Text of one violation."""

    # -- connections of the webhook port -------------------------------------------------------------------
    head_bytes: int = 32 * KIB
    """Request line and headers; the API server sends about 300 bytes."""
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""
    connections: int = 1000
    """Open at once; an API server keeps 25 idle ones and opens about 100 under load."""
    keep_alive_seconds: float = 120.0
    """How long an idle connection stays. The API server drops its own after 90 s; were we first, an admission
    would be lost now and then."""

    # -- the answer --------------------------------------------------------------------------------------
    in_flight: int = 200
    """Reviews judged at once; more get 503 at once."""
    in_flight_bytes: int = 256 * MIB
    """Bodies of all reviews that are being received or judged; more get 503 at once."""
    body_seconds: float = 5.0
    """From the headers of a review to the end of its body; the API server sends it in one go."""
    deadline_reserve_seconds: float = 0.5
    """Kept from the caller's time for the record and the way back."""
    moment_seconds: float = 0.2
    """How long a request of a controller waits for facts before it has to be one of those that may wait on."""
    waiting_per_controller: int = 1
    """Requests of one controller of the control plane that wait on at a time; it has two to five workers."""
    waiting_per_account: int = 4
    """Requests of any other service account that wait on at a time: a deployment tool, an operator."""
    default_timeout_seconds: float = 10.0
    """When the caller names none; the API server's own default."""
    shown_violations: int = 10
    """Lines of a refusal; the rest is counted."""
    warning_chars: int = 256
    """The API server cuts longer warnings."""
    warnings: int = 15
    """The API server drops what is over 4,096 characters in all."""

    # -- the audit log -----------------------------------------------------------------------------------
    commit_records: int = 256
    """Records that share one commit at most."""
    commit_bytes: int = 16 * MIB
    """Judged inputs that share one commit at most; 256 of the largest would take longer than append_seconds."""
    queued_records: int = 10_000
    """Records that wait for a commit."""
    journal_bytes: int = 256 * MIB
    """The journal that takes over while the store is down."""
    append_seconds: float = 0.3
    """How long the store may take before the journal takes the record: less than deadline_reserve_seconds, so that
    the journal still has its time."""
    search_rows: int = 1000
    """Rows of one answer of the log."""

    # -- configuration -----------------------------------------------------------------------------------
    config_file_bytes: int = 1 * MIB
    """portcullis.yaml."""
    input_documents: int = 1000
    """Documents of one file given to ``check``."""
    input_bytes: int = 32 * MIB
    """One file given to ``check``; rendered charts with all their CustomResourceDefinitions stay under 10 MiB."""
    input_values: int = 1_000_000
    """Scalars, lists and maps of one such file, aliases written out: YAML can multiply without bound."""
    input_files: int = 10_000
    """Files of one ``check``."""


DEFAULT_LIMITS = Limits()
