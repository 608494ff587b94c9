"""Recorded decisions about one image, from the documents that come with the policies."""

import copy
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fakes.decisions import decision, record
from portcullis.model.decision import JudgedImage
from portcullis.model.record import AuditRecord

TESTDATA = Path(__file__).resolve().parents[4] / "policies" / "testdata"
DIGEST = "sha256:bb0936ee4d8824cea43c0e703db7cbc321f0c2ca1364dc4d293853b4512c8268"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@cache
def _read(name: str) -> bytes:
    return (TESTDATA / f"{name}.json").read_bytes()


def document(name: str) -> Any:
    """One of the documents, as a tree of its own."""
    return json.loads(_read(name))


def image_of(tree: Any) -> Any:
    """The only image of a document."""
    (image,) = tree["images"].values()
    return image


def recorded(tree: Any, *, hours: float = 0.0, decision_id: str = "d-1") -> AuditRecord:
    """A record of a decision by that document, so many hours before noon."""
    (written,) = tree["images"]
    digest = tree["images"][written].get("digest") if isinstance(tree["images"][written], dict) else None
    made = decision(
        id=decision_id,
        images=(JudgedImage(written, digest if isinstance(digest, str) else DIGEST),),
        decided_at=NOON - timedelta(hours=hours),
        document=json.dumps(tree).encode(),
    )
    return record(made)


def with_image(name: str, **fields: Any) -> Any:
    """The document with other fields of its image."""
    tree = copy.deepcopy(document(name))
    image_of(tree).update(fields)
    return tree
