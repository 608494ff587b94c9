"""What the loopback registry keeps: one repository's blobs, manifests, tags and uploads, in memory."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

INDEX: Final = "application/vnd.oci.image.index.v1+json"
_INDEXES: Final = frozenset({INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"})
_IMAGES: Final = frozenset(
    {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
)


class StoreError(Exception):
    """``status`` and ``code`` are those of the answer (distribution-spec, Error Codes)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """``subject`` is the digest that it refers to, "" without one; ``descriptor`` how referrers list it."""

    media_type: str
    digest: str
    content: bytes = field(repr=False)
    subject: str
    descriptor: dict[str, Any]


class RepositoryStore:
    """One repository. Raises StoreError only."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[str, StoredManifest] = {}
        self._tags: dict[str, str] = {}
        self._uploads: dict[str, bytearray] = {}

    def manifest(self, reference: str) -> StoredManifest:
        """By tag or digest."""
        found = self._manifests.get(self._tags.get(reference, reference))
        if found is None:
            raise StoreError(404, "MANIFEST_UNKNOWN", "manifest unknown to registry")
        return found

    def put_manifest(self, reference: str, content_type: str, content: bytes) -> StoredManifest:
        """Checks the manifest and all that it names but its subject, which may come later."""
        document = _document(content)
        media_type = str(document.get("mediaType") or content_type)
        if content_type and media_type != content_type:
            raise StoreError(400, "MANIFEST_INVALID", "the mediaType differs from the Content-Type")
        if media_type not in _INDEXES | _IMAGES:
            raise StoreError(400, "MANIFEST_INVALID", "the mediaType is not one of those that are kept here")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if ":" in reference:
            digest = _matching(reference, content, "DIGEST_INVALID")
        self._require_references(document, media_type)
        subject = document.get("subject") or {}
        descriptor = {"mediaType": media_type, "digest": digest, "size": len(content)}
        if artifact_type := _artifact_type(document):
            descriptor["artifactType"] = artifact_type
        if document.get("annotations"):
            descriptor["annotations"] = document["annotations"]
        stored = StoredManifest(media_type, digest, content, str(subject.get("digest", "")), descriptor)
        self._manifests[digest] = stored
        if ":" not in reference:
            self._tags[reference] = digest
        return stored

    def _require_references(self, document: dict[str, Any], media_type: str) -> None:
        try:
            children = [child["digest"] for child in document.get("manifests", ())]
            blobs = [blob["digest"] for blob in (document.get("config"), *document.get("layers", ())) if blob]
        except (TypeError, KeyError, AttributeError) as error:
            raise StoreError(400, "MANIFEST_INVALID", "a descriptor is malformed") from error
        if media_type in _IMAGES and not document.get("config"):
            raise StoreError(400, "MANIFEST_INVALID", "an image manifest must have a config")
        for digest in children:
            if digest not in self._manifests:
                raise StoreError(400, "MANIFEST_BLOB_UNKNOWN", f"manifest {digest} unknown to registry")
        for digest in blobs:
            if digest not in self._blobs:
                raise StoreError(400, "MANIFEST_BLOB_UNKNOWN", f"blob {digest} unknown to registry")

    def tags(self) -> Sequence[str]:
        """In lexical order."""
        return sorted(self._tags)

    def referrers(self, digest: str) -> Sequence[dict[str, Any]]:
        """Descriptors of manifests with that subject, in the order in which they were pushed."""
        return [manifest.descriptor for manifest in self._manifests.values() if manifest.subject == digest]

    def has_blob(self, digest: str) -> bool:
        return digest in self._blobs

    def blob(self, digest: str) -> bytes:
        found = self._blobs.get(digest)
        if found is None:
            raise StoreError(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return found

    def put_blob(self, digest: str, content: bytes) -> None:
        self._blobs[_matching(digest, content, "DIGEST_INVALID")] = content

    def start_upload(self) -> str:
        upload = uuid.uuid4().hex
        self._uploads[upload] = bytearray()
        return upload

    def uploaded(self, upload: str) -> int:
        """Bytes so far."""
        return len(self._upload(upload))

    def append(self, upload: str, piece: bytes) -> int:
        """The bytes after it."""
        self._upload(upload).extend(piece)
        return self.uploaded(upload)

    def finish_upload(self, upload: str, digest: str) -> None:
        self.put_blob(digest, bytes(self._upload(upload)))
        del self._uploads[upload]

    def _upload(self, upload: str) -> bytearray:
        found = self._uploads.get(upload)
        if found is None:
            raise StoreError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return found


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreError(400, "MANIFEST_INVALID", "the manifest is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("subject") or {}, dict):
        raise StoreError(400, "MANIFEST_INVALID", "the manifest is malformed")
    return document


def _artifact_type(document: dict[str, Any]) -> str:
    """An image manifest without artifactType takes that of its config (distribution-spec, Listing Referrers)."""
    if artifact_type := document.get("artifactType"):
        return str(artifact_type)
    config = document.get("config")
    return str(config.get("mediaType", "")) if isinstance(config, dict) else ""


def _matching(digest: str, content: bytes, code: str) -> str:
    """``digest`` if ``content`` has it."""
    algorithm = digest.partition(":")[0]
    if algorithm not in {"sha256", "sha512"}:
        raise StoreError(400, code, "the digest is not of sha256 or sha512")
    if digest != f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}":
        raise StoreError(400, code, "the content does not have that digest")
    return digest
