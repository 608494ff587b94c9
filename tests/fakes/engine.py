"""An Engine in the test's hands."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from portcullis.model.json import JSONObject
from portcullis.model.ruling import CompiledBundle, PolicyBundle, PolicyFailure, RuleHit, Ruling


@dataclass
class ScriptedEngine:
    """Answers with what the test says, and keeps what it was asked."""

    hits: Sequence[RuleHit] = ()
    failed: Sequence[PolicyFailure] = ()
    error: Exception | None = None
    silent: frozenset[str] = frozenset()
    asked: list[list[str]] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    parameters: list[dict[str, JSONObject]] = field(default_factory=list)

    async def compile(self, bundle: PolicyBundle) -> CompiledBundle:
        raise NotImplementedError

    def hold(self, compiled: CompiledBundle) -> AbstractContextManager[None]:
        return nullcontext()

    async def evaluate(
        self,
        compiled: CompiledBundle,
        policies: Sequence[str],
        document: bytes,
        deadline: float,
        parameters: Mapping[str, JSONObject] = MappingProxyType({}),
    ) -> Ruling:
        self.parameters.append(dict(parameters))
        self.asked.append(list(policies))
        self.documents.append(msgspec.json.decode(document))
        if self.error is not None:
            raise self.error
        failed = tuple(failure for failure in self.failed if failure.policy in policies)
        judged = frozenset(policies) - {failure.policy for failure in failed} - self.silent
        return Ruling(judged=judged, hits=tuple(hit for hit in self.hits if hit.policy in judged), failed=failed)
