"""``portcullis attest``: signs a report for an image and pushes it beside it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from portcullis.cli.output import (
    API_VERSION,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    progress,
    reported,
    stderr,
    stdout,
)
from portcullis.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from portcullis.cli.predicates import Prepared
    from portcullis.model.image import Descriptor, ResolvedImage
    from portcullis.server.settings import Settings

KEY_BYTES = 64 * 1024
PASSWORD_VARIABLE = "PORTCULLIS_KEY_PASSWORD"  # noqa: S105 - the name of a variable


@reported
def attest(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="registry/name:tag, or with @sha256:…")],
    predicate: Annotated[Path, typer.Option("--predicate", help="Trivy's JSON report, or any JSON object.")],
    kind: Annotated[str, typer.Option("--type", help="vuln for a Trivy report; else a name as cosign's, or a URI.")],
    key: Annotated[
        Path, typer.Option("--key", help=f"ECDSA P-256 private key, PEM; its password in {PASSWORD_VARIABLE}.")
    ],
    config: ConfigOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Sign a report for an image and push it beside it.

    It becomes a referrer of the image: a Sigstore bundle v0.3, as cosign makes it.
    """
    from portcullis.cli.clients import require_image_name
    from portcullis.cli.predicates import predicate_type_of
    from portcullis.evidence.attest import read_predicate
    from portcullis.evidence.keys import load_private_key
    from portcullis.server.settings import load_settings

    require_image_name(image)
    predicate_type_of(kind)
    settings = load_settings(config, os.environ)
    password = os.environ.get(PASSWORD_VARIABLE)
    pem = read_file(key, KEY_BYTES)
    content = read_file(predicate, settings.bounds().attestation_bytes)
    with _naming(key):
        signing_key = load_private_key(pem, password.encode() if password is not None else None)
    with _naming(predicate):  # before a registry is asked
        read_predicate(content, settings.bounds())
    resolved, prepared, pushed = asyncio.run(_attest(settings, image, content, kind, signing_key))
    for warning in prepared.warnings:
        stderr().print(Text.assemble(("warning", "bold yellow"), f": {warning}"), soft_wrap=True)
    _print(resolved, prepared, pushed, output)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with its content."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


def read_file(path: Path, limit: int) -> bytes:
    """The content of a file that the command line names.

    Raises:
        ConfigError: it cannot be read, or is larger than ``limit`` bytes.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise ConfigError(f"{path}: has more than {limit} bytes")
    return content


async def _attest(
    settings: "Settings", text: str, content: bytes, kind: str, key: "ec.EllipticCurvePrivateKey"
) -> "tuple[ResolvedImage, Prepared, Descriptor]":
    from portcullis.cli.clients import open_clients
    from portcullis.cli.predicates import prepare
    from portcullis.cli.signing import sign_and_attach
    from portcullis.model.image import Access

    async with open_clients(settings) as clients:
        with progress(f"resolving {text}") as say:
            image = await clients.origin.resolve(clients.parse(text), Access())
            prepared = prepare(content, kind, image, clients.limits)
            say(f"attaching to {image.digest}")
            pushed = await sign_and_attach(
                prepared,
                image,
                key=key,
                registry=clients.origin,
                pusher=clients.pusher,
                now=clients.clock.now(),
                access=Access(),
            )
    return image, prepared, pushed


def _print(image: "ResolvedImage", prepared: "Prepared", pushed: "Descriptor", output: Format) -> None:
    repository = str(image.reference.repository)
    if output is Format.JSON:
        print_json(
            {
                "apiVersion": API_VERSION,
                "kind": "Attestation",
                "image": str(image.reference),
                "subject": image.digest,
                "predicateType": prepared.predicate_type,
                "digest": pushed.digest,
                "reference": f"{repository}@{pushed.digest}",
                "warnings": list(prepared.warnings),
            }
        )
        return
    console = stdout()
    console.print(f"subject      {image.digest}", soft_wrap=True)
    console.print(f"predicate    {prepared.predicate_type}", soft_wrap=True)
    console.print(f"attestation  {repository}@{pushed.digest}", soft_wrap=True)
