"""The source of a request: the peer, or the address that a trusted proxy reports. Pure; ``access`` calls it."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from carillon_api.settings import Network

UNKNOWN = "unknown"
_IPV6_SITE_BITS = 64


def source_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address that a request comes from.

    ``X-Forwarded-For`` is read from its end, where the nearest proxy appends, and only as long as each hop is a
    trusted proxy: the client may have forged anything before the first other address.

    Args:
        peer: The remote address of the connection; None if it has none, as on a Unix socket.
        forwarded_for: The header's values, in order.
        trusted: The networks of the proxies.

    """
    address = peer or UNKNOWN
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    while hops and is_in(address, trusted):
        named = _canonical(hops.pop())
        if named is None:
            break
        address = named
    return _canonical(address) or address


def site(address: str) -> str:
    """Return the smallest network that belongs to one party: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _IPV6_SITE_BITS), strict=False))
    return str(parsed)


def _canonical(text: str) -> str | None:
    """Return an address in canonical form, without the port and brackets that some proxies add; None if invalid.

    An IPv4-mapped IPv6 address, as a dual-stack socket reports it, becomes the IPv4 address.
    """
    host = text.removeprefix("[").partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        parsed = ip_address(host)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address belongs to one of the networks; a text that is no address belongs to none."""
    canonical = _canonical(address)
    return canonical is not None and any(ip_address(canonical) in network for network in networks)
