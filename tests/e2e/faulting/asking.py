"""Requests to the API server of which the whole answer is kept: its code, its words, and the id in the audit log."""

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster.api import Api
from e2e.cluster.pki import PERSON
from e2e.cluster.programs import Cluster

WEBHOOK = "gate.portcullis.dev"
DENIED = f'admission webhook "{WEBHOOK}" denied the request: '
UNANSWERED = f'failed calling webhook "{WEBHOOK}"'

JSON_PATCH, MERGE, STRATEGIC, APPLY = "json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch"
"""Content types of patches, after ``application/``."""
_TYPES = {APPLY: "application/apply-patch+yaml"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``code`` 0: nothing did, and ``message`` says why; then ``audit_id`` is "" too."""

    code: int
    body: Mapping[str, Any] = field(default_factory=dict)
    audit_id: str = ""
    warnings: tuple[str, ...] = ()
    message: str = ""

    @property
    def admitted(self) -> bool:
        return 200 <= self.code < 300

    @property
    def denied(self) -> bool:
        """By the gate, whatever its reason was."""
        return self.message.startswith(DENIED)

    @property
    def unanswered(self) -> bool:
        """The API server had no answer of the gate."""
        return UNANSWERED in self.message


class Asker(Api):
    """An Api that raises for no answer. Each thread has a connection of its own, and no request is sent twice."""

    def ask(self, method: str, path: str, body: Any = None, kind: str = "") -> Answer:
        """One request; ``kind`` is one of the content types of patches."""
        connection = self._connection()
        content_type = _TYPES.get(kind, f"application/{kind}") if kind else "application/json"
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, path, data, {"Content-Type": content_type, "Accept": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answer(0, message=f"{type(error).__name__}: {error}")
        return _read(answer, content)


def asker(cluster: Cluster) -> Asker:
    """As the administrator."""
    return Asker(cluster.port, cluster.pki.ca, cluster.pki.client(PERSON, "system:masters"))


class Names:
    """Numbers for names that nobody had before."""

    def __init__(self) -> None:
        self._next = 0
        self._lock = threading.Lock()

    def take(self, stem: str) -> str:
        with self._lock:
            self._next += 1
            return f"{stem}-{self._next}"


def _read(answer: http.client.HTTPResponse, content: bytes) -> Answer:
    try:
        body = json.loads(content)
    except ValueError:
        body = {"message": content.decode(errors="replace")}
    return Answer(
        code=answer.status,
        body=body,
        audit_id=answer.getheader("Audit-Id") or "",
        warnings=tuple(answer.headers.get_all("Warning") or ()),
        message=str(body.get("message", "")) if answer.status >= 400 else "",
    )
