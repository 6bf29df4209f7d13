"""Where a delivery may go: never to this machine, its network, or anything that is not public."""

import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from app.deliveries.apart import apart

Resolve = Callable[[str, int], Awaitable[list[str]]]

# Addresses that hold another address inside, which may be private: NAT64, 6to4, Teredo.
_CARRIERS = tuple(ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))


class ForbiddenTarget(Exception):
    """The name leads to an address that nothing is sent to."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host now, by the machine's resolver. OSError when there are none."""
    # Not in the loop's few threads: a name server that does not answer would hold them all.
    found = await apart(_look_up, host, port)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _look_up(host: str, port: int) -> list[Any]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def is_address(host: str) -> bool:
    """Whether a host is written as an address, not as a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether an address is anybody's on the Internet."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif any(found in net for net in _CARRIERS) or found.is_site_local:
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified


async def vetted(host: str, port: int, *, resolve: Resolve, private: bool) -> list[str]:
    """The addresses to connect to; ForbiddenTarget unless all the host's are public, or `private` is allowed.

    To be asked at each try, and the connection to be made to one of these: what the name says a moment later may be
    another.
    """
    addresses = await resolve(host, port)
    if not addresses:
        raise OSError("no address")
    if not private and not all(is_public(address) for address in addresses):
        raise ForbiddenTarget
    return addresses
