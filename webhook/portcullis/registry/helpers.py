"""Credential helpers of docker: programs that know a user's logins. Only commands run them, never the server.

Source: github.com/docker/docker-credential-helpers (client/command.go, credentials/error.go):
``docker-credential-<name> get`` reads the registry's name and prints JSON {ServerURL, Username, Secret}; the user name
``<token>`` marks an identity token.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from portcullis.errors import CredentialUnavailable
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, IdentityToken, RegistryCredential, Repository
from portcullis.registry.dockerconfig import DockerConfig, helper_server
from portcullis.registry.hosts import split_host
from portcullis.registry.keychain import watched_docker_config
from portcullis.registry.leases import Lease, Leases
from portcullis.registry.prefixes import Prefix, longest
from portcullis.registry.watched import UnreadableFile
from portcullis.strictjson import StrictJsonError, load_json
from portcullis.text import clean

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A part of a program's name: no folder, no option."""
_NOT_FOUND: Final = b"credentials not found in native keychain"
_IDENTITY_TOKEN: Final = "<token>"  # noqa: S105 - the mark, no token
_KEPT_SECONDS: Final = 300.0
"""How long an answer is used; the helper itself sees to it that what it gives holds longer."""
_DEPTH: Final = 5


class UserKeychain:
    """The logins of a user's docker config, credential helpers included, as docker's client finds them: the helper of
    the host (``credHelpers``), else the one for all (``credsStore``), else ``auths``.

    Args:
        path: the file; where it is not there, there are no logins.
        environ: of the helpers; its PATH says where they are.
    """

    def __init__(self, *, path: Path, environ: Mapping[str, str], limits: Limits) -> None:
        self._path = path
        self._file = watched_docker_config(path, limits)
        self._environ = dict(environ)
        self._limits = limits
        self._leases = Leases(borrow=self._borrow, lender="the credential helper", limits=limits)

    async def aclose(self) -> None:
        """Ends helpers that run."""
        await self._leases.aclose()

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:  # noqa: ARG002
        """Raises CredentialUnavailable: the file cannot be used, or the helper fails."""
        try:
            config = self._file.value() if self._path.exists() else DockerConfig()
        except UnreadableFile as error:
            raise CredentialUnavailable(f"the credential cannot be read: {error.problem}") from None
        helper = config.helpers.get(Prefix(*split_host(repository.registry))) or config.store
        if helper:
            if _NAME.fullmatch(helper) is None:
                raise CredentialUnavailable(f"{self._path} names a credential helper that is no name of a program")
            found = await self._leases.get(f"{helper} {helper_server(repository.registry)}")
            if not isinstance(found, Anonymous):
                return found
        return longest(config.logins, repository) or Anonymous()

    async def _borrow(self, key: str) -> Lease:
        helper, _, server = key.partition(" ")
        program = f"docker-credential-{helper}"
        code, printed = await self._run(program, server)
        if code != 0:
            if _NOT_FOUND in printed:
                return Lease(Anonymous(), _KEPT_SECONDS)
            said = clean(printed[:1000].decode("utf-8", "replace"), 160) or f"exit code {code}"
            raise CredentialUnavailable(f"{program} gives no credential for {clean(server, 100)}: {said}")
        return Lease(_read(printed, program), _KEPT_SECONDS)

    async def _run(self, program: str, server: str) -> tuple[int, bytes]:
        """Exit code and output, which is bounded; the program does not outlive the call."""
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                "get",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environ,
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise CredentialUnavailable(
                f"{program}, which {self._path} names for {clean(server, 100)}, cannot be run: {reason}"
            ) from None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(ConnectionError):  # one that does not read what it is asked
                process.stdin.write(server.encode())
                process.stdin.close()
                await process.stdin.wait_closed()
            limit = self._limits.credential_bytes
            printed = bytearray()
            while piece := await process.stdout.read(limit):
                printed += piece
                if len(printed) > limit:
                    raise CredentialUnavailable(f"{program} prints more than the limit credentialBytes of {limit}")
            return await process.wait(), bytes(printed)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _read(printed: bytes, program: str) -> RegistryCredential:
    try:
        answer = load_json(printed, max_depth=_DEPTH)
    except StrictJsonError:
        answer = None
    if not isinstance(answer, dict):
        raise CredentialUnavailable(f"{program} prints what is no JSON object")
    username, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str) or not secret:
        raise CredentialUnavailable(f"{program} prints no Username and Secret")
    return IdentityToken(secret) if username == _IDENTITY_TOKEN else Credential(username, secret)
