"""POST /validate-policies: a ConfigMap with policies is refused when it is applied, if OPA does not compile it.

It is a kindness to authors and no part of the gate's promise: what slips through is found when it is loaded, and the
old policies stay. So whatever cannot be checked, or not in time, is admitted with a warning; the webhook entry says
failurePolicy Ignore for the same reason. The policies that stand now are compiled together with the ConfigMap, in
processes that are gone afterwards, a few at a time: whoever in the cluster posts to this path costs little. Where the
API server can be told from others, nothing is done for a stranger at all.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import structlog

from portcullis.admission.review import render_allowed, render_error
from portcullis.errors import ConfigError, EngineError, PolicyCompileError, PortcullisError
from portcullis.limits import Limits
from portcullis.model.request import AdmissionRequest, Operation
from portcullis.policy.opa import OpaEngine
from portcullis.policy.workspace import Workspace
from portcullis.server.callers import Callers
from portcullis.server.http import Receive, Scope, Send
from portcullis.server.live.reloading import Recipe
from portcullis.server.live.sources import Laid, MapPlace, blamed, lay_out
from portcullis.server.sidepath import SidePath
from portcullis.text import clean

LABEL: Final = "portcullis.dev/policy"
AT_ONCE: Final = 4
"""Reviews in hand; more are admitted unchecked."""
_WORD: Final = "validate-policies"
_REASON: Final = "policy-invalid"
_SHOWN_CHARS: Final = 4000

log = structlog.get_logger(__name__)


class PolicyMapHandler:
    """The ASGI handler.

    Args:
        recipe, engine: load and compile, as a reload would.
        standing: what the ConfigMap is compiled with.
        namespaces: where ConfigMaps make policies.
        callers: says who sent a review.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        engine: OpaEngine,
        standing: Callable[[], Laid],
        namespaces: Collection[str],
        limits: Limits,
        callers: Callers,
    ) -> None:
        self._recipe = recipe
        self._engine = engine
        self._standing = standing
        self._namespaces = frozenset(namespaces)
        self._limits = limits
        self._callers = callers
        self._path = SidePath(word=_WORD, answer=self._answer, at_once=AT_ONCE, limits=limits, callers=callers)

    def serves(self, path: str) -> bool:
        """Whether ``path`` is of the form ``/validate-policies`` or ``/…/validate-policies``."""
        return self._path.serves(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._path(scope, receive, send)

    async def _answer(self, request: AdmissionRequest, deadline: float) -> bytes:
        fault, warning = await self._judge(request, deadline)
        if fault:
            log.info("ConfigMap with policies refused", namespace=request.namespace, name=request.name, problem=fault)
            return render_error(request.uid, code=403, reason=_REASON, message=fault)
        return render_allowed(request.uid, [clean(warning, self._limits.warning_chars)] if warning else [])

    async def _judge(self, request: AdmissionRequest, deadline: float) -> tuple[str, str]:
        """Why it is refused, and what else is to be said; "" for nothing."""
        if not _concerns(request):
            return "", ""
        if self._callers.is_stranger(request.caller):
            return "", "portcullis: the policies were not checked: the review did not come the API server's way"
        if request.namespace not in self._namespaces:
            return "", f"portcullis reads no policies from the namespace {request.namespace} (policies.configMaps)"
        if self._path.in_hand > AT_ONCE:
            return "", "portcullis: the policies were not checked, there is too much to do; see whether they are loaded"
        place = (request.namespace, request.name)
        try:
            async with asyncio.timeout_at(deadline):
                await self._compile(place, _data(request.object))
        except PolicyCompileError as error:
            fault = blamed(error.problems, {place}).get(place, "")
            return fault[:_SHOWN_CHARS], "" if fault else f"portcullis: not loaded yet: {error.message}"
        except ConfigError as error:
            return "", f"portcullis: not loaded with the configuration as it is: {error.message}"
        except (EngineError, TimeoutError) as error:
            said = error.message if isinstance(error, PortcullisError) else "not in time"
            return "", f"portcullis: the policies were not checked: {said}"
        return "", ""

    async def _compile(self, place: MapPlace, files: Mapping[str, str]) -> None:
        workspace = await asyncio.to_thread(Workspace)
        try:
            folders = await asyncio.to_thread(lay_out, self._standing().with_map(place, files), workspace.path)
            bundle = await asyncio.to_thread(self._recipe.load, folders)
            await self._engine.check(bundle)
            async with self._engine.prepared(bundle) as prepared:
                self._recipe.stand(prepared.compiled)
        finally:
            workspace.remove()


def _concerns(request: AdmissionRequest) -> bool:
    """Whether the request makes or changes policies. One that only writes an annotation on broken ones is no such."""
    if request.kind.kind != "ConfigMap" or request.operation not in (Operation.CREATE, Operation.UPDATE):
        return False
    if not _labelled(request.object):
        return False
    return not (_labelled(request.old_object) and _data(request.old_object) == _data(request.object))


def _labelled(found: Any) -> bool:
    metadata = found.get("metadata") if isinstance(found, Mapping) else None
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return isinstance(labels, Mapping) and labels.get(LABEL) == "true"


def _data(found: Any) -> Mapping[str, str]:
    data = found.get("data") if isinstance(found, Mapping) else None
    return {key: text for key, text in data.items() if isinstance(text, str)} if isinstance(data, Mapping) else {}
