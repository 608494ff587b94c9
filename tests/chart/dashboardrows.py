"""What the dashboard of Grafana shows, row by row. ``$job`` stands for the replicas that the reader has chosen."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Panel:
    """``queries`` are pairs of a question and how its series are called. ``kind`` is timeseries or stat."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    text: str = ""
    kind: str = "timeseries"
    stacked: bool = False
    limit: float | None = None
    """From where on the figure is red."""


def rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{$job{more}}}[$__rate_interval]))"


def quantile(part: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({part}, sum by ({labels}) (rate({metric}_bucket{{$job}}[$__rate_interval])))"


def share(verdict: str) -> str:
    """The part of the decisions that had this verdict."""
    every = "sum(rate(portcullis_decisions_total{$job%s}[$__rate_interval]))"
    some = every % f',verdict="{verdict}"'
    return f"{some} / {every % ''}"


def hits(found: str, missed: str, by: str = "") -> str:
    """The part of questions that needed no work."""
    grouping = f" by ({by})" if by else ""
    first, second = (f"sum{grouping} (rate({name}{{$job}}[$__rate_interval]))" for name in (found, missed))
    return f"{first} / ({first} + {second})"


ROWS: Sequence[tuple[str, Sequence[Panel]]] = (
    (
        "Now",
        (
            Panel("Replicas", "short", [("sum(up{$job})", "")], "That answer Prometheus.", "stat"),
            Panel(
                "Reviews", "reqps", [("sum(rate(portcullis_decisions_total{$job}[$__rate_interval]))", "")], "", "stat"
            ),
            Panel(
                "Refused",
                "percentunit",
                [(share("refused"), "")],
                "By a policy.",
                "stat",
            ),
            Panel(
                "Undecided",
                "percentunit",
                [(share("undecided"), "")],
                "Refused because facts could not be had, or are still being looked for.",
                "stat",
                limit=0.05,
            ),
            Panel("OPA", "bool_yes_no", [("min(portcullis_opa_up{$job})", "")], "Whether all of them answer.", "stat"),
            Panel(
                "Certificate ends in",
                "s",
                [("min(portcullis_certificate_not_after_seconds{$job}) - time()", "")],
                "The first of the replicas.",
                "stat",
            ),
            Panel("Audit lag", "s", [("max(portcullis_audit_lag_seconds{$job})", "")], "", "stat", limit=300),
            Panel(
                "Policies since",
                "s",
                [("time() - max(portcullis_policies_since_seconds{$job})", "")],
                "Their age.",
                "stat",
            ),
        ),
    ),
    (
        "Decisions",
        (
            Panel(
                "By verdict and code",
                "reqps",
                [(rate("portcullis_decisions_total", "verdict, code"), "{{verdict}} {{code}}")],
                "403: a policy refuses. 503: facts could not be had. 429: still inspecting.",
                stacked=True,
            ),
            Panel(
                "Why they are as they are",
                "reqps",
                [(rate("portcullis_decisions_total", "because"), "{{because}}")],
                stacked=True,
            ),
            Panel(
                "Violations",
                "reqps",
                [(rate("portcullis_violations_total", "policy, mode"), "{{policy}} ({{mode}})")],
                "By policy and its mode.",
            ),
            Panel(
                "Policies that were not evaluated",
                "reqps",
                [(rate("portcullis_undecided_total", "policy, reason"), "{{policy}}: {{reason}}")],
            ),
            Panel(
                "Facts that could not be had",
                "reqps",
                [(rate("portcullis_problems_total", "stage, reason"), "{{stage}}: {{reason}}")],
                "docs/reasons.md has the codes.",
            ),
            Panel(
                "Let through by an exception",
                "reqps",
                [(rate("portcullis_violations_excepted_total", "policy, exception"), "{{policy}} by {{exception}}")],
            ),
            Panel(
                "Callers",
                "reqps",
                [(rate("portcullis_reviews_total", "caller"), "{{caller}}")],
                "The API server comes by certificate or path.",
            ),
            Panel(
                "Answers on the webhook's port",
                "reqps",
                [
                    (rate("portcullis_http_answers_total", "status"), "HTTP {{status}}"),
                    ("sum(rate(portcullis_reviews_shed_total{$job}[$__rate_interval]))", "shed"),
                ],
            ),
        ),
    ),
    (
        "Time",
        (
            Panel(
                "Of a review",
                "s",
                [
                    (quantile(0.5, "portcullis_review_seconds"), "half"),
                    (quantile(0.95, "portcullis_review_seconds"), "95 %"),
                    (quantile(0.99, "portcullis_review_seconds"), "99 %"),
                ],
            ),
            Panel(
                "Part of the API server's time",
                "percentunit",
                [(quantile(0.99, "portcullis_review_time_share"), "99 %")],
                "At about 90 % the gate answers with what it has.",
                limit=0.75,
            ),
            Panel(
                "Stages, 95 %",
                "s",
                [(quantile(0.95, "portcullis_stage_seconds", "stage"), "{{stage}}")],
                "Of a review.",
            ),
            Panel(
                "Steps with an image, 95 %",
                "s",
                [(quantile(0.95, "portcullis_image_step_seconds", "step"), "{{step}}")],
                "What it is, what was signed about it, what is in its layers.",
            ),
            Panel("In flight", "short", [("sum by (instance) (portcullis_reviews_in_flight{$job})", "{{instance}}")]),
        ),
    ),
    (
        "Registries",
        (
            Panel(
                "Requests",
                "reqps",
                [(rate("portcullis_registry_requests_total", "host, outcome"), "{{host}}: {{outcome}}")],
                "Hosts that the configuration does not name are `other`.",
            ),
            Panel(
                "Until an answer begins, 95 %",
                "s",
                [(quantile(0.95, "portcullis_registry_request_seconds", "host"), "{{host}}")],
            ),
            Panel(
                "Found in memory",
                "percentunit",
                [
                    (
                        hits("portcullis_registry_cache_hits_total", "portcullis_registry_cache_misses_total", "cache"),
                        "{{cache}}",
                    ),
                    (
                        hits(
                            "portcullis_attestation_verdicts_hits_total", "portcullis_attestation_verdicts_misses_total"
                        ),
                        "verdicts",
                    ),
                    (
                        hits("portcullis_facts_hits_total", "portcullis_facts_misses_total", "place"),
                        "facts of layers ({{place}})",
                    ),
                ],
                "Tags, manifests, lists of attestations, verdicts on them, what was found in layers.",
            ),
            Panel(
                "Fetches",
                "reqps",
                [
                    ("sum(rate(portcullis_registry_fetches_started_total{$job}[$__rate_interval]))", "begun"),
                    ("sum(rate(portcullis_registry_fetches_joined_total{$job}[$__rate_interval]))", "shared"),
                    ("sum(rate(portcullis_registry_fetches_failed_total{$job}[$__rate_interval]))", "failed"),
                    ("sum(rate(portcullis_registry_fetches_refused_total{$job}[$__rate_interval]))", "refused"),
                ],
            ),
            Panel("Stale facts in use", "reqps", [(rate("portcullis_registry_stale_total", "fact"), "{{fact}}")]),
            Panel(
                "Layers",
                "binBps",
                [("sum(rate(portcullis_inspection_bytes_total{$job}[$__rate_interval]))", "read")],
                "What is read of images that were not seen before.",
            ),
            Panel(
                "Images under inspection",
                "short",
                [
                    ("sum(portcullis_inspections{$job})", "images"),
                    ("sum(portcullis_inspection_waiting_layers{$job})", "layers that wait"),
                ],
            ),
        ),
    ),
    (
        "Policies",
        (
            Panel(
                "Evaluations by OPA",
                "reqps",
                [(rate("portcullis_opa_evaluations_total", "outcome"), "{{outcome}}")],
            ),
            Panel(
                "Time of an evaluation",
                "s",
                [
                    (quantile(0.5, "portcullis_opa_evaluation_seconds"), "half"),
                    (quantile(0.99, "portcullis_opa_evaluation_seconds"), "99 %"),
                ],
            ),
            Panel("Wait for OPA", "short", [("sum by (instance) (portcullis_opa_waiting{$job})", "{{instance}}")]),
            Panel("Starts of OPA after its first", "short", [("portcullis_opa_restarts{$job}", "{{instance}}")]),
            Panel(
                "Sets of policies",
                "short",
                [
                    ("sum(increase(portcullis_policy_reloads_total{$job}[$__rate_interval]))", "taken up"),
                    ("sum(increase(portcullis_policy_reload_failures_total{$job}[$__rate_interval]))", "not usable"),
                ],
            ),
            Panel(
                "Revision in use",
                "short",
                [("count by (revision) (portcullis_policy_info{$job})", "{{revision}}")],
                "More than one for long: replicas that do not judge alike.",
            ),
        ),
    ),
    (
        "Audit log",
        (
            Panel(
                "Records",
                "reqps",
                [
                    ("sum(rate(portcullis_audit_committed_total{$job}[$__rate_interval]))", "in the store"),
                    ("sum(rate(portcullis_audit_journaled_total{$job}[$__rate_interval]))", "in the journal"),
                    ("sum(rate(portcullis_audit_failed_total{$job}[$__rate_interval]))", "kept nowhere"),
                    ("sum(rate(portcullis_audit_sink_dropped_total{$job}[$__rate_interval]))", "lost by a sink"),
                ],
            ),
            Panel(
                "Age of the oldest record that the store does not have",
                "s",
                [("portcullis_audit_lag_seconds{$job}", "{{instance}}")],
                limit=300,
            ),
            Panel(
                "Waiting",
                "short",
                [
                    ("sum(portcullis_audit_queued_records{$job})", "for a commit"),
                    ("sum(portcullis_audit_journal_records{$job})", "in journals"),
                ],
            ),
            Panel(
                "Records without a checkpoint",
                "short",
                [
                    (
                        "portcullis_audit_chain_position{$job} - portcullis_audit_checkpoint_position{$job}",
                        "{{instance}}",
                    )
                ],
            ),
            Panel(
                "Answers to readers",
                "reqps",
                [(rate("portcullis_page_answers_total", "area, status"), "{{area}} {{status}}")],
            ),
        ),
    ),
    (
        "Cluster",
        (
            Panel(
                "Since the API server was last heard of",
                "s",
                [("max by (resource) (portcullis_watch_silent_seconds{$job})", "{{resource}}")],
                limit=180,
            ),
            Panel(
                "Watched",
                "short",
                [("max by (resource) (portcullis_watch_objects{$job})", "{{resource}}")],
                "Objects in memory.",
            ),
            Panel("Registered", "bool_yes_no", [("portcullis_registered{$job}", "{{instance}}")]),
            Panel(
                "Age of trusted roots",
                "s",
                [("max by (root) (portcullis_trusted_root_age_seconds{$job})", "{{root}}")],
            ),
            Panel(
                "Exceptions end in",
                "s",
                [("min by (exception) (portcullis_exception_expires_seconds{$job}) - time()", "{{exception}}")],
            ),
        ),
    ),
    (
        "What runs",
        (
            Panel(
                "Workloads",
                "short",
                [("sum by (condition) (portcullis_recheck_workloads{$job})", "{{condition}}")],
                "As they stood in the newest round.",
                stacked=True,
            ),
            Panel(
                "Age of the newest whole round",
                "s",
                [
                    ("time() - max(portcullis_recheck_ended_seconds{$job})", "age"),
                    ("max(portcullis_recheck_interval_seconds{$job})", "from round to round"),
                ],
                "It should stay below twice the interval.",
            ),
            Panel(
                "The newest round",
                "short",
                [("sum by (of) (portcullis_recheck_round{$job})", "{{of}}")],
                "Registry requests are those of the round alone.",
            ),
            Panel("A round takes", "s", [("max(portcullis_recheck_round_seconds{$job})", "round")]),
            Panel(
                "Rounds and what went wrong",
                "short",
                [
                    (
                        "sum by (outcome) (increase(portcullis_recheck_rounds_total{$job}[$__rate_interval]))",
                        "rounds {{outcome}}",
                    ),
                    ("sum by (part) (increase(portcullis_recheck_faults_total{$job}[$__rate_interval]))", "{{part}}"),
                ],
            ),
            Panel(
                "Reports in the cluster",
                "short",
                [
                    ("sum(increase(portcullis_reports_written_total{$job}[$__rate_interval]))", "written"),
                    ("sum(increase(portcullis_reports_unchanged_total{$job}[$__rate_interval]))", "the same"),
                    ("sum(increase(portcullis_reports_deleted_total{$job}[$__rate_interval]))", "deleted"),
                    ("sum(portcullis_report_results_left_out{$job})", "results without room"),
                ],
            ),
            Panel(
                "Left to admissions",
                "percentunit",
                [("sum(rate(portcullis_recheck_courtesy_seconds_total{$job}[$__rate_interval]))", "of the time")],
                "Judging again waits while reviews are in flight.",
            ),
        ),
    ),
    (
        "Break-glass",
        (
            Panel(
                "Grants",
                "short",
                [
                    ("max(portcullis_grants_in_force{$job})", "in force"),
                    ("max(portcullis_grants_invalid{$job})", "that grant nothing"),
                ],
            ),
            Panel(
                "Admitted by a grant",
                "reqps",
                [('sum(rate(portcullis_decisions_total{$job,because="break-glass"}[$__rate_interval]))', "decisions")],
            ),
            Panel(
                "Violations that grants cover",
                "reqps",
                [(rate("portcullis_violations_excepted_total", "policy", ',exception="break-glass"'), "{{policy}}")],
            ),
            Panel(
                "Let in by a grant, and still there",
                "short",
                [('sum(portcullis_recheck_workloads{$job,condition="break-glass"})', "workloads")],
            ),
        ),
    ),
)
