"""Signs a prepared predicate and hangs it on an image in its registry, as cosign does from version 3 on.

The annotations are cosign's, unsigned, and for people and tools that list referrers.
"""

from datetime import datetime
from typing import Final

from portcullis.cli.predicates import Prepared
from portcullis.evidence.attest import attest
from portcullis.evidence.bundle import BUNDLE_MEDIA_TYPE
from portcullis.evidence.keys import PrivateKey
from portcullis.model.image import Access, Descriptor, Digest, ResolvedImage
from portcullis.ports import Registry
from portcullis.registry.push import Pusher
from portcullis.times import rfc3339

CREATED: Final = "org.opencontainers.image.created"
CONTENT: Final = "dev.sigstore.bundle.content"
PREDICATE_TYPE: Final = "dev.sigstore.bundle.predicateType"


async def sign_and_attach(
    prepared: Prepared,
    image: ResolvedImage,
    *,
    key: PrivateKey,
    registry: Registry,
    pusher: Pusher,
    now: datetime,
    access: Access,
    about: Digest | None = None,
) -> Descriptor:
    """The descriptor of the new referrer of ``image``.

    Args:
        about: the digest that the statement is about; that of ``image`` where it is not given.

    Raises:
        RegistryError: the image's manifest cannot be read, or the referrer not be written.
    """
    repository = image.reference.repository
    manifest = await registry.manifest(repository, image.digest, access)
    bundle = attest(
        predicate=prepared.predicate,
        predicate_type=prepared.predicate_type,
        subject=about or image.digest,
        name=str(repository),
        key=key,
    )
    return await pusher.attach(
        repository,
        Descriptor(manifest.media_type, manifest.digest, len(manifest.content)),
        artifact_type=BUNDLE_MEDIA_TYPE,
        layer_media_type=BUNDLE_MEDIA_TYPE,
        content=bundle,
        annotations={
            CREATED: rfc3339(now, "seconds"),
            CONTENT: "dsse-envelope",
            PREDICATE_TYPE: prepared.predicate_type,
        },
        access=access,
    )
