"""What of the standing policies is not as their author may think: shown and counted, and never a reason to stop."""

import structlog

from portcullis.errors import CompileProblem
from portcullis.policy.gatekeeper.coverage import uncovered
from portcullis.server.health import Check
from portcullis.server.live.policies import LivePolicies
from portcullis.server.registrar import Registrar
from portcullis.server.telemetry import Metrics

log = structlog.get_logger(__name__)


class Remarks:
    """Templates that are not supported, and constraints for kinds that the webhook configuration never sends."""

    def __init__(self, live: LivePolicies, registrar: Registrar) -> None:
        self._live = live
        self._registrar = registrar
        self._told: frozenset[CompileProblem] = frozenset()

    def now(self) -> tuple[CompileProblem, ...]:
        """All of them."""
        found = self._live.current.standing.compiled.remarks
        if self._registrar.rules is not None:
            found += uncovered(self._live.reloader.constraints, self._registrar.rules)
        return found

    def check(self) -> Check:
        """Shown, not decisive. Each is logged once, as soon as somebody asks whether the program is ready."""

        async def remarks() -> str:
            found = self.now()
            for remark in found:
                if remark not in self._told:
                    log.warning("policy remark", file=remark.file, row=remark.row, problem=remark.message)
            self._told = frozenset(found)
            return "; ".join(map(str, found))

        return Check("policy-remarks", remarks, decisive=False)

    def observe(self, metrics: Metrics) -> None:
        metrics.gauge("policy_remarks", "Policies that are not as their author may think.").set_function(
            lambda: float(len(self.now()))
        )
