"""A Clock that a test moves."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass
class StandingClock:
    """Stands at ``seconds``, since 1970 and on the scale of deadlines alike."""

    seconds: float = 1_000_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds
