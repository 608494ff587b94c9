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
from portcullis.server.files import read_bounded

if TYPE_CHECKING:
    from portcullis.cli.predicates import Given, Prepared
    from portcullis.evidence.keys import PrivateKey
    from portcullis.model.image import Descriptor, ResolvedImage
    from portcullis.server.settings import Settings

KEY_BYTES = 64 * 1024
PASSWORD_VARIABLE = "PORTCULLIS_KEY_PASSWORD"  # noqa: S105 - the name of a variable


@reported
def attest(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="registry/name:tag, or with @sha256:…")],
    predicate: Annotated[Path, typer.Option("--predicate", help="A scanner's or linter's report, or any JSON object.")],
    kind: Annotated[
        str,
        typer.Option("--type", help="vuln for a scan, lint for Hadolint's; else a name as cosign's, or a URI."),
    ],
    key: Annotated[
        Path,
        typer.Option("--key", help=f"Private key in PEM, of any kind; its password in {PASSWORD_VARIABLE}."),
    ],
    made: Annotated[
        str,
        typer.Option("--made", help="When the report was made, if it does not say: RFC 3339, or 2h for 2 hours ago."),
    ] = "",
    dockerfile: Annotated[
        Path | None, typer.Option("--dockerfile", help="With type lint: the Dockerfile that was looked at.")
    ] = None,
    config: ConfigOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Sign a report for an image and push it beside it.

    It becomes a referrer of the image: a Sigstore bundle v0.3, as cosign makes it.
    """
    from portcullis.cli.clients import require_image_name
    from portcullis.cli.predicates import predicate_type_of
    from portcullis.evidence.decode import parse_json
    from portcullis.evidence.keys import load_private_key
    from portcullis.evidence.refusal import EvidenceError
    from portcullis.server.settings import load_settings

    require_image_name(image)
    predicate_type_of(kind)
    settings = load_settings(config, os.environ)
    password = os.environ.get(PASSWORD_VARIABLE)
    pem = read_bounded(key, KEY_BYTES)
    content = read_bounded(predicate, settings.bounds().attestation_bytes)
    with _naming(key):
        signing_key = load_private_key(pem, password.encode() if password is not None else None)
    try:  # before a registry is asked
        parse_json(content, limits=settings.bounds(), what="the predicate")
    except EvidenceError as error:
        raise ConfigError(f"{predicate}: {error.message}") from None
    given = _given(made, dockerfile)
    resolved, prepared, pushed = asyncio.run(_attest(settings, image, content, kind, signing_key, given))
    for warning in prepared.warnings:
        stderr().print(Text.assemble(("warning", "bold yellow"), f": {warning}"), soft_wrap=True)
    _print(resolved, prepared, pushed, output)


def _given(made: str, dockerfile: Path | None) -> "Given":
    """What the command line says beside the report. Raises ConfigError."""
    from datetime import UTC, datetime
    from hashlib import sha256

    from portcullis.cli.hadolint import DOCKERFILE_BYTES
    from portcullis.cli.moments import parse_moment
    from portcullis.cli.predicates import Given

    moment = parse_moment(made, datetime.now(UTC)) if made else None
    digest = sha256(read_bounded(dockerfile, DOCKERFILE_BYTES)).hexdigest() if dockerfile is not None else ""
    return Given(moment, digest)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with its content."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


async def _attest(
    settings: "Settings", text: str, content: bytes, kind: str, key: "PrivateKey", given: "Given"
) -> "tuple[ResolvedImage, Prepared, Descriptor]":
    from portcullis.cli.clients import open_clients
    from portcullis.cli.predicates import prepare
    from portcullis.cli.signing import sign_and_attach
    from portcullis.model.image import Access

    async with open_clients(settings) as clients:
        with progress(f"resolving {text}") as say:
            image = await clients.origin.resolve(clients.parse(text), Access())
            prepared = prepare(content, kind, image, clients.limits, given)
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
