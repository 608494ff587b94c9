"""What a gate says that is well, and what it says where each of the alerts should come: series in the notation of
promtool, without the ``x`` and number behind the last word."""

HOURS = 2
HEALTHY = {
    'up{job="portcullis",instance="a"}': "1",
    'up{job="portcullis",instance="b"}': "1",
    'portcullis_http_answers_total{instance="a",status="200"}': "0+600",
    'portcullis_http_answers_total{instance="a",status="503"}': "0",
    'portcullis_decisions_total{instance="a",verdict="admitted",code="200",because="judged"}': "0+500",
    'portcullis_decisions_total{instance="a",verdict="admitted",code="200",because="break-glass"}': "0",
    'portcullis_decisions_total{instance="a",verdict="refused",code="403",because="judged"}': "0+60",
    'portcullis_decisions_total{instance="a",verdict="undecided",code="429",because="judged"}': "0+35",
    'portcullis_decisions_total{instance="a",verdict="undecided",code="503",because="judged"}': "0+5",
    'portcullis_review_time_share_bucket{instance="a",le="0.75"}': "0+597",
    'portcullis_review_time_share_count{instance="a"}': "0+600",
    'portcullis_opa_up{instance="a"}': "1",
    'portcullis_opa_restarts{instance="a"}': "0x100 1",
    'portcullis_certificate_not_after_seconds{instance="a"}': str(60 * 86400),
    'portcullis_registered{instance="a"}': "1",
    'portcullis_mutation_registered{instance="a"}': "1",
    'portcullis_policy_last_reload_success{instance="a"}': "1",
    'portcullis_trusted_root_current{instance="a",root="public"}': "1",
    'portcullis_audit_lag_seconds{instance="a"}': "0.2",
    'portcullis_audit_failed_total{instance="a"}': "3",
    'portcullis_audit_set_aside_total{instance="a"}': "0",
    'portcullis_audit_sink_dropped_total{instance="a",sink="otlp"}': "7",
    'portcullis_audit_chain_position{instance="a"}': "0+10",
    'portcullis_audit_checkpoint_position{instance="a"}': "0+9",
    'portcullis_audit_checkpoint_seconds{instance="a"}': "0+60",
    'portcullis_audit_chains_left_total{instance="a"}': "0",
    'portcullis_watch_silent_seconds{instance="a",resource="namespaces"}': "40",
    'portcullis_circles{instance="a"}': "0",
    'portcullis_reviews_total{instance="a",caller="path",verdict="admitted"}': "0+600",
    'portcullis_reviews_total{instance="a",caller="unverified",verdict="admitted"}': "4",
    'portcullis_exception_expires_seconds{instance="a",exception="EX-1"}': str(90 * 86400),
    'portcullis_exception_expires_seconds{instance="a",exception="EX-over"}': "0",
    'portcullis_registry_requests_total{instance="a",host="docker.io",outcome="ok"}': "0+100",
    'portcullis_registry_requests_total{instance="a",host="docker.io",outcome="throttled"}': "0+1",
    'portcullis_recheck_workloads{instance="a",condition="failing"}': "0",
    'portcullis_recheck_workloads{instance="a",condition="unknown"}': "4",
    'portcullis_recheck_workloads{instance="a",condition="break-glass"}': "0",
    'portcullis_recheck_workloads{instance="a",condition="good"}': "96",
    'portcullis_recheck_round{instance="a",of="moved-tags"}': "0",
    'portcullis_recheck_round{instance="a",of="workloads"}': "100",
    'portcullis_recheck_ended_seconds{instance="a"}': "0x59 3600x59 7200",
    'portcullis_recheck_ended_seconds{instance="b"}': "0",
    'portcullis_recheck_interval_seconds{instance="a"}': "900",
    'portcullis_recheck_interval_seconds{instance="b"}': "900",
    'portcullis_page_answers_total{instance="a",area="login",status="401"}': "0+2",
    'portcullis_page_answers_total{instance="a",area="pages",status="401"}': "0+600",
}
"""What a gate says that is well, and busy: by series, what it is at the start and what is added each minute."""


def healthy(**changed: str) -> dict[str, str]:
    """The same but for the series whose text begins so."""
    found = dict(HEALTHY)
    for name, values in changed.items():
        hit = [series for series in found if series.startswith(f"portcullis_{name}")]
        assert hit, name
        found.update(dict.fromkeys(hit, values))
    return found


def labelled(series: str, values: str) -> dict[str, str]:
    assert series in HEALTHY
    return {**HEALTHY, series: values}


SICK: dict[str, dict[str, str]] = {
    "PortcullisDown": {**HEALTHY, 'up{job="portcullis",instance="a"}': "0", 'up{job="portcullis",instance="b"}': "_"},
    "PortcullisAnswersFailing": labelled('portcullis_http_answers_total{instance="a",status="503"}', "0+12"),
    "PortcullisUndecided": labelled(
        'portcullis_decisions_total{instance="a",verdict="undecided",code="503",because="judged"}', "0+60"
    ),
    "PortcullisSlow": healthy(review_time_share_bucket="0+540"),
    "PortcullisOpaDown": healthy(opa_up="0"),
    "PortcullisOpaRestarting": healthy(opa_restarts="0x90 1x6 2x6 3x6 4"),
    "PortcullisCertificateExpiring": healthy(certificate_not_after_seconds=str(6 * 86400)),
    "PortcullisNotRegistered": healthy(registered="0"),
    "PortcullisNotPinning": healthy(mutation_registered="0"),
    "PortcullisPoliciesBroken": healthy(policy_last_reload_success="0"),
    "PortcullisTrustedRootOutdated": healthy(trusted_root_current="0"),
    "PortcullisAuditBehind": healthy(audit_lag_seconds="0+60"),
    "PortcullisAuditFailing": healthy(audit_failed_total="3x110 4"),
    "PortcullisAuditSinkDropping": healthy(audit_sink_dropped_total="0+1"),
    "PortcullisAuditUnproven": healthy(audit_checkpoint_position="5", audit_checkpoint_seconds="300"),
    "PortcullisAuditForeign": healthy(audit_chains_left_total="0x100 1"),
    "PortcullisWatchSilent": healthy(watch_silent_seconds="0+60"),
    "PortcullisCircle": healthy(circles="1"),
    "PortcullisStrangers": labelled(
        'portcullis_reviews_total{instance="a",caller="unverified",verdict="admitted"}', "0+2"
    ),
    "PortcullisExceptionEnding": labelled(
        'portcullis_exception_expires_seconds{instance="a",exception="EX-1"}', str(3 * 86400)
    ),
    "PortcullisRegistryThrottled": labelled(
        'portcullis_registry_requests_total{instance="a",host="docker.io",outcome="throttled"}', "0+20"
    ),
    "PortcullisBreakGlass": labelled('portcullis_recheck_workloads{instance="a",condition="break-glass"}', "1"),
    "PortcullisTagMoved": labelled('portcullis_recheck_round{instance="a",of="moved-tags"}', "1"),
    "PortcullisWorkloadsFailing": labelled('portcullis_recheck_workloads{instance="a",condition="failing"}', "1"),
    "PortcullisWorkloadsUnknown": labelled('portcullis_recheck_workloads{instance="a",condition="unknown"}', "8"),
    "PortcullisRecheckStale": labelled('portcullis_recheck_ended_seconds{instance="a"}', "0"),
    "PortcullisLoginsFailing": labelled(
        'portcullis_page_answers_total{instance="a",area="login",status="401"}', "0+20"
    ),
}
"""What each alert is for, one at a time."""
ALSO_SICK: dict[str, tuple[str, dict[str, str]]] = {
    "break-glass that no round has seen yet": (
        "PortcullisBreakGlass",
        labelled(
            'portcullis_decisions_total{instance="a",verdict="admitted",code="200",because="break-glass"}', "0x115 1"
        ),
    ),
}
"""Another reason for an alert."""
UNTOLD_APART = {
    series: values
    for series, values in labelled(
        'portcullis_reviews_total{instance="a",caller="unverified",verdict="admitted"}', "0+600"
    ).items()
    if 'caller="path"' not in series
}
"""A gate that has no means to know the API server: all its callers are unverified."""
