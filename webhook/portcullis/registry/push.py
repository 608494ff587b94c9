"""Writes to registries: blobs, manifests, and attestations beside an image.

Source: OCI distribution specification 1.1, "Pushing blobs monolithically", "Pushing Manifests with Subject".
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

from portcullis.errors import Malformed, NotFound, TooLarge
from portcullis.limits import Limits
from portcullis.model.image import Access, Descriptor, Digest, Manifest, Repository
from portcullis.ports import Keychain
from portcullis.registry.digests import digest_of, read_digest
from portcullis.registry.hosts import HostRules, same_origin
from portcullis.registry.http import fallback_tag
from portcullis.registry.manifests import EMPTY, OCI_INDEX, OCI_MANIFEST, read_index
from portcullis.registry.transport import Call, Transport
from portcullis.text import clean

_ACTIONS: Final = "pull,push"
_EMPTY_CONFIG: Final = b"{}"
"""The content of application/vnd.oci.empty.v1+json (image-spec manifest.md)."""
_NOBODY: Final = Access()


class Pusher:
    """Writes under the same rules for hosts, addresses and credentials as the reader. Raises only RegistryError."""

    def __init__(self, *, keychain: Keychain, hosts: HostRules, limits: Limits) -> None:
        self._transport = Transport(keychain=keychain, hosts=hosts, limits=limits)
        self._limits = limits

    async def start(self) -> None:
        """Opens the pools of connections; the first request does it otherwise."""
        await self._transport.start()

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._transport.aclose()

    async def blob(self, repository: Repository, content: bytes, access: Access = _NOBODY) -> Digest:
        """Uploads a blob, if it is not there already; returns its digest (sha256)."""
        digest = digest_of(content)
        what = f"the blob {digest} of {clean(str(repository), 300)}"
        if await self._has_blob(repository, digest, what, access):
            return digest
        start = Call(
            repository=repository,
            access=access,
            path="blobs/uploads/",
            what=what,
            method="POST",
            actions=_ACTIONS,
            headers={"Content-Length": "0"},
        )
        async with self._transport.send(start) as response:
            upload = self._upload_url(response.url, response.headers.get("Location", ""), what)
        finish = Call(
            repository=repository,
            access=access,
            path="",
            url=upload.update_query(digest=digest),
            what=what,
            method="PUT",
            actions=_ACTIONS,
            headers={"Content-Type": "application/octet-stream"},
            body=content,
        )
        async with self._transport.send(finish):
            return digest

    async def manifest(
        self, repository: Repository, reference: str, media_type: str, content: bytes, access: Access = _NOBODY
    ) -> Digest:
        """Uploads a manifest whose blobs are there; ``reference`` is a tag, or its own digest."""
        await self._put_manifest(repository, reference, media_type, content, access)
        return digest_of(content)

    async def attach(
        self,
        repository: Repository,
        subject: Descriptor,
        *,
        artifact_type: str,
        layer_media_type: str,
        content: bytes,
        annotations: Mapping[str, str],
        access: Access = _NOBODY,
    ) -> Descriptor:
        """Attaches ``content`` to the manifest ``subject`` of the repository; returns the new manifest's
        descriptor.

        Where the registry does not say that it heeds the subject (header OCI-Subject), the fall-back tag is
        written as well. That is a read and a write: of two who do so at once, one is lost, as with every client.
        """
        layer, config = await self.blob(repository, content, access), await self.blob(repository, _EMPTY_CONFIG, access)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": EMPTY, "digest": config, "size": len(_EMPTY_CONFIG)},
            "layers": [{"mediaType": layer_media_type, "digest": layer, "size": len(content)}],
            "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
            "annotations": dict(annotations),
        }
        manifest = json.dumps(document, separators=(",", ":")).encode()
        descriptor = Descriptor(
            OCI_MANIFEST, digest_of(manifest), len(manifest), artifact_type, None, dict(annotations)
        )
        heeded = await self._put_manifest(repository, descriptor.digest, OCI_MANIFEST, manifest, access)
        if heeded != subject.digest:
            await self._list_in_fallback(repository, subject.digest, descriptor, access)
        return descriptor

    async def _has_blob(self, repository: Repository, digest: Digest, what: str, access: Access) -> bool:
        call = Call(
            repository=repository, access=access, path=f"blobs/{digest}", what=what, method="HEAD", actions=_ACTIONS
        )
        try:
            async with self._transport.send(call):
                return True
        except NotFound:
            return False

    async def _put_manifest(
        self, repository: Repository, reference: str, media_type: str, content: bytes, access: Access
    ) -> str:
        """The subject that the registry says it heeds, "" where it says nothing."""
        what = f"the manifest {clean(reference, 200)} of {clean(str(repository), 300)}"
        call = Call(
            repository=repository,
            access=access,
            path=f"manifests/{reference}",
            what=what,
            method="PUT",
            actions=_ACTIONS,
            headers={"Content-Type": media_type},
            body=content,
        )
        async with self._transport.send(call) as response:
            said = response.headers.get("Docker-Content-Digest", "")
            if said and read_digest(said, what) != digest_of(content, said.partition(":")[0]):
                raise Malformed(f"{what} was kept with another digest, {clean(said, 140)}")
            return response.headers.get("OCI-Subject", "")

    async def _list_in_fallback(
        self, repository: Repository, subject: Digest, descriptor: Descriptor, access: Access
    ) -> None:
        tag = fallback_tag(subject)
        what = f"the referrers in {clean(str(repository), 300)}:{tag}"
        children = await self._fallback(repository, tag, what, access)
        if any(child.get("digest") == descriptor.digest for child in children):
            return
        entry = {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "artifactType": descriptor.artifact_type,
            "annotations": dict(descriptor.annotations),
        }
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*children, entry]}
        content = json.dumps(index, separators=(",", ":")).encode()
        if len(content) > self._limits.manifest_bytes:
            raise TooLarge(
                f"{what} would have more bytes than the limit manifestBytes of {self._limits.manifest_bytes}"
            )
        await self._put_manifest(repository, tag, OCI_INDEX, content, access)

    async def _fallback(self, repository: Repository, tag: str, what: str, access: Access) -> list[dict[str, Any]]:
        """The entries of the fall-back tag as they are written, none where there is no such tag."""
        call = Call(
            repository=repository,
            access=access,
            path=f"manifests/{tag}",
            what=what,
            actions=_ACTIONS,
            headers={"Accept": OCI_INDEX},
        )
        limit = self._limits.manifest_bytes
        try:
            content = (await self._transport.fetch(call, limit, f"the limit manifestBytes of {limit}")).content
        except NotFound:
            return []
        read_index(Manifest(OCI_INDEX, digest_of(content), content), self._limits, what)  # or it is not ours to extend
        children: list[dict[str, Any]] = json.loads(content)["manifests"]
        return children

    def _upload_url(self, asked: URL, location: str, what: str) -> URL:
        """Where the upload goes on: on the same host, since the credential goes with it."""
        try:
            upload = asked.join(URL(location, encoded=True))
        except ValueError as error:
            raise Malformed(f"{what} is to be uploaded to no address") from error
        if not location or not same_origin(upload, asked) or upload.user is not None:
            raise Malformed(f"{what} is to be uploaded to another host, {clean(upload.raw_host or '', 100)}")
        return upload
