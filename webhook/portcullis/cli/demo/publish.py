"""Pushes the samples and what was attested about them, over HTTP, by the same code as ``portcullis attest``."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.cli.demo.images import Image
from portcullis.cli.demo.reports import openvex, trivy_report
from portcullis.cli.demo.samples import SAMPLES, Sample, Scan, Vex
from portcullis.cli.predicates import VULN, prepare
from portcullis.cli.signing import sign_and_attach
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Access, Platform
from portcullis.reference.parse import parse_reference
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.push import Pusher

NOBODY = Access()


class Publisher:
    """Pushes to one registry.

    Args:
        references: where each sample goes, by its name.
        keys: what signs, by the name of the signer.
    """

    def __init__(
        self,
        *,
        images: Mapping[str, Image],
        references: Mapping[str, str],
        keys: Mapping[str, ec.EllipticCurvePrivateKey],
        registry: HttpRegistry,
        pusher: Pusher,
        now: datetime,
    ) -> None:
        self._images = images
        self._references = {name: parse_reference(text, limits=DEFAULT_LIMITS) for name, text in references.items()}
        self._keys = keys
        self._registry = registry
        self._pusher = pusher
        self._now = now

    async def push(self, sample: Sample) -> None:
        """The blobs, the manifests, the tag."""
        image, reference = self._images[sample.name], self._references[sample.name]
        await asyncio.gather(*(self._pusher.blob(reference.repository, blob.content) for blob in image.blobs))
        for manifest in image.manifests:
            name = reference.tag if manifest is image.root else None
            await self._pusher.manifest(
                reference.repository, name or manifest.digest, manifest.media_type, manifest.content
            )

    async def attest(self, sample: Sample, scan: Scan) -> None:
        """One signed report per platform. A scan that is about another sample is wholly so: report and signature
        are good, only not for the image that they hang on."""
        about = scan.about or sample.name
        there = await self._registry.resolve(self._references[sample.name], NOBODY)
        scanned = await self._registry.resolve(self._references[about], NOBODY)
        for platform in self._images[about].image_ids:
            prepared = prepare(self._report(about, platform, scan), VULN, scanned, DEFAULT_LIMITS)
            await sign_and_attach(
                prepared,
                there,
                key=self._keys[scan.signer],
                registry=self._registry,
                pusher=self._pusher,
                now=self._now,
                access=NOBODY,
                about=scanned.digest,
            )

    async def excuse(self, sample: Sample, vex: Vex) -> None:
        """One signed VEX document about the image as a whole."""
        there = await self._registry.resolve(self._references[sample.name], NOBODY)
        document = openvex(
            f"https://git.example.test/{sample.repository}/vex", vex.vulnerabilities, issued=self._now - vex.age
        )
        await sign_and_attach(
            prepare(json.dumps(document).encode(), "openvex", there, DEFAULT_LIMITS),
            there,
            key=self._keys[vex.signer],
            registry=self._registry,
            pusher=self._pusher,
            now=self._now,
            access=NOBODY,
        )

    def _report(self, name: str, platform: Platform, scan: Scan) -> bytes:
        image = self._images[name]
        report = trivy_report(
            str(self._references[name]),
            image,
            platform=platform,
            image_id=image.image_ids[platform],
            created=self._now - scan.age,
            findings=scan.findings,
        )
        return json.dumps(report).encode()


async def publish(
    images: Mapping[str, Image],
    references: Mapping[str, str],
    keys: Mapping[str, ec.EllipticCurvePrivateKey],
    host: str,
    say: Callable[[str], None],
    samples: Sequence[Sample] = SAMPLES,
) -> None:
    """Pushes every sample, then the attestations. Raises RegistryError."""
    rules = HostRules(allowed=(host,), insecure=frozenset({host}), private=frozenset({host}))
    keychain = StaticKeychain(credentials={})
    platforms = tuple({platform: None for image in images.values() for platform in image.image_ids})
    registry = HttpRegistry(keychain=keychain, hosts=rules, platforms=platforms, limits=DEFAULT_LIMITS)
    pusher = Pusher(keychain=keychain, hosts=rules, limits=DEFAULT_LIMITS)
    publisher = Publisher(
        images=images, references=references, keys=keys, registry=registry, pusher=pusher, now=datetime.now(UTC)
    )
    try:
        for sample in samples:
            say(f"pushing {sample.repository}:{sample.tag}: {sample.what}")
            await publisher.push(sample)
        for sample in samples:
            if sample.scan is not None:
                say(f"attesting the scan of {sample.repository}:{sample.tag}")
                await publisher.attest(sample, sample.scan)
            if sample.vex is not None:
                await publisher.excuse(sample, sample.vex)
    finally:
        await pusher.aclose()
        await registry.aclose()
