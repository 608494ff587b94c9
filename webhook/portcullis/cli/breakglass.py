"""``portcullis break-glass``: lets something through in an emergency, for a few hours, and shows what is granted."""

import asyncio
import os
import re
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portcullis.cli.clusters import AllNamespacesOption, ContextOption, KubeconfigOption, NamespaceOption
from portcullis.cli.output import API_VERSION, Format, FormatOption, print_json, reported, stderr, stdout
from portcullis.errors import ConfigError
from portcullis.model.grant import ANY_POLICY
from portcullis.text import clean
from portcullis.times import rfc3339

if TYPE_CHECKING:
    from rich.table import Table

    from portcullis.cli.grantview import Listed
    from portcullis.cluster.breakglassobjects import Made

_DURATION = re.compile(r"(?=.)(?:([0-9]{1,2})h)?(?:([0-9]{1,4})m)?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

break_glass = typer.Typer(
    help="Grants of an emergency: what is let through for a few hours.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@break_glass.command("create")
@reported
def create(
    reason: Annotated[str, typer.Option("--reason", help="Why, in 10 to 500 characters; the audit log keeps it.")],
    name: Annotated[str, typer.Argument(help="Of the grant; without it, one is made.")] = "",
    namespace: NamespaceOption = "",
    policies: Annotated[
        list[str] | None, typer.Option("--policy", help="That is covered; repeatable.", show_default=False)
    ] = None,
    all_policies: Annotated[bool, typer.Option("--all-policies", help="All that allow exceptions.")] = False,
    images: Annotated[
        list[str] | None,
        typer.Option("--image", help="A pattern such as registry.example/acme/**; repeatable.", show_default=False),
    ] = None,
    digests: Annotated[
        list[str] | None, typer.Option("--digest", help="Of an image; repeatable.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="All images and workloads.")] = False,
    covers_problems: Annotated[
        bool, typer.Option("--covers-problems", help="Also what cannot be judged, while a registry or OPA is down.")
    ] = False,
    lasts: Annotated[str, typer.Option("--for", help="How long: 45m, 2h, 1h30m; 24h at most.")] = "1h",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the manifest, and make nothing.")] = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    output: FormatOption = Format.TABLE,
) -> None:
    """Let through, in one namespace, what policies refuse. Who does it, and why, is recorded.

    Needs the right to create breakglasses.portcullis.dev there. It ends by itself, or by kubectl delete.
    """
    _check_given(policies, all_policies=all_policies, images=images or digests, everything=everything)
    now = datetime.now(UTC)
    spec: dict[str, Any] = {"policies": [ANY_POLICY] if all_policies else list(policies or ())}
    spec |= {key: list(values) for key, values in (("images", images), ("digests", digests)) if values}
    spec |= {"coversProblems": True} if covers_problems else {}
    spec |= {"reason": reason, "expires": rfc3339(now + _duration(lasts), "seconds")}
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "BreakGlass",
        "metadata": {"name": _named(name), **({"namespace": namespace} if namespace else {})},
        "spec": spec,
    }
    _check(manifest, now)
    if dry_run:
        _print_manifest(manifest, output)
        return
    made = asyncio.run(_create(manifest, namespace, kubeconfig, context))
    for warning in made.warnings:
        stderr().print(f"Warning: {clean(warning, 1000)}", soft_wrap=True)
    if output is Format.JSON:
        print_json(made.found)
    else:
        _print_made(made, now)


@break_glass.command("list")
@reported
def list_grants(
    namespace: NamespaceOption = "",
    all_namespaces: AllNamespacesOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    output: FormatOption = Format.TABLE,
) -> None:
    """List the grants of a namespace, or of all, with their end. Those that ended are marked.

    What they let through: `portcullis exceptions list`. Who made them: `portcullis audit list --kind BreakGlass`.
    """
    from portcullis.cli.grantview import listed_grants, listed_json

    now = datetime.now(UTC)
    found = asyncio.run(listed_grants(kubeconfig, context, namespace, everywhere=all_namespaces))
    if output is Format.JSON:
        print_json({"apiVersion": API_VERSION, "kind": "GrantList", "items": [listed_json(one, now) for one in found]})
    elif found:
        stdout().print(_table(found, now))
    else:
        stderr().print("there are no grants")


def _check_given(policies: list[str] | None, *, all_policies: bool, images: list[str] | None, everything: bool) -> None:
    """What is covered is said in so many words: an option that was forgotten must not cover more."""
    if bool(policies) is all_policies:
        raise ConfigError("which policies are covered?\nsay either --policy NAME, or --all-policies")
    if bool(images) is everything:
        raise ConfigError("which images are covered?\nsay either --image PATTERN or --digest, or --everything")


def _duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None or not (length := timedelta(hours=int(found[1] or 0), minutes=int(found[2] or 0))):
        raise ConfigError(f"--for {clean(text, 40)!r} is no time: write 45m, 2h, 1h30m")
    return length


def _named(name: str) -> str:
    if not name:
        return f"grant-{secrets.token_hex(4)}"
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{clean(name, 80)!r} is no name: a-z, 0-9 and -, 63 characters at most")
    return name


def _check(manifest: dict[str, Any], now: datetime) -> None:
    """What the gate would say, before anything is asked."""
    from portcullis.cluster.breakglass import Invalid, grant_of

    placed = {**manifest, "metadata": {"namespace": "default", **manifest["metadata"]}}
    found = grant_of(placed, now.replace(microsecond=0))
    if isinstance(found, Invalid):
        raise ConfigError(f"this grant would count for nothing\n{found.why}")


async def _create(manifest: dict[str, Any], namespace: str, kubeconfig: Path | None, context: str) -> "Made":
    from portcullis.cluster.breakglassobjects import grants_of
    from portcullis.cluster.client import configured

    cluster = await configured(kubeconfig=kubeconfig, context=context, environ=os.environ)
    place = namespace or cluster.namespace
    async with grants_of(cluster) as grants:
        return await grants.create({**manifest, "metadata": {**manifest["metadata"], "namespace": place}}, place)


def _print_manifest(manifest: dict[str, Any], output: Format) -> None:
    if output is Format.JSON:
        print_json(manifest)
        return
    import yaml

    sys.stdout.write(yaml.safe_dump(manifest, sort_keys=False))


def _print_made(made: "Made", now: datetime) -> None:
    from portcullis.cli.grantview import left_of
    from portcullis.cluster.breakglass import Invalid, grant_of

    found = grant_of(made.found)
    if isinstance(found, Invalid):
        raise ConfigError(f"the grant was made, and counts for nothing\n{clean(found.why, 400)}")
    until = f"until {found.expires:%Y-%m-%d %H:%M} UTC, {left_of(found, now)}"
    lines = (
        f"{found.id} counts {until}",
        f"end it: kubectl delete breakglass {found.name} --namespace {found.namespace}",
    )
    for line in lines:
        stdout().print(clean(line, 1000), soft_wrap=True)


def _table(found: "list[Listed]", now: datetime) -> "Table":
    from rich.box import HORIZONTALS
    from rich.table import Table
    from rich.text import Text

    from portcullis.cli.grantview import until_of, what_of, why_of

    table = Table(box=HORIZONTALS, expand=True, border_style="dim", header_style="bold", pad_edge=False)
    table.add_column("Grant", overflow="fold", ratio=3)
    table.add_column("For what", overflow="fold", ratio=4)
    table.add_column("Why", overflow="fold", ratio=4)
    table.add_column("Until (UTC)", width=18)
    for one in found:
        style = "bold" if one.active(now) else "dim strike"
        table.add_row(Text(one.id, style=style), what_of(one), why_of(one), until_of(one, now))
    return table
