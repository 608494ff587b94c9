"""``portcullis verify``: whether an attestation in a file is what its signer says, without a registry or a network."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from portcullis.cli.output import (
    API_VERSION,
    EXIT_REFUSED,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    reported,
    stdout,
)
from portcullis.errors import ConfigError

if TYPE_CHECKING:
    from portcullis.limits import Limits
    from portcullis.model.evidence import Rejected, Verified
    from portcullis.model.image import Digest
    from portcullis.server.settings import Settings
    from portcullis.server.trusting import Trusting

KEY, IDENTITY, CERTIFICATES = "key", "identity", "certificates"


@reported
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A DSSE envelope, Sigstore bundle or JWS of Notation.")],
    subject: Annotated[str, typer.Option("--subject", help="Digest of the image that it must be about: sha256:…")],
    key: Annotated[Path | None, typer.Option("--key", help="Public key in PEM.")] = None,
    issuer: Annotated[str, typer.Option("--issuer", help="OpenID issuer of a keyless signature, exactly.")] = "",
    identity: Annotated[
        str, typer.Option("--identity", help="Regular expression that the whole identity must match.")
    ] = "",
    trusted_root: Annotated[
        Path | None,
        typer.Option("--trusted-root", help="trusted_root.json in place of Sigstore's public instance."),
    ] = None,
    certificates: Annotated[
        Path | None, typer.Option("--certificates", help="Trust store of a Notation signature, in PEM.")
    ] = None,
    config: ConfigOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Verify one attestation offline: signature, form, subject.

    Without --key, --issuer or --certificates, the signers of the configuration are tried; whether they may say such
    things about such images is not asked, for a file has no name. Exits 0 if it is verified, 1 if it is rejected.
    """
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    digest = _digest(subject)
    verifying = _verifying(settings, key, issuer, identity, trusted_root, certificates)
    fields = _fields(asyncio.run(_verify(verifying, file, digest, settings.bounds())))
    if output is Format.JSON:
        print_json({"apiVersion": API_VERSION, "kind": "Verification", "subject": digest, **fields})
    else:
        stdout().print(_view(fields))
    if not fields["verified"]:
        raise typer.Exit(EXIT_REFUSED)


def _digest(text: str) -> "Digest":
    from portcullis.errors import InvalidReference
    from portcullis.reference.parse import parse_digest

    try:
        return parse_digest(text)
    except InvalidReference as error:
        raise ConfigError(f"--subject: {error.message}") from None


def _verifying(
    settings: "Settings",
    key: Path | None,
    issuer: str,
    identity: str,
    trusted_root: Path | None,
    certificates: Path | None,
) -> "Trusting":
    """Raises ConfigError: the options do not fit together, or a file cannot be used."""
    from portcullis.server.settings import Settings
    from portcullis.server.trusting import trusting

    if bool(issuer) != bool(identity):
        raise ConfigError("--issuer and --identity go together")
    if trusted_root is not None and not issuer:
        raise ConfigError("--trusted-root goes with --issuer and --identity")
    root = "public" if trusted_root is None else "given"
    signers: dict[str, Any] = {}
    if key is not None:
        signers[KEY] = {"key": {"file": str(key.absolute())}}
    if issuer:
        signers[IDENTITY] = {"keyless": {"issuer": issuer, "identity": identity, "root": root}}
    if certificates is not None:
        signers[CERTIFICATES] = {"notation": {"file": str(certificates.absolute())}}
    if not signers:
        if not settings.trust.signers:
            raise ConfigError("say who must have signed it: --key, or --issuer and --identity, or --certificates")
        return trusting(settings, settings.bounds())
    trust: dict[str, Any] = {"signers": signers}
    if trusted_root is not None:
        trust["roots"] = {root: {"file": str(trusted_root.absolute())}}
    return trusting(Settings.from_tree({"trust": trust}), settings.bounds())


async def _verify(verifying: "Trusting", file: Path, subject: "Digest", limits: "Limits") -> "Verified | Rejected":
    from hashlib import sha256

    from portcullis.cli.report import read_input
    from portcullis.evidence.kinds import media_type_of
    from portcullis.evidence.refusal import EvidenceError
    from portcullis.model.evidence import Carrier, CarrierKind, Rejected
    from portcullis.model.image import Digest

    content = read_input(file, limits.attestation_bytes)
    try:
        media_type = media_type_of(content, limits)
    except EvidenceError as error:
        return Rejected(error.reason, error.message)
    digest = Digest(f"sha256:{sha256(content).hexdigest()}")
    return await verifying.verifier.verify(Carrier(CarrierKind.REFERRER, media_type, digest, subject, content), subject)


def _fields(verdict: "Verified | Rejected") -> dict[str, Any]:
    from portcullis.model.evidence import Rejected
    from portcullis.times import rfc3339

    if isinstance(verdict, Rejected):
        return {
            "verified": False,
            "reason": verdict.reason,
            "message": verdict.message,
            "predicateType": verdict.predicate_type,
            "signers": [] if verdict.signer is None else [verdict.signer.name],
        }
    return {
        "verified": True,
        "predicateType": verdict.statement.predicate_type,
        "signers": [
            {"name": one.name, "kind": one.kind, "issuer": one.issuer, "identity": one.identity}
            for one in verdict.signers
        ],
        "signedAt": None if verdict.signed_at is None else rfc3339(verdict.signed_at),
        "logged": verdict.logged,
    }


def _view(fields: Mapping[str, Any]) -> Table:
    from portcullis.cli.words import SHORT
    from portcullis.text import clean

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    if not fields["verified"]:
        grid.add_row("verdict", Text("✗ rejected", "red"))
        grid.add_row("reason", Text(fields["reason"], "bold"))
        grid.add_row("", clean(fields["message"], 1000))
    else:
        grid.add_row("verdict", Text("✓ verified", "green"))
        for one in fields["signers"]:
            who = f"{one['identity']} (issuer {one['issuer']})" if one["identity"] else f"the {one['name']} given"
            grid.add_row("signed by", clean(who if one["kind"] != "key" or one["name"] == KEY else one["name"], SHORT))
        grid.add_row("signed", fields["signedAt"] or Text("at no time that can be trusted", "dim"))
        grid.add_row("log", "entry proven" if fields["logged"] else Text("no entry was asked for", "dim"))
    if fields["predicateType"]:
        grid.add_row("predicate", clean(fields["predicateType"], SHORT))
    return grid
