"""Grants of a cluster as commands show them."""

import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portcullis.model.grant import ID_PREFIX, Grant
from portcullis.text import clean

if TYPE_CHECKING:
    from rich.text import Text

    from portcullis.model.json import JSONObject


@dataclass(frozen=True, slots=True)
class Listed:
    """An object BreakGlass. ``grant`` is None for one that counts for nothing, and ``why`` says why."""

    namespace: str
    name: str
    grant: Grant | None
    why: str = ""

    @property
    def id(self) -> str:
        return clean(f"{ID_PREFIX}{self.namespace}/{self.name}", 400)

    def active(self, now: datetime) -> bool:
        return self.grant is not None and self.grant.in_force(now)


async def listed_grants(kubeconfig: Path | None, context: str, namespace: str, *, everywhere: bool) -> list[Listed]:
    """The grants that the cluster has; of ``namespace``, or of the context's where that is "".

    Raises:
        ClusterError: they cannot be listed.
    """
    from portcullis.cluster.breakglassobjects import grants_of
    from portcullis.cluster.client import configured

    cluster = await configured(kubeconfig=kubeconfig, context=context, environ=os.environ)
    async with grants_of(cluster) as grants:
        found = await grants.list("" if everywhere else namespace or cluster.namespace)
    return sorted((_listed(one) for one in found), key=lambda one: one.id)


def _listed(found: "JSONObject") -> Listed:
    from portcullis.cluster.breakglass import Invalid, grant_of

    read = grant_of(found)
    if not isinstance(read, Invalid):
        return Listed(read.namespace, read.name, read)
    metadata = found.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    return Listed(str(named.get("namespace", "")), str(named.get("name", "")), None, read.why)


def listed_json(listed: Listed, now: datetime) -> dict[str, Any]:
    """One entry of a GrantList: a grant as decisions show it, but for its uid, and whether it counts."""
    from portcullis.server.recordjson import grant_json

    known: dict[str, Any] = {"id": listed.id, "namespace": listed.namespace, "name": listed.name}
    if listed.grant is None:
        return {**known, "active": False, "invalid": listed.why}
    told = grant_json(listed.grant)
    del told["uid"]
    return {**known, "active": listed.active(now), **told, **known}


def what_of(listed: Listed) -> "Text":
    """What it covers."""
    from rich.text import Text

    grant = listed.grant
    if grant is None:
        return Text("nothing", "dim")
    said = Text("all policies" if grant.covers_policy("*") else clean(", ".join(grant.policies), 500))
    for key, values in (("images", grant.images), ("digests", grant.digests)):
        if values:
            said.append(f"\n{key}: {clean(', '.join(values), 500)}", "dim")
    if not grant.for_images:
        said.append("\neverything in the namespace", "dim")
    if grant.covers_problems:
        said.append("\nalso what cannot be judged", "dim")
    return said


def why_of(listed: Listed) -> str:
    return clean(listed.grant.reason if listed.grant is not None else listed.why, 500)


def until_of(listed: Listed, now: datetime) -> "Text":
    """Its end, and how long that is from now."""
    from rich.text import Text

    grant = listed.grant
    if grant is None:
        return Text("counts for nothing", "yellow")
    said = Text(f"{grant.expires.astimezone(UTC):%Y-%m-%d %H:%M}")
    if now >= grant.expires:
        return said.append("\nended", "dim")
    return said.append(f"\n{left_of(grant, now)} left", "yellow")


def left_of(grant: Grant, now: datetime) -> str:
    """``1 h 5 min``, to the next minute."""
    minutes = math.ceil((grant.expires - now).total_seconds() / 60)
    if minutes <= 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{minutes} min"] if minutes or not hours else [])])
