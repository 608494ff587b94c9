"""POST /mutate: an object that names images by tags gets the digests of the tags, and is admitted whatever happens.

What is to be pinned, and by which patch, stands in admission.pinning. Here the digests are asked for, by the registry,
the caches and the pull secrets by which the gate judges, so that the pin is what ``/validate`` looks at a moment later.
An image of which the digest cannot be had, or not in time, stays as it is written, and a warning says so: whether it
may run is for ``/validate`` to decide. Nothing is recorded. Where the API server can be told from others, nothing is
done for a stranger at all.

Proof of what is written in the place of a text:

1. The text is a reference without a digest.
2. The registry said now which digest its tag names, the index where there is one, and the bytes were hashed.
3. The text with that digest behind it is a reference to the same repository and to that digest, for whoever reads it.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from portcullis.admission.pinning import Pins, find, patch
from portcullis.admission.review import parse_review, readable_uid, render_allowed
from portcullis.admission.workloads import WorkloadReader
from portcullis.errors import DeadlineExceeded, InvalidReference, PortcullisError, RegistryError, ReviewError, TooLarge
from portcullis.gate import access_of
from portcullis.limits import Limits
from portcullis.measuring import Durations
from portcullis.model.image import Access, ImageReference, ResolvedImage
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.patience import Patience
from portcullis.ports import Clock, Registry
from portcullis.server.body import Body, BodyReader, Budget, Ending
from portcullis.server.callers import Callers, is_path_of
from portcullis.server.http import Answer, Receive, Scope, Send, failure, send_answer, timeout_of
from portcullis.server.seldom import Seldom
from portcullis.server.telemetry import Metrics
from portcullis.text import clean
from portcullis.times import rfc3339

BYTES_SHARE: Final = 4
"""The bodies that are held here may take this part of what all of ``/validate`` may: each is read for a moment."""
OUTCOMES: Final = ("pinned", "partly", "unpinned", "nothing", "stranger", "unread", "crowded", "failed")
_WORD: Final = "mutate"
_IMAGE_CHARS: Final = 100
_ENDINGS: Final = {
    Ending.TOO_LARGE: (413, "too-large", "the review has more bytes than limits.reviewBytes allows"),
    Ending.LATE: (408, "deadline-exceeded", "the review did not arrive in time"),
    Ending.CROWDED: (503, "too-many-reviews", "too many reviews are in flight"),
}
"""Of a body that is not whole: HTTP code, reason, words."""

log = structlog.get_logger(__name__)

Asked = ResolvedImage | PortcullisError
"""What came of asking for one image."""


class PinHandler:
    """The ASGI handler.

    Args:
        reader: finds the pod in an object.
        parse: text to reference; raises InvalidReference.
        registry: says what a tag names; it is the gate's.
        callers: says who sent a review.
        owners: whether templates are pinned as well, and not pods alone.
        draining: whether the program stops, so that each answer closes its connection.
    """

    def __init__(
        self,
        *,
        reader: WorkloadReader,
        parse: Callable[[str], ImageReference],
        registry: Registry,
        clock: Clock,
        limits: Limits,
        callers: Callers,
        owners: bool,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reader = reader
        self._parse = parse
        self._registry = registry
        self._clock = clock
        self._limits = limits
        self._callers = callers
        self._owners = owners
        self._draining = draining
        self._patience = Patience(limits)
        self._budget = Budget(limits.in_flight_bytes // BYTES_SHARE)
        self._in_hand = 0
        self._say_unpinned = Seldom(functools.partial(log.warning, "images not pinned"), clock=clock)
        self.outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
        """Reviews by what came of them."""
        self.pinned = 0
        """Places that were pinned."""
        self.unpinned: Counter[str] = Counter()
        """Images that were not, by reason."""
        self.seconds = Durations()

    @staticmethod
    def serves(path: str) -> bool:
        """Whether ``path`` is of the form ``/mutate`` or ``/…/mutate``."""
        return is_path_of(path, _WORD)

    def observe(self, metrics: Metrics) -> None:
        """Binds what is counted here; it is read when Prometheus asks."""
        metrics.count_by("mutations", "Reviews of /mutate.", "outcome", lambda: self.outcomes)
        metrics.count_function("images_pinned", "Images that were pinned.", lambda: float(self.pinned))
        metrics.count_by("images_unpinned", "Images that could not be pinned.", "reason", lambda: self.unpinned)
        metrics.time_by("mutation_seconds", "Of reviews of /mutate.", "", lambda: {"": self.seconds})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._clock.monotonic()
        if scope["method"] != "POST":
            return await send_answer(failure(405, "method-not-allowed", "reviews are sent by POST"), send)
        caller = self._callers.of(scope)
        share = self._callers.share(caller)
        if self._in_hand >= self._limits.in_flight * share:
            self.outcomes["crowded"] += 1
            answer = failure(503, "too-many-reviews", "too many reviews are in flight; nothing is pinned", close=True)
            return await send_answer(answer, send)
        seconds = timeout_of(scope["query_string"], self._limits)
        deadline = started + seconds - min(self._limits.deadline_reserve_seconds, seconds / 2)
        reader = BodyReader(receive=receive, limits=self._limits, budget=self._budget, share=share)
        self._in_hand += 1
        try:
            body = await reader.read(min(deadline, started + self._limits.body_seconds))
            if body.ending is Ending.GONE:
                return None
            answer = await self._answer(body, caller, deadline)
        finally:
            self._in_hand -= 1
            reader.release()
        self.seconds.observe(self._clock.monotonic() - started)
        close = answer.close or self._draining()
        return await send_answer(Answer(answer.status, answer.body, close, answer.headers), send)

    async def _answer(self, body: Body, caller: Caller, deadline: float) -> Answer:
        """Never a refusal: what cannot be read is answered so that the API server goes on without a patch."""
        if body.ending is not Ending.WHOLE:
            code, reason, words = _ENDINGS[body.ending]
            self.outcomes["crowded" if body.ending is Ending.CROWDED else "unread"] += 1
            uid = readable_uid(body.content, limits=self._limits)
            return self._unchanged(uid, reason, words, code=code, close=body.unread)
        try:
            request = parse_review(body.content, limits=self._limits, caller=caller)
        except ReviewError as error:
            self.outcomes["unread"] += 1
            return self._unchanged(error.uid, error.reason, error.message)
        try:
            return await self._pin(request, deadline)
        except PortcullisError as error:
            self.outcomes["unpinned"] += 1
            self.unpinned[error.reason] += 1
            return self._unchanged(request.uid, error.reason, error.message)
        except Exception:
            log.exception("nothing pinned", uid=clean(request.uid, 128))
            self.outcomes["failed"] += 1
            message = "a fault in Portcullis itself; its log tells more"
            return self._unchanged(request.uid, "internal-error", message)

    async def _pin(self, request: AdmissionRequest, deadline: float) -> Answer:
        """Raises WorkloadError."""
        if self._callers.is_stranger(request.caller):
            self.outcomes["stranger"] += 1
            warning = "portcullis: nothing is pinned: the review did not come the API server's way"
            return Answer(200, render_allowed(request.uid, [warning]))
        pins = find(request, self._reader, owners=self._owners)
        if not pins.places:
            self.outcomes["nothing"] += 1
            return Answer(200, render_allowed(request.uid))
        asked = await self._ask(request, pins, deadline)
        pinned = {text: f"{text}@{found.digest}" for text, found in asked.items() if isinstance(found, ResolvedImage)}
        steps = patch(pins, pinned)
        self._count(pins, asked, len(steps))
        return Answer(200, render_allowed(request.uid, self._warnings(asked), steps))

    async def _ask(self, request: AdmissionRequest, pins: Pins, deadline: float) -> Mapping[str, Asked]:
        """The image of each text; what could not be had by ``deadline``, or before it where whoever made the request
        should not wait so long (patience.py), is DeadlineExceeded. The fetch goes on, and the next one finds it."""
        texts, asked = pins.texts, dict[str, Asked]()
        if not texts:
            return asked
        if len(texts) > self._limits.distinct_images:
            message = f"{len(texts)} different images; the limit distinctImages is {self._limits.distinct_images}"
            return dict.fromkeys(texts, TooLarge(message))
        access = access_of(request.namespace, self._reader.read(request).pod_spec or {})

        async def ask(text: str) -> None:
            asked[text] = await self._resolve(text, access)

        try:
            async with asyncio.timeout_at(deadline) as limit:
                with self._patience.shared(request, limit):
                    async with asyncio.TaskGroup() as group:
                        for text in texts:
                            group.create_task(ask(text))
        except TimeoutError:
            late = DeadlineExceeded("the registry did not say in time what the tag names")
            asked |= {text: late for text in texts if text not in asked}
        return asked

    async def _resolve(self, text: str, access: Access) -> Asked:
        try:
            reference = self._parse(text)  # 1.
            found = await self._registry.resolve(reference, access)  # 2.
            pinned = self._parse(f"{text}@{found.digest}")  # 3.
        except (InvalidReference, RegistryError) as error:
            return error
        if (pinned.repository, pinned.digest) != (reference.repository, found.digest) or reference.pinned:
            return InvalidReference(f"{text} with its digest would be another image")
        return found

    def _count(self, pins: Pins, asked: Mapping[str, Asked], steps: int) -> None:
        problems = {text: found for text, found in asked.items() if isinstance(found, PortcullisError)}
        self.unpinned.update(error.reason for error in problems.values())
        self.pinned += sum(1 for place in pins.places if place.written not in problems)
        self.outcomes["pinned" if not problems else "partly" if steps else "unpinned"] += 1
        if problems:
            text, error = next(iter(problems.items()))
            self._say_unpinned(image=clean(text, _IMAGE_CHARS), reason=error.reason, problem=error.message)

    def _warnings(self, asked: Mapping[str, Asked]) -> Sequence[str]:
        said = [words for text, found in asked.items() if (words := _words(text, found))]
        most = self._limits.warnings
        if len(said) > most:
            said[most - 1 :] = [f"portcullis: so it is with {len(said) - most + 1} more images"]
        return [clean(words, self._limits.warning_chars) for words in said]

    def _unchanged(self, uid: str, reason: str, message: str, *, code: int = 400, close: bool = False) -> Answer:
        """Admitted without a patch; where that cannot be said, an HTTP error, after which the API server goes on."""
        if not uid:
            return failure(code, reason, clean(message, 300), close=close)
        warning = clean(f"portcullis: nothing is pinned: [{reason}] {message}", self._limits.warning_chars)
        return Answer(200, render_allowed(uid, [warning]), close)


def _words(text: str, found: Asked) -> str:
    """What whoever asked is told of one image; "" where all is well."""
    name = clean(text, _IMAGE_CHARS)
    if isinstance(found, PortcullisError):
        return f"portcullis: {name} is not pinned: [{found.reason}] {found.message}"
    if found.stale_since is not None:
        since = rfc3339(found.stale_since, "seconds")
        return f"portcullis: {name} is pinned to what its tag named at {since}: the registry cannot be reached"
    return ""
