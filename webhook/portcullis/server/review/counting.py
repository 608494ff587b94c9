"""What readers of the audit pages ask for, and how they are answered, in words of ours."""

from collections import Counter
from collections.abc import MutableMapping
from typing import Any, Final

from portcullis.server.http import Send
from portcullis.server.review.accesslogin import LOGIN, LOGOUT
from portcullis.server.review.headers import STATIC
from portcullis.server.telemetry import Metrics

_AREAS: Final = (("/api/", "api"), (STATIC, "static"))
_STATUSES: Final = frozenset({200, 303, 304, 400, 401, 403, 404, 405, 413, 429, 500, 503})
"""Those that are told apart; of others the class, as in ``4xx``."""


class PageAnswers:
    """Answers by area of the pages and by status."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def counted(self, send: Send, path: str) -> Send:
        """``send`` that counts the answer to a request for ``path``."""
        area = area_of(path)

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.counts[area, _word(message["status"])] += 1
            await send(message)

        return sending

    def observe(self, metrics: Metrics) -> None:
        metrics.count_each(
            "page_answers", "Answers of the audit pages to readers.", ("area", "status"), lambda: self.counts
        )


def area_of(path: str) -> str:
    """``login`` (in and out), ``api``, ``static``, or ``pages`` for all else."""
    if path in (LOGIN, LOGOUT):
        return "login"
    return next((area for prefix, area in _AREAS if path.startswith(prefix)), "pages")


def _word(status: int) -> str:
    return str(status) if status in _STATUSES else f"{status // 100}xx"
