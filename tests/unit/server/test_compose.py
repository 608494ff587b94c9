"""All parts put together, with a real OPA and a real database, in process."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from fakes.reviews import pod, request
from portcullis.errors import ConfigError, RecordsError
from portcullis.model.decision import Verdict
from portcullis.model.image import Access, Anonymous, Credential, Repository
from portcullis.model.ruling import Mode
from portcullis.ports import Bundles
from portcullis.server.compose import compose
from portcullis.server.settings import Settings, load_settings

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]


EXCEPTION = (
    "{id: EX-1, policies: [image-user], match: {namespaces: [shop]}, reason: r, owner: o, "
    "expires: 2126-01-31T00:00:00Z}"
)


def settings(folder: Path, text: str = "") -> Settings:
    path = folder / "portcullis.yaml"
    path.write_text(f'audit: {{database: "sqlite:///audit.db"}}\n{text}')
    return load_settings(path, {})


async def test_a_gate_that_records_nothing_leaves_no_file(tmp_path: Path) -> None:
    async with compose(settings(tmp_path), with_audit=False) as parts:
        assert parts.records is None
        assert parts.bundles is None
        deadline = parts.clock.monotonic() + 5
        decision = await parts.gate.decide(request(pod("not//an image")), deadline)
        assert decision.verdict is Verdict.REFUSED
        assert decision.config_revision == parts.settings.revision
        assert decision.policy_revision == parts.compiled.revision
    assert [path.name for path in tmp_path.iterdir()] == ["portcullis.yaml"]


async def test_what_records_refer_to_is_stored(tmp_path: Path) -> None:
    text = "server: {pathSegment: 0123456789abcdef}\npolicies: {modes: {image-user: warn}}"
    async with compose(settings(tmp_path, text), with_audit=True) as parts:
        assert parts.bundles is not None
        configuration = await parts.bundles.get(parts.settings.revision)
        policies = await parts.bundles.get(parts.compiled.revision)
    assert configuration == parts.settings.document
    assert policies is not None
    sources = json.loads(policies)["sources"]
    assert any("package portcullis.policies.image_user" in source["text"] for source in sources)


async def test_a_store_that_is_down_at_the_start_does_not_stop_it(tmp_path: Path) -> None:
    """Policies and configuration are stored when it is back; decisions go to the journal meanwhile."""
    async with compose(settings(tmp_path), with_audit=True) as parts:
        pass
    with sqlite3.connect(tmp_path / "audit.db") as database:
        database.execute("delete from bundles")
    database.close()
    hold = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
    hold.execute("begin exclusive")
    try:
        async with compose(settings(tmp_path, "limits: {appendSeconds: 0.2}"), with_audit=True) as parts:
            assert parts.records is not None
            assert parts.bundles is not None
            assert await stored(parts.bundles, parts.settings.revision) is None
            hold.close()
            async with asyncio.timeout(30):
                while (await stored(parts.bundles, parts.settings.revision)) != parts.settings.document:
                    await asyncio.sleep(0.05)
                while not await stored(parts.bundles, parts.compiled.revision):
                    await asyncio.sleep(0.05)
    finally:
        hold.close()


async def stored(bundles: Bundles, revision: str) -> bytes | None:
    with contextlib.suppress(RecordsError):
        return await bundles.get(revision)
    return None


async def test_credentials_are_read_from_their_files(tmp_path: Path) -> None:
    (tmp_path / "robot").write_text("s3cret\n")
    text = 'registries: {hosts: {"r.example:5000": {username: robot, passwordFile: robot}}}'
    async with compose(settings(tmp_path, text), with_audit=False) as parts:
        found = await parts.keychain.credential(Repository("r.example:5000", "a"), Access())
        other = await parts.keychain.credential(Repository("r.example", "a"), Access())
    assert found == Credential("robot", "s3cret")
    assert other == Anonymous()
    assert b"s3cret" not in parts.settings.document


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policies: {modes: {image-usr: audit}}", r"policies\.modes\.image-usr: .* did you mean image-user\?"),
        ("policies: {namespaces: {shop: {nothing: audit}}}", r"policies\.namespaces\.shop\.nothing: .*there are "),
        ("policies: {enabled: [image-user], modes: {image-age: warn}}", r"policies\.modes\.image-age: "),
        (
            "policies: {overrides: [{namespaces: [a], modes: {image-usr: audit}}]}",
            r"policies\.overrides\.0\.modes\.image-usr: .* did you mean image-user\?",
        ),
        (
            f"exceptions: [{EXCEPTION.replace('image-user', 'image-usr')}]",
            r"exceptions\.EX-1\.policies\.image-usr: .* did you mean image-user\?",
        ),
        ("policies: {profile: strict}", r"policies\.profile: there is no profile 'strict'; there are "),
        (
            "registries: {hosts: {r.example: {username: a, passwordFile: nowhere}}}",
            r"registries\.hosts\.r\.example\.passwordFile: .*cannot be read",
        ),
        (
            "trust: {signers: {ci: {key: {file: nowhere}}}}",
            r"trust\.signers\.ci\.key\.file: .*cannot be read",
        ),
        ("cluster: {podSpecPaths: [{group: apps, kind: Deployment, path: spec}]}", "built-in kind"),
    ],
)
async def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        async with compose(settings(tmp_path, text), with_audit=False):
            pass


async def test_recording_needs_a_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.database is missing"):
        async with compose(Settings(), with_audit=True):
            pass


FORBIDDING = """
# METADATA
# custom: {exceptions: forbidden}
package portcullis.policies.strict

deny contains "always"
"""


async def test_no_exception_is_made_where_the_policy_forbids_any(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "policy.rego").write_text(FORBIDDING)
    text = f"policies: {{builtin: false, folders: [mine]}}\nexceptions: [{EXCEPTION.replace('image-user', 'strict')}]"
    with pytest.raises(ConfigError, match=r"exceptions: EX-1: the policy strict allows no exception"):
        async with compose(settings(tmp_path, text), with_audit=False):
            pass


async def test_modes_and_exceptions_of_the_configuration_are_those_of_the_gate(tmp_path: Path) -> None:
    """The same request, which image-pinned and image-user refuse, in three namespaces."""
    text = f"""
policies:
  enabled: [image-pinned]
  modes: {{image-pinned: deny}}
  overrides: [{{namespaces: ["dev-*"], modes: {{"*": audit}}}}]
exceptions: [{EXCEPTION.replace("image-user", "image-pinned")}]
"""
    async with compose(settings(tmp_path, text), with_audit=False) as parts:
        found = {}
        for namespace in ("prod", "dev-1", "shop"):
            asked = request(pod("registry.example/web:1"), namespace=namespace)
            decision = await parts.gate.decide(asked, parts.clock.monotonic() + 20)
            (violation,) = decision.violations
            found[namespace] = (decision.verdict, violation.mode, violation.exception)
    assert found == {
        "prod": (Verdict.REFUSED, Mode.DENY, ""),
        "dev-1": (Verdict.ADMITTED, Mode.AUDIT, ""),
        "shop": (Verdict.ADMITTED, Mode.DENY, "EX-1"),
    }
