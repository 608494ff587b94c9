"""Credential helpers: real programs, run for commands only."""

import json
import os
from pathlib import Path

import pytest

from portcullis.errors import CredentialUnavailable
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, IdentityToken, Repository
from portcullis.registry.helpers import UserKeychain

pytestmark = pytest.mark.anyio

NOBODY = Access()
WEB = Repository("registry.example", "acme/web")
HUB = Repository("docker.io", "library/nginx")
PLAIN = {"registry.example": {"username": "file", "password": "s3cret"}}


class User:
    """A home with a docker config, and a folder of programs that is the whole PATH of helpers."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.json"
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.limits = Limits(credential_bytes=1000, credential_seconds=20.0)

    def config(self, document: object) -> None:
        self.path.write_text(json.dumps(document))

    def helper(self, name: str, script: str) -> Path:
        """A program in sh. It writes down what it is asked; gives the file where that stands."""
        asked = self.programs / f"{name}.asked"
        program = self.programs / f"docker-credential-{name}"
        program.write_text(f'#!/bin/sh\nread -r server\necho "$1 $server" >> {asked}\n{script}\n')
        program.chmod(0o755)
        return asked

    def keychain(self) -> UserKeychain:
        return UserKeychain(path=self.path, environ={"PATH": str(self.programs), "WORD": "w"}, limits=self.limits)


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def says(**answer: str) -> str:
    return f"echo '{json.dumps(answer)}'"


async def test_no_config_is_no_login(user: User) -> None:
    assert await user.keychain().credential(WEB, NOBODY) == Anonymous()


async def test_a_login_in_the_file(user: User) -> None:
    user.config({"auths": PLAIN})
    assert await user.keychain().credential(WEB, NOBODY) == Credential("file", "s3cret")


async def test_a_helper_of_the_host_goes_before_that_of_all(user: User) -> None:
    special = user.helper("special", says(ServerURL="registry.example", Username="ci", Secret="one"))
    general = user.helper("general", says(Username="<token>", Secret="refresh"))
    user.config({"auths": PLAIN, "credsStore": "general", "credHelpers": {"registry.example": "special"}})
    keychain = user.keychain()
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "one")
    assert await keychain.credential(HUB, NOBODY) == IdentityToken("refresh")
    assert special.read_text() == "get registry.example\n"
    assert general.read_text() == "get https://index.docker.io/v1/\n"


async def test_a_helper_is_asked_once(user: User) -> None:
    asked = user.helper("x", says(Username="ci", Secret="one"))
    user.config({"credsStore": "x"})
    keychain = user.keychain()
    for path in ("a", "b", "c"):
        await keychain.credential(Repository("registry.example", path), NOBODY)
    assert asked.read_text() == "get registry.example\n"


async def test_a_helper_that_does_not_know_the_host(user: User) -> None:
    """The file counts then, and without it nobody's login."""
    user.helper("x", "echo credentials not found in native keychain; exit 1")
    user.config({"auths": PLAIN, "credsStore": "x"})
    keychain = user.keychain()
    assert await keychain.credential(WEB, NOBODY) == Credential("file", "s3cret")
    assert await keychain.credential(HUB, NOBODY) == Anonymous()


async def test_a_helper_knows_the_environment_of_the_user_alone(user: User) -> None:
    user.helper("x", 'echo "{\\"Username\\": \\"$WORD$HOME\\", \\"Secret\\": \\"s\\"}"')
    user.config({"credsStore": "x"})
    assert "HOME" in os.environ
    assert await user.keychain().credential(WEB, NOBODY) == Credential("w", "s")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo the wallet is locked; exit 1", "docker-credential-x .*registry.example: the wallet is locked"),
        ("exit 3", "exit code 3"),
        ("echo hunter2", "no JSON object"),
        ("echo '[\"hunter2\"]'", "no JSON object"),
        (says(Username="ci"), "no Username and Secret"),
        (says(Username="ci", Secret=""), "no Username and Secret"),
        ('echo \'{"Username": 1, "Secret": "hunter2"}\'', "no Username and Secret"),
        ("while :; do echo hunter2; done", "limit credentialBytes of 1000"),
        ("kill -9 $$", "exit code -9"),
    ],
)
async def test_helpers_that_fail(user: User, script: str, words: str) -> None:
    user.helper("x", script)
    user.config({"auths": PLAIN, "credsStore": "x"})
    with pytest.raises(CredentialUnavailable, match=words) as caught:
        await user.keychain().credential(WEB, NOBODY)
    assert "hunter2" not in caught.value.message


async def test_a_helper_that_hangs_is_ended(user: User) -> None:
    """It does not outlive the time that it has: its file of the process id names no process."""
    user.helper("x", f"echo $$ > {user.programs}/pid; exec 2>&-; while :; do :; done")
    user.config({"credsStore": "x"})
    user.limits = Limits(credential_seconds=1.0)
    with pytest.raises(CredentialUnavailable, match="limit credentialSeconds of 1"):
        await user.keychain().credential(WEB, NOBODY)
    with pytest.raises(ProcessLookupError):
        os.kill(int((user.programs / "pid").read_text()), 0)


async def test_a_helper_that_is_not_installed_is_named(user: User) -> None:
    user.config({"auths": PLAIN, "credsStore": "desktop"})
    with pytest.raises(
        CredentialUnavailable, match=r"docker-credential-desktop, which .*config\.json names .*No such file"
    ):
        await user.keychain().credential(WEB, NOBODY)


@pytest.mark.parametrize("name", ["../bin/x", "-x", "a/b", "x y", "x;id", ".x"])
async def test_a_helper_is_a_name_and_no_path(user: User, name: str) -> None:
    asked = user.helper("x", says(Username="ci", Secret="one"))
    user.config({"credsStore": name})
    with pytest.raises(CredentialUnavailable, match="no name of a program"):
        await user.keychain().credential(WEB, NOBODY)
    assert not asked.exists()


async def test_a_broken_config_is_named(user: User) -> None:
    user.path.write_text("{")
    with pytest.raises(CredentialUnavailable, match=r"config\.json is not JSON"):
        await user.keychain().credential(WEB, NOBODY)
