"""Objects BreakGlass (portcullis.dev/v1): what they say, and which of them are there.

1. What an object grants is read from it alone, by the rules that the chart's custom resource definition states too: one
   that is not so counts for nothing, whoever changed the definition.
2. They are watched. Where the API server was not heard of for STALE_SECONDS, none counts: one may have been revoked.
3. One that is being deleted, or has ended, counts for nothing.
4. Where a bound is crossed none counts, of the namespace or at all: half of them would be worse than none.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from kubernetes.aio.client import ApiClient

from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Change, Key, Watch
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.grant import (
    ANY_POLICY,
    IMAGE_CHARS,
    LONGEST,
    MOST_DIGESTS,
    MOST_IMAGES,
    MOST_POLICIES,
    POLICY_CHARS,
    REASON_CHARS,
    Grant,
)
from portcullis.model.image import DIGEST
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.json import JSONObject
from portcullis.text import clean
from portcullis.times import parse_rfc3339, rfc3339

BREAK_GLASSES: Final = Resource("portcullis.dev", "v1", "breakglasses")
"""In all namespaces."""
STALE_SECONDS: Final = 120.0
"""Two bookmarks that did not come."""
SILENCE_SECONDS: Final = 90.0
"""After which the connection is made again, before what it told is stale."""

log = structlog.get_logger(__name__)

_POLICY: Final = re.compile(rf"[A-Za-z0-9_][-A-Za-z0-9._/]{{0,{POLICY_CHARS - 1}}}")
"""Of ours, of a foreign package, or of a constraint: its kind and its name (253 characters)."""
_SHOWN_CHARS: Final = 80
_FIELDS: Final = frozenset({"policies", "images", "digests", "coversProblems", "reason", "expires"})


@dataclass(frozen=True, slots=True)
class Invalid:
    """The object is no grant; ``why`` names the field."""

    why: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


class WatchedGrants:
    """The grants of the cluster; somebody runs ``watch``.

    Args:
        now: the time in UTC.
        stale_seconds: after so long without a sign of life of the API server, no grant counts.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        limits: Limits,
        now: Callable[[], datetime] = _utc_now,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._now = now
        self._most = limits.grants_per_namespace
        self._stale_seconds = stale_seconds
        self._known: dict[str, dict[str, Grant]] = defaultdict(dict)
        """By namespace and name."""
        self.invalid: dict[Key, str] = {}
        """Objects that grant nothing, and why."""
        self.watch = Watch(
            client=client,
            resource=BREAK_GLASSES,
            bounds=Bounds(
                objects=limits.watched_grants,
                object_bytes=limits.watched_grant_bytes,
                names=("watchedGrants", "watchedGrantBytes"),
            ),
            changed=self._changed,
            keep=self._kept,
            silence=SILENCE_SECONDS,
        )

    @property
    def problem(self) -> str:
        """Why no grant counts; "" where those that are there do."""
        if not self.watch.synced.is_set():
            return self.watch.problem
        if self.watch.silent_seconds() >= self._stale_seconds:
            return f"the API server was not heard of for {self._stale_seconds:.0f} seconds"
        return ""

    def of(self, namespace: str) -> Sequence[Grant]:
        """Those in force in that namespace now; none where they are not known, or too many."""
        if self.problem:
            return ()
        found = self._in_force(namespace)
        return found if len(found) <= self._most else ()

    def all(self) -> Sequence[Grant]:
        """Those in force now, by namespace and name."""
        return [grant for namespace in sorted(self._known) for grant in self.of(namespace)]

    def crowded(self) -> Sequence[str]:
        """Namespaces that have so many grants in force that none of them counts."""
        return [namespace for namespace in sorted(self._known) if len(self._in_force(namespace)) > self._most]

    def _in_force(self, namespace: str) -> list[Grant]:
        known, now = self._known.get(namespace), self._now()
        return [known[name] for name in sorted(known) if known[name].in_force(now)] if known else []

    def _kept(self, found: JSONObject) -> JSONObject | None:
        """What is kept of an object: what is read of it, or why it grants nothing. One that has ended is forgotten."""
        read = grant_of(found)
        if isinstance(read, Invalid):
            return {"why": read.why}
        if read.expires <= self._now():
            return None
        metadata = found["metadata"]
        names = ("namespace", "name", "uid", "creationTimestamp")
        return {"metadata": {name: metadata[name] for name in names if name in metadata}, "spec": found["spec"]}

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            namespace, name = change.key
            self.invalid.pop(change.key, None)
            self._known[namespace].pop(name, None)
            if change.now is not None:
                self._take(change.key, Invalid(change.now["why"]) if "why" in change.now else grant_of(change.now))
            if not self._known[namespace]:
                del self._known[namespace]

    def _take(self, key: Key, read: Grant | Invalid) -> None:
        namespace, name = key
        if isinstance(read, Invalid):
            self.invalid[key] = read.why
            log.warning("grant counts for nothing", namespace=namespace, grant=name, problem=read.why)
            return
        self._known[namespace][name] = read
        log.info("grant", namespace=namespace, grant=name, expires=rfc3339(read.expires), policies=read.policies)


class _Wrong(Exception):
    """Something in the object is not as it must be."""


def grant_of(found: JSONObject, now: datetime | None = None) -> Grant | Invalid:
    """What the object grants. Never raises, whatever the object is.

    Args:
        now: where the object is still to be made: the instant that counts as its creation. Left out, the API server
            has written it.
    """
    try:
        return _grant(found, now)
    except _Wrong as error:
        return Invalid(str(error))


def _grant(found: JSONObject, now: datetime | None) -> Grant:
    metadata, spec = _object(found, "metadata"), _object(found, "spec")
    if metadata.get("deletionTimestamp"):
        raise _Wrong("it is being deleted, which revokes it")
    if unknown := sorted(set(spec) - _FIELDS, key=str):
        raise _Wrong(f"spec.{clean(str(unknown[0]), _SHOWN_CHARS)}: there is no such field")
    created = now if now is not None else _instant(metadata.get("creationTimestamp"), "metadata.creationTimestamp")
    expires = _instant(spec.get("expires"), "spec.expires")
    if expires - created > LONGEST:
        hours = LONGEST.total_seconds() / 3600
        raise _Wrong(f"spec.expires: more than {hours:.0f} hours after the creation of the grant")
    if expires <= created:
        raise _Wrong("spec.expires: not after the creation of the grant")
    return Grant(
        namespace=_name(metadata, "namespace"),
        name=_name(metadata, "name", optional=now is not None),
        uid=_name(metadata, "uid", optional=True),
        policies=_policies(_texts(spec, "policies", MOST_POLICIES)),
        images=_images(_texts(spec, "images", MOST_IMAGES)),
        digests=_digests(_texts(spec, "digests", MOST_DIGESTS)),
        covers_problems=_flag(spec, "coversProblems"),
        reason=_reason(spec.get("reason")),
        created=created,
        expires=expires,
    )


def _object(found: object, key: str) -> Mapping[str, Any]:
    value = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(value, Mapping):
        raise _Wrong(f"{key}: an object is expected")
    return value


def _name(metadata: Mapping[str, Any], key: str, *, optional: bool = False) -> str:
    value = metadata.get(key)
    if isinstance(value, str) and value:
        return value
    if optional and value in (None, ""):
        return ""
    raise _Wrong(f"metadata.{key}: a text is expected")


def _instant(value: object, field: str) -> datetime:
    try:
        moment = parse_rfc3339(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise _Wrong(f"{field}: a time as RFC 3339 writes it is expected (2026-11-27T18:00:00Z)")
    return moment.astimezone(UTC)


def _texts(spec: Mapping[str, Any], key: str, most: int) -> tuple[str, ...]:
    value = spec.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _Wrong(f"spec.{key}: a list of texts is expected")
    if len(value) > most:
        raise _Wrong(f"spec.{key}: {len(value)} entries; {most} at most")
    return tuple(value)


def _policies(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise _Wrong(f'spec.policies: names of policies are expected, or "{ANY_POLICY}" for all')
    for name in names:
        if name != ANY_POLICY and _POLICY.fullmatch(name) is None:
            raise _Wrong(f'spec.policies: "{clean(name, _SHOWN_CHARS)}" is no name of a policy')
    return names


def _images(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for text in patterns:
        if len(text) > IMAGE_CHARS:
            raise _Wrong(f"spec.images: a pattern has more than {IMAGE_CHARS} characters")
        try:
            parse_pattern(text)
        except ConfigError as error:
            raise _Wrong(f"spec.images: {error.message}") from None
    return patterns


def _digests(digests: tuple[str, ...]) -> tuple[str, ...]:
    for digest in digests:
        if DIGEST.fullmatch(digest) is None:
            raise _Wrong(f'spec.digests: "{clean(digest, _SHOWN_CHARS)}" is no digest (sha256:… in lower case)')
    return digests


def _flag(spec: Mapping[str, Any], key: str) -> bool:
    value = spec.get(key, False)
    if not isinstance(value, bool):
        raise _Wrong(f"spec.{key}: true or false is expected")
    return value


def _reason(value: object) -> str:
    least, most = REASON_CHARS
    if not isinstance(value, str) or not least <= len(value.strip()) or len(value) > most:
        raise _Wrong(f"spec.reason: a text of {least} to {most} characters is expected")
    return value
