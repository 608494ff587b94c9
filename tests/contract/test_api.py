"""The JSON API keeps to its OpenAPI document, whatever it is asked: over a real store, guarded as it is served.

Examples are generated from the document, valid ones and others, the same ones in every run.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks as specified

from fakes.auditlog import SCENES, seed
from fakes.review import guarded, review_parts
from fakes.running import a_moved_tag, a_result, a_whole_round
from portcullis.audit.findings import SqlFindings
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.model.ruling import CompiledBundle, Mode, PolicyInfo
from portcullis.model.running import Condition
from portcullis.server.clock import SystemClock
from portcullis.server.review.app import create_review_app
from portcullis.standing import Standing

EXAMPLES = 8
"""Of each operation, beside those at the bounds of each parameter."""
CHECKS = [
    checks.not_a_server_error,
    specified.status_code_conformance,
    specified.content_type_conformance,
    specified.response_headers_conformance,
    specified.response_schema_conformance,
    specified.negative_data_rejection,
]
POLICY = PolicyInfo("image-user", "Images run as a user", "", "high", Mode.DENY, "", frozenset(), (Mode.DENY,))
HOST = "127.0.0.1:8082"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The application over a store with some days of decisions."""
    folder: Path = tmp_path_factory.mktemp("log")
    url = f"sqlite:///{folder}/audit.db"

    async def filled() -> None:
        kept = SqlRecords(url=url)
        await kept.start()
        await seed(kept)
        await a_whole_round(
            SqlFindings(records=kept), [a_result(), a_result("web", Condition.FAILING, moved=[a_moved_tag()])]
        )
        await kept.aclose()

    asyncio.run(filled())
    kept = SqlRecords(url=url, read_only=True)
    asyncio.run(kept.start())
    parts = review_parts(
        SqlLedger(records=kept),
        clock=SystemClock(),
        current=lambda: Standing(CompiledBundle("sha256:now", (POLICY,))),
    )
    app = guarded(create_review_app(parts))

    async def by_its_name(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            others = [pair for pair in scope["headers"] if pair[0] != b"host"]
            scope = {**scope, "headers": [*others, (b"host", HOST.encode())], "state": {}}
            await app(scope, receive, send)

    yield by_its_name
    asyncio.run(kept.aclose())


OPERATIONS = (
    "listDecisions", "getDecision", "getPrevious", "listImages", "getImage", "listPolicies", "getPolicy", "getOverview",
    "listRunning", "getRunning",
)  # fmt: skip


SCENE = next(record for record in SCENES.values() if record.decision.images and record.name)
KNOWN = {
    "getDecision": {"id": SCENE.decision.id},
    "getPrevious": {"id": [one for one in SCENES.values() if one.name == SCENE.name][-1].decision.id},
    "getImage": {"digest": SCENE.decision.images[0].digest},
    "getPolicy": {"name": "image-user"},
    "getRunning": {"namespace": "shop", "kind": "Deployment", "name": "web"},
}


@pytest.fixture(scope="module")
def document(served: Any) -> Any:
    found = schemathesis.openapi.from_asgi("/api/v1/openapi.json", served, config=SchemathesisConfig())
    assert {operation.ok().definition.raw["operationId"] for operation in found.get_all_operations()} == set(OPERATIONS)
    return found


def asked(document: Any, name: str, mode: schemathesis.GenerationMode, known: Mapping[str, str]) -> set[int]:
    """The statuses of all answers. Each question is asked as it was generated, and of the ``known`` thing."""
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=document.find_operation_by_id(name).as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        for parameters in (case.path_parameters, {**case.path_parameters, **known} if known else None):
            if parameters is not None:
                case.path_parameters = parameters
                response = case.call()
                statuses.add(response.status_code)
                case.validate_response(response, checks=CHECKS)

    ask()
    return statuses


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_question_is_answered_otherwise_than_the_document_says(document: Any, name: str) -> None:
    known = KNOWN.get(name, {})
    right = asked(document, name, schemathesis.GenerationMode.POSITIVE, known)
    assert 200 in right
    assert right <= {200, 404, 422}
    if name not in ("getImage", "getRunning"):  # which take nothing that could be wrong
        wrong = asked(document, name, schemathesis.GenerationMode.NEGATIVE, known)
        assert 422 in wrong
        assert wrong <= {200, 404, 422}
