from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network


def is_within(host: str, networks: str) -> bool:
    """Whether an address lies in one of these networks or addresses, separated by commas; `*` is all. Pure."""
    if networks.strip() == "*":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in _networks(networks))


@cache
def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
