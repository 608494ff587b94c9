"""Objects BreakGlass (portcullis.dev/v1): what they say, and which of them are there.

The custom resource definition of the chart says the same by its schema and CEL; an object that is not so counts for
nothing here as well, whoever changed the definition.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from portcullis.cluster.resources import Resource
from portcullis.errors import ConfigError
from portcullis.model.grant import (
    ANY_POLICY,
    LONGEST,
    MOST_DIGESTS,
    MOST_IMAGES,
    MOST_POLICIES,
    REASON_CHARS,
    Grant,
)
from portcullis.model.image import DIGEST
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.json import JSONObject
from portcullis.text import clean
from portcullis.times import parse_rfc3339

BREAK_GLASSES: Final = Resource("portcullis.dev", "v1", "breakglasses")
"""In all namespaces."""

_POLICY: Final = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9._/]{0,319}")
"""Of ours, of a foreign package, or of a constraint: its kind and its name (253 characters)."""
_SHOWN_CHARS: Final = 80
_IMAGE_CHARS: Final = 512
_FIELDS: Final = frozenset({"policies", "images", "digests", "coversProblems", "reason", "expires"})


@dataclass(frozen=True, slots=True)
class Invalid:
    """The object is no grant; ``why`` names the field."""

    why: str


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
        if len(text) > _IMAGE_CHARS:
            raise _Wrong(f"spec.images: a pattern has more than {_IMAGE_CHARS} characters")
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
