"""Who somebody is to Kubernetes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """As a TokenReview names them and a SubjectAccessReview takes them. ``extra`` is what authorizers may read beside,
    in the order of its keys."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
