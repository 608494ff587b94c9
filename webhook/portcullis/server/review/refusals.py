"""Why a reader is not answered."""

from collections.abc import Mapping
from types import MappingProxyType


class Refusal(Exception):
    """A request that is turned away before any page sees it.

    Args:
        status: of the answer.
        reason: a code of docs/reasons.md.
        title: in few words.
        sentence: what is the matter; may hold text from outside.
        advice: what to do.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        *,
        reason: str,
        title: str,
        sentence: str,
        advice: str,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.title = title
        self.sentence = sentence
        self.advice = advice
        self.headers = headers


def unknown_reader(sentence: str, advice: str) -> Refusal:
    """Nobody vouches for who asks."""
    return Refusal(
        401,
        reason="reader-unknown",
        title="Who are you?",
        sentence=sentence,
        advice=advice,
        headers={"www-authenticate": "Bearer"},
    )


def cluster_silent(message: str) -> Refusal:
    """The API server does not say who somebody is, or what they may see: then nobody sees anything."""
    return Refusal(
        503,
        reason="cluster-unavailable",
        title="The API server does not answer",
        sentence=message,
        advice="Try again in a moment. Without its answer nobody is shown anything.",
        headers={"retry-after": "5"},
    )
