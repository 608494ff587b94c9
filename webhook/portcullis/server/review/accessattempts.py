"""How often somebody may present a token that is none: few times a minute from one place, and some more from all."""

import ipaddress
from collections import OrderedDict, deque

from portcullis.limits import Limits
from portcullis.ports import Clock

WINDOW_SECONDS = 60.0
_PLACES = 10_000
"""Places that are remembered; whoever has more addresses is held by the bound on all."""
_IPV6_SITE = 64
"""Bits of an address that one household or host has all of."""


class Attempts:
    """Counts attempts that failed or still go on."""

    def __init__(self, *, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._all: deque[float] = deque()
        self._places: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, address: str) -> bool:
        """Whether ``address`` may try now; then it counts as failed until :meth:`succeeded`."""
        now = self._clock.monotonic()
        place = place_of(address)
        mine = self._places.setdefault(place, deque())
        self._places.move_to_end(place)
        for times in (mine, self._all):
            while times and times[0] <= now - WINDOW_SECONDS:
                times.popleft()
        if len(mine) >= self._limits.login_failures or len(self._all) >= self._limits.login_failures_in_all:
            return False
        mine.append(now)
        self._all.append(now)
        while len(self._places) > _PLACES:
            self._places.popitem(last=False)
        return True

    def succeeded(self, address: str) -> None:
        """The attempt that was begun last there was none."""
        mine = self._places.get(place_of(address))
        if mine:
            mine.pop()
        if self._all:
            self._all.pop()


def place_of(address: str) -> str:
    """The address, of IPv6 only the part that a provider gives to one customer."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _IPV6_SITE), strict=False))
