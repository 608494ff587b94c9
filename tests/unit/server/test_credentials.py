"""The section registries.credentials, and the keychain that it becomes."""

import json
import os
import re
from pathlib import Path

import pytest

from fakes.pages import OPERATORS
from portcullis.errors import ConfigError
from portcullis.model.image import Access, Anonymous, Credential, RegistryCredential, Repository
from portcullis.registry.hosts import HostRules
from portcullis.registry.keychain import StaticKeychain
from portcullis.server.credentials import open_keychain
from portcullis.server.settings import Settings, load_settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration and what it names: password files a, b and c, and two docker configs."""
    for name in "abc":
        (tmp_path / name).write_text(f"password-{name}\n")
    (tmp_path / "docker.json").write_text(docker_config({"one.example": "docker", "both.example/acme": "docker"}))
    (tmp_path / "second.json").write_text(docker_config({"one.example": "second", "two.example": "second"}))
    (tmp_path / "home" / ".docker").mkdir(parents=True)
    (tmp_path / "home" / ".docker" / "config.json").write_text(
        docker_config({"one.example": "home", "user.example": "home"})
    )
    return tmp_path


def docker_config(logins: dict[str, str], **more: object) -> str:
    auths = {place: {"username": "ci", "password": password} for place, password in logins.items()}
    return json.dumps({"auths": auths, **more})


def settings(folder: Path, text: str) -> Settings:
    path = folder / "portcullis.yaml"
    path.write_text(f"registries: {{{text}}}")
    return load_settings(path, {})


async def found(
    settings: Settings, *places: str, user: dict[str, str] | None = None
) -> list[RegistryCredential | Anonymous]:
    async with open_keychain(settings, hosts=HostRules(), user=user) as keychain:
        return [await keychain.credential(Repository(*place.split("/", 1)), Access()) for place in places]


async def password(settings: Settings, place: str, user: dict[str, str] | None = None) -> str | None:
    (credential,) = await found(settings, place, user=user)
    return credential.password if isinstance(credential, Credential) else None


ALL = """
hosts: {both.example: {username: ci, passwordFile: a}},
credentials: [
    {dockerConfig: docker.json},
    {match: both.example/acme/web, username: ci, passwordFile: b},
    {match: "deep.example:5000/x", username: ci, passwordFile: c},
    {dockerConfig: second.json}]
"""


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("both.example/other", "password-a"),
        ("both.example/acme/web", "password-b"),
        ("both.example/acme/web/x", "password-b"),
        ("both.example/acme/webevil", "password-a"),  # what has a match comes before the files
        ("deep.example:5000/x/y", "password-c"),
        ("deep.example:5000/xy", None),
        ("deep.example/x", None),
        ("one.example/x", "docker"),
        ("two.example/x", "second"),
        ("user.example/x", None),
        ("else.example/x", None),
    ],
)
async def test_the_order_of_the_sources(folder: Path, place: str, wanted: str | None) -> None:
    assert await password(settings(folder, ALL), place) == wanted


async def test_pull_secrets_come_before_all_others(folder: Path) -> None:
    """As for the kubelet: what it pulls with is what is judged with."""
    pulls = StaticKeychain(credentials={"one.example/team": Credential("ci", "pulled")})
    chosen = settings(folder, "credentials: [{match: one.example/team/web, username: ci, passwordFile: a}]")
    async with open_keychain(chosen, hosts=HostRules(), pull_secrets=pulls) as keychain:
        answers = [await keychain.credential(Repository("one.example", path), Access()) for path in ("team/web", "a")]
    assert answers == [Credential("ci", "pulled"), Anonymous()]


async def test_nothing_of_a_secret_is_in_the_revision(folder: Path) -> None:
    document = settings(folder, ALL).document
    assert b"password-" not in document
    assert b"both.example/acme/web" in document


async def test_a_secret_that_rotates_is_used_without_a_restart(folder: Path) -> None:
    chosen = settings(folder, ALL)
    repository = Repository("both.example", "x")
    async with open_keychain(chosen, hosts=HostRules()) as keychain:
        await keychain.credential(repository, Access())
        (folder / "new").write_text("rotated")
        (folder / "new").replace(folder / "a")
        assert await keychain.credential(repository, Access()) == Credential("ci", "rotated")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("credentials: [{}]", "either username and passwordFile, or dockerConfig, or provider"),
        ("credentials: [{match: r.example}]", "either username"),
        ("credentials: [{match: r.example, username: ci}]", "username and passwordFile go together"),
        ("credentials: [{username: ci, passwordFile: a}]", "match says what"),
        ("credentials: [{match: r.example, dockerConfig: docker.json}]", "dockerConfig has no match"),
        ("credentials: [{dockerConfig: docker.json, provider: ecr}]", "either username"),
        ("credentials: [{provider: aws}]", "'ecr', 'gcp' or 'acr' is expected"),
        ("credentials: [{provider: ecr, keyFile: a}]", "keyFile goes with the provider gcp"),
        ('credentials: [{match: "https://r.example", username: ci, passwordFile: a}]', r"credentials\.0\.match: "),
        ("credentials: [{match: acme, username: ci, passwordFile: a}]", r"credentials\.0\.match: "),
        ("credentials: [{match: r.example//x, username: ci, passwordFile: a}]", "first segments of a path"),
        ("credentials: [{match: r.example/x/, username: ci, passwordFile: a}]", "first segments of a path"),
        ("credentials: [{match: r.example/X, username: ci, passwordFile: a}]", "first segments of a path"),
        ('credentials: [{match: "*.example", username: ci, passwordFile: a}]', r"credentials\.0\.match: "),
        ("credentials: [{match: r.example, username: ci, passwordFile: a, password: b}]", "no such key"),
    ],
)
def test_what_is_no_source(folder: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings(folder, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "credentials: [{match: r.example, username: ci, passwordFile: none}]",
            r"registries\.credentials\.0\.passwordFile: .*none cannot be read",
        ),
        ("credentials: [{dockerConfig: none}]", r"registries\.credentials\.0\.dockerConfig: .*none cannot be read"),
        ("credentials: [{dockerConfig: a}]", r"registries\.credentials\.0\.dockerConfig: .*a is not JSON"),
        (
            "hosts: {r.example: {username: ci, passwordFile: none}}",
            r"registries\.hosts\.r\.example\.passwordFile: .*none cannot be read",
        ),
        (
            """credentials: [{match: r.example/x, username: a, passwordFile: a},
               {match: R.example/x, username: b, passwordFile: b}]""",
            r"registries\.credentials\.1\.match: there is another credential for R\.example/x",
        ),
        (
            """hosts: {r.example: {username: ci, passwordFile: a}},
               credentials: [{match: r.example, username: b, passwordFile: b}]""",
            r"credentials\.0\.match: there is another",
        ),
        ("credentials: [{provider: gcp, keyFile: a}]", r"registries\.credentials\.0: .*no key of a service account"),
        (
            "credentials: [{provider: ecr, match: x.amazonaws.com.attacker.example}]",
            "is no registry of the provider ecr",
        ),
        ("credentials: [{provider: acr, match: gcr.io/demo}]", r"gcr\.io/demo is no registry of the provider acr"),
    ],
)
async def test_sources_that_cannot_be_used(folder: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await found(settings(folder, text))


async def test_providers_are_asked_for_their_own_hosts_only(folder: Path) -> None:
    chosen = settings(folder, "credentials: [{provider: ecr}, {provider: gcp}, {provider: acr, match: d.azurecr.io/x}]")
    places = ("registry.example/x", "x.azurecr.io.attacker/x", "d.azurecr.io/y", "e.azurecr.io/x", "gcr.io.attacker/x")
    assert await found(chosen, *places) == [Anonymous()] * len(places)


def test_the_example_of_the_page_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(registries:\n  hosts:.*?credentials:.*?)```", OPERATORS, re.DOTALL)
    (tmp_path / "portcullis.yaml").write_text(example)
    chosen = load_settings(tmp_path / "portcullis.yaml", {}).registries
    assert [source.provider for source in chosen.credentials] == [None, None, "ecr", "acr", "gcp"]


class TestCommands:
    """The user's own docker config counts for commands, last of all; helpers may run for them alone."""

    def home(self, folder: Path) -> dict[str, str]:
        return {"HOME": str(folder / "home"), "PATH": os.environ["PATH"]}

    @pytest.mark.parametrize(
        ("place", "wanted"),
        [
            ("one.example/x", "docker"),
            ("two.example/x", "second"),
            ("user.example/x", "home"),
            ("else.example/x", None),
        ],
    )
    async def test_the_configuration_goes_first(self, folder: Path, place: str, wanted: str | None) -> None:
        assert await password(settings(folder, ALL), place, self.home(folder)) == wanted

    async def test_the_variable_docker_config_names_another_folder(self, folder: Path) -> None:
        (folder / "config.json").write_text(docker_config({"user.example": "variable"}))
        user = self.home(folder) | {"DOCKER_CONFIG": str(folder)}
        assert await password(Settings(), "user.example/x", user) == "variable"

    @pytest.mark.parametrize("user", [{}, {"HOME": "/nowhere"}, {"HOME": "", "DOCKER_CONFIG": ""}])
    async def test_a_user_without_one(self, folder: Path, user: dict[str, str]) -> None:
        assert await password(Settings(), "user.example/x", user) is None

    async def test_helpers_run_for_commands_and_not_in_the_server(self, folder: Path) -> None:
        program = folder / "docker-credential-x"
        program.write_text("""#!/bin/sh\necho '{"Username": "ci", "Secret": "helped"}'\n""")
        program.chmod(0o755)
        (folder / "docker.json").write_text(docker_config({}, credsStore="x"))
        chosen = settings(folder, "credentials: [{dockerConfig: docker.json}]")
        assert await password(chosen, "r.example/x", {"PATH": f"{folder}:/bin"}) == "helped"
        with pytest.raises(ConfigError, match=r"credentials\.0\.dockerConfig: .*which only commands run"):
            await found(chosen)

    @pytest.mark.parametrize(("name", "words"), [("none", "cannot be read"), ("a", "is not JSON")])
    async def test_one_that_the_configuration_names_must_be_there(self, folder: Path, name: str, words: str) -> None:
        chosen = settings(folder, f"credentials: [{{dockerConfig: {name}}}]")
        with pytest.raises(ConfigError, match=rf"credentials\.0\.dockerConfig: .*{words}"):
            await found(chosen, user={})
