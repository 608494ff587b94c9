"""Asks the API server whose a token is, and what somebody may do.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/ (``audiences`` of
the answer are those of the request that the token is made for; an authenticator that knows no audiences gives none),
https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, in_cluster, reason_of
from portcullis.cluster.resources import Resource, ask
from portcullis.errors import ClusterError
from portcullis.model.subject import Subject

TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews")
ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")

_ANSWER_BYTES: Final = 1024 * 1024
"""A person in a thousand groups has 64 KiB; the answer repeats the question."""


class AccessReviews:
    """Both reviews. Every method raises only ClusterError, at the latest after ``seconds``: what is not known is no
    'yes'."""

    def __init__(self, *, client: ApiClient, seconds: float = REQUEST_SECONDS) -> None:
        self._client = client
        self._seconds = seconds

    async def authenticate(self, token: str, audience: str) -> Subject | None:
        """Whose token it is; None where it is nobody's, or was not made for ``audience``. No message holds it."""
        spec = {"token": token, "audiences": [audience]}
        status = await self._review(TOKEN_REVIEWS, "TokenReview", spec, "whose a token is")
        if status.get("authenticated") is not True or audience not in _texts(status.get("audiences")):
            return None
        user = status.get("user")
        if not isinstance(user, dict) or not isinstance(username := user.get("username"), str) or not username:
            raise ClusterError("the API server does not say whose a token is: the answer names no user")
        uid = user.get("uid")
        extra = user.get("extra")
        return Subject(
            username=username,
            uid=uid if isinstance(uid, str) else "",
            groups=_texts(user.get("groups")),
            extra=tuple(sorted((str(key), _texts(values)) for key, values in extra.items()))
            if isinstance(extra, dict)
            else (),
        )

    async def allowed(self, subject: Subject, *, verb: str, group: str, resource: str, namespace: str) -> bool:
        """Whether the subject may do that, in ``namespace`` or, where it is "", in all of them."""
        attributes = {"namespace": namespace, "verb": verb, "group": group, "version": "*", "resource": resource}
        spec: dict[str, Any] = {
            "resourceAttributes": attributes,
            "user": subject.username,
            "groups": list(subject.groups),
            "uid": subject.uid,
            "extra": {key: list(values) for key, values in subject.extra},
        }
        status = await self._review(ACCESS_REVIEWS, "SubjectAccessReview", spec, "what a reader may do")
        if not isinstance(status.get("allowed"), bool):
            raise ClusterError("the API server does not say what a reader may do: the answer says neither yes nor no")
        return status["allowed"] is True and status.get("denied") is not True

    async def _review(self, resource: Resource, kind: str, spec: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        body = {"apiVersion": resource.group_version, "kind": kind, "metadata": {}, "spec": spec}
        try:
            async with asyncio.timeout(self._seconds):
                response = await ask(self._client, "POST", resource.path, body=body, silence_seconds=self._seconds)
                async with response:
                    found = await bounded_json(response, _ANSWER_BYTES, "the answer")
        except FAULTS as error:
            if isinstance(error, ApiException) and error.status == 403:
                raise ClusterError(
                    f"the API server does not say {what}: the gate's service account needs a ClusterRole with the rule "
                    f"apiGroups [{resource.group}], resources [{resource.plural}], verbs [create]"
                ) from None
            raise ClusterError(f"the API server does not say {what}: {reason_of(error, self._seconds)}") from None
        status = found.get("status") if isinstance(found, dict) and found.get("kind") == kind else None
        if not isinstance(status, dict):
            raise ClusterError(f"the API server does not say {what}: it answered no {kind}")
        return status


@asynccontextmanager
async def access_reviews() -> AsyncIterator[AccessReviews]:
    """Those of the cluster that this program is a pod of.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    async with ApiClient(in_cluster("audit.pages")) as client:
        yield AccessReviews(client=client)


def _texts(values: object) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()
