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
    history_entries: int = 2000
    """Lines of the history of one image; those of a long Dockerfile are about a hundred."""
    history_chars: int = 128 * KIB
    """Of all these lines. They are searched for secrets in the program that answers reviews, for 0.2 s at worst."""
    image_layers: int = 500
    """Layers of one manifest; overlayfs stops at 128."""
    token_bytes: int = 256 * KIB
    """Answer of a token endpoint."""
    credential_bytes: int = 64 * KIB
    """A file with a password, or what a credential helper prints; Azure's tokens have about 2 KiB."""
    credential_seconds: float = 10.0
    """For a cloud or a credential helper to give a credential; a cold start of AWS' and Azure's takes about 2 s."""
    credential_entries: int = 1000
    """Registries whose lent credentials are kept or asked for at once: hostile names could make any number."""
    docker_config_bytes: int = 256 * KIB
    """A docker config file or pull secret; a login takes about 100 bytes, one of Azure's 2 KiB."""
    docker_config_entries: int = 1000
    """Logins and helpers of one docker config; each is compared with each repository."""
    pull_secrets: int = 50
    """Pull secrets of one workload; each is read from the API server."""
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
    answer_seconds: float = 15.0
    """Until a registry answers, and between two pieces of a document: a registry that fetches the image from elsewhere
    first takes some seconds. Shorter than ``flight_seconds``, so that a message says which of the two it was."""
    stall_seconds: float = 30.0
    """The same for a blob that is streamed, such as a layer: storage behind a registry is slower to begin."""
    download_seconds: float = 900.0
    """Whole of one streamed blob; ``flight_seconds`` would cut a large layer that flows well."""
    registry_attempts: int = 3
    """How often a read is tried that failed with 429, 502, 503, 504 or a broken connection."""
    backoff_seconds: float = 0.5
    """Longest wait before the second attempt; it doubles, and a random part of it is waited."""
    retry_wait_seconds: float = 5.0
    """Longest wait before any attempt. A registry that asks for more by Retry-After fails the fetch at once."""
    throttle_seconds: float = 300.0
    """Longest time that a host which answered 429 is left alone, whatever its Retry-After says."""
    mirror_rest_seconds: float = 60.0
    """How long a mirror that could not be reached, or lied, is passed over."""
    index_depth: int = 3
    """An index in an index in an index; builders make one level, tools that merge indexes two."""
    index_manifests: int = 500
    """Manifests of an index and of all those in it."""
    ca_file_bytes: int = 1 * MIB
    """A file of certificate authorities; all those of a system are 220 KiB."""
    registry_connections_per_host: int = 16
    """Requests in flight to one host; half of them may be blobs that are streamed. One slow registry must not take all
    connections, nor layers those of manifests."""
    fact_cache_bytes: int = 64 * MIB
    """Manifests and configurations kept in memory by digest."""
    tag_seconds: float = 30.0
    """How long a tag's digest and a list of referrers are believed."""
    failure_seconds: float = 5.0
    """How long it is remembered that a registry cannot be reached, or a credential cannot be had: outages end."""
    missing_failure_seconds: float = 5.0
    """Likewise that there is no such image: pods are often made just before a push ends."""
    denied_failure_seconds: float = 30.0
    """That a credential is refused: a corrected one is asked with at once, and registries lock out who fails often."""
    throttled_failure_seconds: float = 15.0
    """That a registry answered 429, where it does not say by Retry-After for how long (``throttle_seconds``)."""
    malformed_failure_seconds: float = 30.0
    """That an image is malformed or too large: only another push mends that, which a tag shows no sooner."""
    remembered_entries: int = 20_000
    """Tags, lists of referrers and failures in memory: count each; hostile names could make any number."""
    remembered_bytes: int = 16 * MIB
    """And bytes each: one list of referrers may have as many as ``manifest_bytes``."""
    stale_wait_seconds: float = 3.0
    """How long a registry is waited for where a stale fact may be used in its place: an image has two of them, and both
    waits must end before the deadline of a usual request."""
    stranger_seconds: float = 30.0
    """Whole of a fetch, or of a look into an image, that an unverified review began; it may ask for the slowest."""
    stranger_fetches: int = 120
    """Fetches a minute that unverified reviews may begin: registries count what is asked for from one address, Docker
    Hub some hundred an hour."""
    flights: int = 2000
    """Fetches under way at once, those included whose requester has given up: each may last ``flight_seconds``."""
    flights_per_host: int = 500
    """Those of one registry: one that never answers must not take all."""

    # -- images on disk ----------------------------------------------------------------------------------
    layout_manifests: int = 1000
    """Manifests that one OCI layout or archive lists, indexes and attestations included; each is read to find what is
    attached to an image."""
    archive_entries: int = 20_000
    """Entries of one archive; ``docker save`` writes three per layer."""
    archive_plain_bytes: int = 8 * 1024 * MIB
    """How far into a gzip'd archive is read, inflated: that takes about two seconds per GiB and layer. One that is not
    compressed may have any size."""

    # -- layers ------------------------------------------------------------------------------------------
    layer_bytes: int = 8 * 1024 * MIB
    """One layer as pulled; images for machine learning have one of 5 GiB."""
    layer_plain_bytes: int = 16 * 1024 * MIB
    """The tar in it; reading takes about three seconds per GiB."""
    layer_ratio: int = 200
    """Plain bytes for each compressed one, at any place of the stream. Programs have 3, logs 20; gzip reaches 1,000
    with zeros, zstd far more."""
    layer_ratio_above_bytes: int = 64 * MIB
    """Plain bytes up to which the ratio does not matter: a file of zeros."""
    layer_members: int = 1_000_000
    """gzip members or zstd frames one behind the other; eStargz and zstd:chunked make one or two for each file."""
    layer_window_bytes: int = 64 * MIB
    """What a zstd frame looks back on, which is held in memory; ``zstd -19`` uses 8 MiB, Go's best level 32 MiB."""
    layer_entries: int = 500_000
    """Entries of one tar; large images have 100,000 in all."""
    layer_path_bytes: int = 4096
    """One name, or target of a link: PATH_MAX of Linux, which no runtime can go over."""
    layer_names_bytes: int = 64 * MIB
    """Names and targets of one layer in all: 130 bytes for each of ``layer_entries``."""
    layer_header_bytes: int = 1 * MIB
    """One pax header, GNU long name or sparse map; Go's archive/tar takes no more."""
    layer_sparse_regions: int = 20_000
    """Pieces of one sparse file; a database file with holes has some hundreds."""
    layer_kept_bytes: int = 128 * MIB
    """Bodies of one layer that are kept whole, in all: a package database as long as may be, and others."""

    # -- inspection --------------------------------------------------------------------------------------
    image_layer_bytes: int = 10 * 1024 * MIB
    """Layers of one image as pulled; images for machine learning reach 8 GiB."""
    inspections: int = 500
    """Images that are being looked into at once, those included that wait for their turn."""
    inspected_bytes: int = 40 * 1024 * MIB
    """Layers of all of these together."""
    inspection_seconds: float = 900.0
    """From the turn of an image's first layer to the end of its last."""
    inspection_failure_seconds: float = 60.0
    """How long it is remembered that a layer cannot be read; what failed by chance is tried again at once."""
    worker_turn_seconds: float = 5.0
    """After which a layer lets the next one be read beside it: its registry is slow, or it is very large."""
    worker_bytes: int = 1024 * MIB
    """Address space of a process that reads layers; its memory stays far below."""
    worker_answer_bytes: int = 64 * MIB
    """Facts of one layer, compressed; 500,000 files take about 10 MiB."""

    # -- contents ----------------------------------------------------------------------------------------
    image_entries: int = 600_000
    """Entries of all layers of one image and the folders between them; images for machine learning have 300,000.
    Merged they take about 700 bytes each, which must fit into ``worker_bytes``."""
    user_database_bytes: int = 1 * MIB
    """/etc/passwd, /etc/group, and what they link to; each."""
    os_release_bytes: int = 64 * KIB
    """/etc/os-release; real ones have 500 bytes."""
    package_database_bytes: int = 64 * MIB
    """One package database; a desktop of 3,000 packages has 15 MiB (dpkg) to 40 MiB (rpm)."""
    packages: int = 20_000
    """Packages of one image, and of one database."""
    probed_bytes: int = 64 * KIB
    """The beginning of a file whose content is matched by a rule of the catalogue; a key has 2 KiB."""
    probed_library_bytes: int = 1 * MIB
    """The beginning of a shared object in which the C library that it needs is looked for."""
    contents_findings: int = 2000
    """Findings of one class in one image; what comes in masses (caches, tests) is folded into folders before."""
    catalogue_rules: int = 2000
    """Rules of the catalogue, those built in included."""

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
    evidence_rows: int = 200_000
    """Findings, components and other lines of all that is attested of one image. Each takes about 500 bytes, and the
    policy input has room for fewer."""
    attestation_places: int = 50
    """Places of one image where attestations are looked for: its index and each platform, in each repository."""
    certificates: int = 10
    """Certificates that one signature brings with it; chains of Fulcio and of Notation have three."""
    certificate_bytes: int = 64 * KIB
    """All of them, and each time-stamp."""
    log_entries: int = 4
    """Entries of transparency logs beside one signature; cosign writes one."""
    timestamps: int = 32
    """Time-stamps beside one signature; sigstore-python takes as many."""
    trusted_roots: int = 20
    """Configured trusted roots."""
    trusted_root_bytes: int = 1 * MIB
    """One file with a trusted root; Sigstore's public one has 7 KiB."""
    suppressions: int = 1000
    """Suppressed findings of one report that are shown one by one; all are counted."""
    lint_findings: int = 10_000
    """Findings of one linter's report."""
    evaluation_checks: int = 10_000
    """Lines of one policy evaluation."""
    sbom_components: int = 100_000
    """Components of one SBOM; images for machine learning have some thousands."""
    provenance_materials: int = 10_000
    """Materials of one provenance; builds with many modules list each."""
    vex_statements: int = 50_000
    """Statements of one VEX document; those of distributions have some thousands."""
    vex_products: int = 100_000
    """Products of one VEX document, in all its statements."""
    known_verdicts: int = 5000
    """Verdicts on attestations in memory, so that the same one is not verified anew for each decision."""
    known_verdict_bytes: int = 64 * MIB
    """The attestations from which these were made or, where that is more, what was read from them, in all."""
    marks: int = 100_000
    """High-water marks in memory, one for each image, kind of report and scanner."""

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
    explain_bytes: int = 64 * MIB
    """OPA's trace of one policy over one document, for ``explain``; most take less than 1 MiB."""
    message_chars: int = 2000
    """Text of one violation."""

    policy_test_seconds: float = 30.0
    """The tests that lie beside new policies, all of them; those of the whole library take five."""
    policy_source_bytes: int = 16 * MIB
    """One OPA bundle as it is downloaded, unpacked, and all ConfigMaps with policies together."""
    policy_source_files: int = 2000
    """Entries of one OPA bundle, and ConfigMaps with policies."""

    # -- tests of policies ---------------------------------------------------------------------------------
    test_seconds: float = 30.0
    """One Rego test; those of the library that take long, with thousands of findings, take two seconds."""
    test_run_seconds: float = 900.0
    """All Rego tests of one run together."""
    test_output_bytes: int = 128 * MIB
    """What OPA writes of one run: 200 bytes for each test, and traces of those that failed, documents and all."""
    fixture_bytes: int = 4 * MIB
    """One file of fixtures; facts in it are better kept in files of their own."""
    fixtures: int = 5000
    """Fixtures of one run."""

    # -- the cluster -------------------------------------------------------------------------------------
    watched_namespaces: int = 20_000
    """Namespaces whose labels and annotations are kept; clusters of 10,000 exist."""
    watched_namespace_bytes: int = 64 * MIB
    """These, as JSON."""
    watched_nodes: int = 20_000
    """Nodes; Kubernetes is built for 5,000. Of each its two labels are kept."""
    pull_secret_watches: int = 200
    """Watches for ``cluster.pullSecrets``: of each namespace one for its service accounts, and one for its pull secrets
    or one for each that is named. Each is a connection to the API server, and takes about 0.1 MiB."""
    watched_grants: int = 5000
    """Objects BreakGlass in the whole cluster. A busy one makes some tens a day, and who makes one may remove it."""
    watched_grant_bytes: int = 16 * MIB
    """All these together, as JSON; one has about 500 bytes, and 64 KiB at most."""
    grants_per_namespace: int = 20
    """Grants that are in force in one namespace. Over it none there counts: each is compared with each image, for 7 ms
    an image at worst, and nobody can say any more what is open."""
    watched_pull_secrets: int = 1000
    """Pull secrets of one namespace that are kept; what a namespace has beyond that is asked for by name."""
    watched_pull_secret_bytes: int = 1 * MIB
    """These, in base64, and as many that were asked for by name; a login takes about 200 bytes. Of each namespace, so
    that no tenant can drive out what another has."""
    watched_service_accounts: int = 5000
    """Service accounts of one namespace that name pull secrets; the others are not kept."""
    watched_service_account_bytes: int = 1 * MIB
    """The names of these pull secrets, likewise."""
    lookup_seconds: float = 5.0
    """How long it is believed what the API server said of a pull secret or a service account by name, also that there
    is none. A watch that learns otherwise is believed at once."""
    inventory_objects: int = 20_000
    """Objects of ``data.inventory``."""
    inventory_bytes: int = 16 * MIB
    """These, as JSON; each OPA takes about ten times as much for them, and while policies change there are two."""
    event_objects: int = 1000
    """Objects of which refusals wait to be told by an Event, or were told lately; and those whose owner's owner is
    known. One takes 1.5 KiB for each cause that waits."""
    event_causes: int = 5
    """Different causes that wait to be told of one object; what is refused for others meanwhile is counted."""
    event_seconds: float = 10.0
    """Between two writes about one object: a controller tries again after 10 ms, 20 ms, and so on."""
    events_per_second: float = 5.0
    """Writes in all, each two requests: of a cluster of which everything is refused the API server notices little."""
    report_page_results: int = 200
    """Results of one PolicyReport: few enough to be read, and to be written anew where one of them changes."""
    report_page_bytes: int = 256 * KIB
    """One PolicyReport as the API server stores it, which refuses objects of more than 1.5 MiB."""
    report_pages: int = 50
    """PolicyReports of one namespace. The worst results come first, and a result says how many have no room."""
    report_writes_per_second: float = 10.0
    """PolicyReports written or deleted, one after the other: the API server's database takes thousands, of less."""

    # -- judging again what runs -----------------------------------------------------------------------------
    recheck_at_once: int = 4
    """Workloads that are judged again at once: a slow registry holds up one of them, and not all."""
    recheck_again: int = 1000
    """Workloads of one round that are judged once more at its end, because something could not be had; each takes as
    much memory as its pod."""
    recheck_again_seconds: float = 60.0
    """Before they are: registries may be back by then, and layers read."""
    recheck_courtesy_seconds: float = 2.0
    """How long a workload that is judged again lets reviews go first, at most: on a busy day there always are some."""
    recheck_slowest_seconds: float = 10.0
    """Between two images that registries are asked for, at most, where they do not answer."""

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
    suspect_chars: int = 256 * KIB
    """Texts of one request that may hold a secret and are searched for it, line by line, 4 KiB of a longer line: they
    take about 0.1 s. Variables and the data of Secrets, which go unread, do not count."""
    masked_paths: int = 20
    """Places of what was taken out of a request that its record names one by one; all are counted."""
    sink_records: int = 10_000
    """Records that wait for one sink; what comes after is dropped and counted."""
    sink_bytes: int = 64 * MIB
    """These, with their judged inputs."""
    sink_flush_seconds: float = 5.0
    """How long a sink may take for them when the program stops."""
    store_seconds: float = 3.0
    """How long one step of the store may take where it is a server (PostgreSQL). The journal has had the records since
    append_seconds; after this the connection is given up, so that a server that hangs holds nothing up for longer."""
    search_rows: int = 1000
    """Rows of one answer of the log."""
    span_days: int = 3660
    """Days of one chart: ten years."""
    search_words: int = 512
    """Words of one search of the messages, each of which is looked up by itself: as many as 1,024 characters hold."""
    read_seconds: float = 3.0
    """How long a question of a reader may take: what is not found by then is said to be unsearched."""
    judge_again_seconds: float = 15.0
    """For a recorded decision that a reader has judged again. Where the policies have changed since, those of then are
    compiled first, which takes two seconds."""
    judge_again_waiting: int = 4
    """Of these, how many there are at once; one after the other is judged, beside the decisions of the gate."""

    # -- what runs ---------------------------------------------------------------------------------------
    running_workloads: int = 20_000
    """Groups of equal pods that are judged again; the largest clusters have a few thousand workloads."""
    running_bytes: int = 64 * MIB
    """Their pods as JSON, one of each group, while a round lasts; one takes 2 to 5 KiB."""
    running_images: int = 64
    """Images whose facts are in memory in a round; those with long reports take some MiB each. Workloads with the same
    images are judged one after the other, so few are needed at a time."""
    recheck_seconds: float = 120.0
    """For one workload that is judged again: nobody waits for the answer, and layers may have to be read."""
    finding_bytes: int = 256 * KIB
    """What is kept of one of them when it was judged: a violation takes about 500 bytes. What is beyond is counted."""

    # -- readers of the audit log ------------------------------------------------------------------------
    page_requests: int = 16
    """Requests of readers answered at once; more get 503. They share the process with the webhook, which has 200."""
    page_stall_seconds: float = 30.0
    """How long a reader may take no piece of an answer: an export may take minutes, and holds one of these places."""
    form_bytes: int = 64 * KIB
    """A form that a reader sends; a token has 1 to 3 KiB."""
    page_readers: int = 1000
    """Readers whose tokens and namespaces are remembered; one with many namespaces takes 100 KiB."""
    reader_seconds: float = 60.0
    """How long it is believed which namespaces a reader may see."""
    token_review_seconds: float = 120.0
    """How long a reader's token is believed before the API server is asked again: so long a revoked one counts."""
    reader_review_seconds: float = 8.0
    """For all questions about one reader; the API server answers some thousand a second."""
    reviewed_namespaces: int = 5000
    """Namespaces that are asked about one by one, for a reader who may not see all."""
    login_failures: int = 10
    """Tokens that are none, a minute from one address."""
    login_failures_in_all: int = 120
    """And from all of them: each costs the API server a question."""
    login_seconds: float = 1.0
    """When a refused login is answered, whatever it took: its time tells nothing of the token."""

    # -- traces ------------------------------------------------------------------------------------------
    trace_spans: int = 500
    """Spans of one review: a pod of ten images with their attestations has about 150."""
    waiting_spans: int = 10_000
    """Spans that wait for the collector, about 10 MiB; what comes after is dropped and counted."""

    # -- facts that are kept -----------------------------------------------------------------------------
    stored_fact_bytes: int = 512 * MIB
    """Facts of layers and images in the audit store. A layer of 20,000 files takes about 400 KiB; one fact may take a
    quarter."""
    memory_fact_bytes: int = 64 * MIB
    """Those of them that are in memory too, and those that wait for the store."""
    fact_seconds: float = 2.0
    """How long the store may take to find a fact. After that the layer is read anew: a store that hangs must not hold
    up decisions."""

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
