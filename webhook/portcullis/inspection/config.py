"""Which user the first process of an image, and of a container, gets.

USER is "user[:group]" (image-spec config.md). containerd (WithUser) and moby's user package (GetExecUser), which
Docker and CRI-O use, read each half with Go's ``strconv.Atoi``, so ``0``, ``00``, ``+0`` and ``-0`` all are uid 0;
what is no number from 0 to 2^31-1 is looked up in the image's /etc/passwd, which may give any name the uid 0. That
file is not read here (users.py does, once the layers were read): such a name is unresolved and its ``root`` None, which
policies see as "unknown".

Not considered: ``windowsOptions.runAsUserName`` (Windows has no uid; such pods carry no runAsUser), and user
namespaces (``hostUsers: false`` maps uid 0 to another id of the node, but inside the container it is root).
"""

import re
from collections.abc import Sequence

from portcullis.model.image import ContainerUser, ImageConfig, ImageUser, UserSource
from portcullis.model.json import JSONObject
from portcullis.model.workload import Container, ContainerKind

MAX_ID = 2**31 - 1
"""Kubernetes, containerd and moby all end there, although Linux does not."""

_WRONG = object()
"""A value that no reader takes for one of its own."""

_ATOI = re.compile(r"([+-]?)(?=[0-9])0*+([0-9]{0,10})")


def image_user(config: ImageConfig) -> ImageUser:
    """The user that an image's configuration names.

    ``root`` is True for uid 0, for no USER at all (runtimes then take uid 0) and for the name ``root``; False for
    another number; None for everything that only the image's passwd could tell, or that runtimes read differently.
    """
    raw = config.user
    if raw == "":
        return ImageUser(raw=raw, uid=0, gid=0, name="", source=UserSource.UNSET, root=True)
    user, _, group = raw.partition(":")
    gid = 0 if group == "root" else as_id(group)
    uid = as_id(user)
    if user in ("", "root"):
        # ":group" leaves the user to the runtime: moby takes uid 0, containerd refuses to start.
        source = UserSource.UNRESOLVED if user else UserSource.UNSET
        return ImageUser(raw=raw, uid=0, gid=gid, name=user, source=source, root=True)
    if uid == 0:
        return ImageUser(raw=raw, uid=0, gid=gid, name="", source=UserSource.NUMERIC, root=True)
    if uid is None or ":" in group:
        return ImageUser(raw=raw, uid=None, gid=gid, name=user, source=UserSource.UNRESOLVED, root=None)
    return ImageUser(raw=raw, uid=uid, gid=gid, name="", source=UserSource.NUMERIC, root=False)


def container_user(
    container: Container, pod_spec: JSONObject, image_users: Sequence[ImageUser] | None
) -> ContainerUser:
    """The user that a container's first process gets: its own securityContext over that of the pod over the image.

    Args:
        image_users: one per platform that is judged; None, or empty, where the image's facts could not be had.

    A value of a wrong type is never skipped in favour of the next level: ``root`` is None then. An image volume is
    only mounted and starts no process, so it has no user, and ``root`` is False.
    """
    if container.kind is ContainerKind.VOLUME:
        return ContainerUser(uid=None, gid=None, name="", source=UserSource.UNSET, root=False, run_as_non_root=None)
    contexts = (container.spec.get("securityContext"), pod_spec.get("securityContext"))
    level, asked = _first(contexts, "runAsUser")
    group_level, group = _first(contexts, "runAsGroup")
    _, non_root = _first(contexts, "runAsNonRoot")
    run_as_non_root = non_root if isinstance(non_root, bool) else None
    if level is not None:
        uid = _checked(asked)
        gid = _checked(group)
        source = (UserSource.CONTAINER, UserSource.POD)[level] if uid is not None else UserSource.UNRESOLVED
        root = uid == 0 if uid is not None else None
        return ContainerUser(uid=uid, gid=gid, name="", source=source, root=root, run_as_non_root=run_as_non_root)
    merged = _merge(image_users or ())
    return ContainerUser(
        uid=merged.uid,
        gid=_checked(group) if group_level is not None else merged.gid,
        name=merged.name,
        source=merged.source,
        root=merged.root,
        run_as_non_root=run_as_non_root,
    )


def _first(contexts: Sequence[object], key: str) -> tuple[int | None, object]:
    """The first level that says something of ``key``, and what. A securityContext that is no object says something
    wrong of every key."""
    for level, context in enumerate(contexts):
        if context is None:
            continue
        if not isinstance(context, dict):
            return level, _WRONG
        if context.get(key) is not None:
            return level, context[key]
    return None, None


def _checked(value: object) -> int | None:
    """An id as the Kubernetes API allows it. bool is an int to Python, but not to anybody else."""
    return value if type(value) is int and 0 <= value <= MAX_ID else None


def as_id(text: str) -> int | None:
    """What Go's Atoi makes of ``text``, if it is a valid id."""
    match = _ATOI.fullmatch(text)
    if match is None:
        return None
    number = int(match.group(2) or "0")
    return number if number <= MAX_ID and (match.group(1) != "-" or number == 0) else None


def _merge(users: Sequence[ImageUser]) -> ImageUser:
    """One user for all platforms: root if any is, unknown if any is; the rest only where all agree."""
    if not users:
        return ImageUser(raw="", uid=None, gid=None, name="", source=UserSource.UNRESOLVED, root=None)
    roots = {user.root for user in users}
    sources = {_of_image(user.source) for user in users}
    uids, gids, names = {user.uid for user in users}, {user.gid for user in users}, {user.name for user in users}
    if len(sources) == 1:
        source = next(iter(sources))
    else:
        source = UserSource.UNRESOLVED if UserSource.UNRESOLVED in sources else UserSource.IMAGE
    return ImageUser(
        raw="",
        uid=next(iter(uids)) if len(uids) == 1 else None,
        gid=next(iter(gids)) if len(gids) == 1 else None,
        name=next(iter(names)) if len(names) == 1 else "",
        source=source,
        root=True if True in roots else None if None in roots else False,
    )


def _of_image(source: UserSource) -> UserSource:
    return UserSource.IMAGE if source in (UserSource.NUMERIC, UserSource.PASSWD) else source
