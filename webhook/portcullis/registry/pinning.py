"""One credential for one fetch, whatever becomes of the credential meanwhile.

What is fetched is kept under the fingerprint of the credential that was looked at before (facts.py). A fetch asks for
the credential again with each of its requests, and goes on for a minute at worst. Were a pull secret made, changed or
deleted meanwhile, one tenant's answers would be kept under the fingerprint of another: of nobody, say, whom everybody
else is. Within :func:`pinned`, and in the tasks that are begun there, the keychain's first answer holds to the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from portcullis.errors import RegistryError
from portcullis.model.image import Access, Anonymous, RegistryCredential, Repository
from portcullis.ports import Keychain

_Answer = RegistryCredential | Anonymous | RegistryError
_Pins = dict[tuple[Repository, Access], _Answer]

_PINS: Final[ContextVar[_Pins | None]] = ContextVar("pins", default=None)


@contextmanager
def pinned() -> Iterator[None]:
    """Credentials that are looked up here stay what they are, also in tasks that are begun here and outlive it. Within
    another such block, that one holds."""
    if _PINS.get() is not None:
        yield
        return
    token = _PINS.set({})
    try:
        yield
    finally:
        _PINS.reset(token)


class PinningKeychain:
    """A keychain that keeps to its first answers within :func:`pinned`."""

    def __init__(self, *, keychain: Keychain) -> None:
        self._keychain = keychain

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:
        """As the port says."""
        pins = _PINS.get()
        if pins is None:
            return await self._keychain.credential(repository, access)
        key = (repository, access)
        if key not in pins:
            answer = await self._answer(repository, access)
            pins.setdefault(key, answer)  # another task may have been told meanwhile
        found = pins[key]
        if isinstance(found, RegistryError):
            raise type(found)(found.message)
        return found

    async def _answer(self, repository: Repository, access: Access) -> _Answer:
        try:
            return await self._keychain.credential(repository, access)
        except RegistryError as error:
            return error
