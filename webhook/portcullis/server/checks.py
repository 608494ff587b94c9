"""What the health port says of the running parts."""

import math
from collections.abc import Callable, Collection

from portcullis.audit.writer import AuditLog
from portcullis.ports import Clock
from portcullis.server.auditkeeping import observe_keeping
from portcullis.server.caching import observe_facts, observe_registry_cache, observe_traffic
from portcullis.server.circles import Circles, Reach
from portcullis.server.compose import Parts
from portcullis.server.covering import Coverage
from portcullis.server.engines import observe_engine
from portcullis.server.following import Follower
from portcullis.server.health import Check
from portcullis.server.inspecting import observe_inspection
from portcullis.server.live.remarks import Remarks
from portcullis.server.registrar import Registrar
from portcullis.server.telemetry import Metrics
from portcullis.server.tls import ServerTls
from portcullis.server.trusting import observe_roots, observe_verdicts, roots_check
from portcullis.server.validate import ReviewHandler


def checks(parts: Parts, tls: ServerTls, reviews: ReviewHandler, registrar: Registrar) -> list[Check]:
    """Decisive: what this replica needs for itself. The audit log and the newest certificate files are shown."""
    registration = (
        [registration_check(registrar, tls, parts.clock), circles(parts, registrar).check()] if registrar.active else []
    )
    pinning = [pinning_check(registrar.pinning, tls, parts.clock)] if registrar.pinning.active else []

    async def serving() -> str:
        if not reviews.listening:
            return "the webhook's port is not open yet"
        return "the program is stopping" if reviews.draining else ""

    async def certificate() -> str:
        now, state = parts.clock.now(), tls.state
        if state.missing:
            return state.problem
        if now < state.not_before:
            return f"the certificate holds only from {state.not_before.isoformat()}"
        return "" if now < state.not_after else f"the certificate expired at {state.not_after.isoformat()}"

    async def certificate_files() -> str:
        return tls.state.problem

    async def policies() -> str:
        return "" if parts.compiled.revision else "no policy set is loaded"

    async def opa() -> str:
        if problem := parts.supervisor.problem:
            return problem
        return "" if parts.supervisor.revision == parts.compiled.revision else "OPA serves another policy set"

    def no_problem_is_covered() -> bool:
        """A replica without OPA can let nothing pass, so nobody should ask it. Where a grant covers what cannot be
        evaluated it can, and were no replica ready, nobody would be asked."""
        return not any(grant.covers_problems for grant in parts.watched.grants_now())

    async def audit() -> str:
        assert parts.records is not None
        return parts.records.problem or (parts.keeper.problem if parts.keeper is not None else "")

    return [
        Check("serving", serving),
        Check("certificate", certificate, remark=lambda: _dates(tls, registrar)),
        Check("certificate-files", certificate_files, decisive=False),
        Check("policies", policies, remark=lambda: f"{len(parts.compiled.policies)}, {parts.compiled.revision}"),
        Check("opa", opa, needed=no_problem_is_covered),
        Remarks(parts.live, registrar).check(),
        *([parts.live.check()] if parts.live.sources.any else []),
        *([watching] if (watching := parts.watched.check()) is not None else []),
        *([grants] if (grants := parts.watched.grants_check()) is not None else []),
        roots_check(parts.trusting, parts.clock),
        *registration,
        *pinning,
        Check("audit", audit, decisive=False),
    ]


def registration_check(registrar: Registrar, tls: ServerTls, clock: Clock) -> Check:
    """Whether the API server trusts this replica, by what it was told last."""
    coverage = Coverage(tls.context)

    async def registration() -> str:
        found = registrar.found
        if registrar.problem or found is None or tls.state.missing:
            return registrar.problem
        # Once a minute in any case: certificates end.
        minute = int(clock.now().timestamp() // 60)
        return coverage.look((tls.served, minute), found.ca_bundles, found.hosts)

    return Check("webhook-configuration", registration, remark=lambda: registrar.remark)


def pinning_check(pinning: Follower, tls: ServerTls, clock: Clock) -> Check:
    """Whether the API server has tags pinned by this replica. Nothing hangs on it: without it they stay tags."""
    unpinned = pinning_problem(pinning, tls, clock)

    async def registered() -> str:
        return unpinned()

    return Check("mutating-webhook-configuration", registered, decisive=False)


def pinning_problem(pinning: Follower, tls: ServerTls, clock: Clock) -> Callable[[], str]:
    """Says why the API server does not have tags pinned by this replica, "" if it does."""
    coverage = Coverage(tls.context)

    def problem() -> str:
        found = pinning.found
        if pinning.problem or found is None or tls.state.missing:
            return pinning.problem
        minute = int(clock.now().timestamp() // 60)
        return coverage.look((tls.served, minute), found.ca_bundles, found.hosts)

    return problem


def _dates(tls: ServerTls, registrar: Registrar) -> str:
    """Until when the certificate holds, and its CA where that is made here."""
    authorities = registrar.authorities_until
    until = f"until {tls.state.not_after.isoformat()}"
    return f"{until}, its CA until {authorities.isoformat()}" if authorities is not None else until


def circles(parts: Parts, registrar: Registrar) -> Circles:
    """What the gate needs and would keep from starting, by the webhook configuration as it was read last."""

    def reaches() -> Collection[Reach]:
        return registrar.found.reaches.values() if registrar.found is not None else ()

    return Circles(parts.settings, reaches)


def observe(parts: Parts, tls: ServerTls, registrar: Registrar, metrics: Metrics) -> None:
    """Binds gauges to the parts; they are read when Prometheus asks."""

    def not_after() -> float:  # asks for the state each time, since a new certificate is a new state
        return tls.state.not_after.timestamp()

    metrics.gauge("certificate_not_after_seconds", "When the served certificate expires (Unix time).").set_function(
        not_after
    )
    if registrar.certifies:
        metrics.gauge(
            "certificate_authority_not_after_seconds", "When the CA of the served certificate expires (Unix time)."
        ).set_function(lambda: until.timestamp() if (until := registrar.authorities_until) is not None else math.nan)
        metrics.gauge("certificate_authorities", "CAs that clients are told to trust.").set_function(
            lambda: float(registrar.authorities)
        )
    metrics.gauge("opa_up", "Whether OPA can be asked.").set_function(lambda: float(parts.supervisor.healthy))
    metrics.gauge("opa_restarts", "Starts of the serving OPA after its first.").set_function(
        lambda: float(parts.supervisor.restarts)
    )
    metrics.gauge("policies", "Policies in use.").set_function(lambda: float(len(parts.compiled.policies)))
    metrics.gauge_by(
        "exception_expires_seconds",
        "When an exception ends (Unix time).",
        "exception",
        lambda: {one.id: one.expires.timestamp() for one in parts.current.standing.exceptions.all},
    )
    parts.live.observe(metrics)
    Remarks(parts.live, registrar).observe(metrics)
    parts.watched.observe(metrics)
    if registrar.active:
        circles(parts, registrar).observe(metrics)
        metrics.gauge("registered", "Whether the cluster calls this gate and trusts its certificate.").set_function(
            lambda: float(registrar.registered)
        )
    if registrar.pinning.active:
        unpinned = pinning_problem(registrar.pinning, tls, parts.clock)
        metrics.gauge("mutation_registered", "Whether the cluster has tags pinned by this gate.").set_function(
            lambda: float(not unpinned())
        )
    observe_engine(parts.engine, metrics)
    metrics.time_by("image_step_seconds", "Of the steps with one image.", "step", lambda: parts.gate.seconds)
    observe_traffic(parts.traffic, metrics)
    observe_registry_cache(parts.registry, metrics)
    observe_facts(parts.kept, metrics)
    observe_roots(parts.trusting, parts.clock, metrics)
    observe_verdicts(parts.gatherer, metrics)
    remembering = parts.kept.remembering
    if remembering is not None:
        metrics.count_function(
            "scan_marks_failed", "Times of seen scans that could not be written.", lambda: remembering.failed
        )
    if parts.inspector is not None:
        observe_inspection(parts.inspector, metrics)
    if parts.records is not None:
        _observe_audit(parts.records, metrics)
    if parts.keeper is not None:
        observe_keeping(parts.keeper, metrics)


def _observe_audit(audit: AuditLog, metrics: Metrics) -> None:
    counted = {
        "committed": "Records that the store has.",
        "commits": "Transactions of the store.",
        "journaled": "Records that went to the journal.",
        "replayed": "Records that went from the journal to the store.",
        "failed": "Records that could be kept nowhere.",
        "late": "Commits that came after their records were journaled.",
        "set_aside": "Records that the store refused for good.",
        "outages": "Outages of the store.",
    }
    metrics.count_fields("audit", counted, lambda: audit.counters)
    metrics.gauge("audit_queued_records", "Records that wait for their commit.").set_function(
        lambda: float(audit.queued)
    )
    metrics.gauge("audit_lag_seconds", "Age of the oldest record that the store does not have.").set_function(
        lambda: audit.lag_seconds
    )
    metrics.gauge("audit_journal_records", "Records in the journal.").set_function(lambda: float(audit.journal_records))
    metrics.gauge("audit_journal_bytes", "Bytes of the journal.").set_function(lambda: float(audit.journal_bytes))
