"""Addresses that are not ordinary public ones, and their purpose. Pure, standard library only; ``rules`` asks it.

Every range of the two registries is listed, including those they call globally
reachable: no public HTTP server uses the anycast addresses of RFC 7535.

- IANA IPv4 Special-Purpose Address Registry (RFC 6890, RFC 8190), and the multicast range of RFC 5771;
- IANA IPv6 Special-Purpose Address Registry (the same), and the reserved ranges of RFC 4291.

``ipaddress.is_global`` is not used: its ranges differ between Python releases, and
it ignores embedded addresses and clouds.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ClosedRange:
    """A range of addresses and its purpose."""

    network: Network
    what: str
    """For people: ``private use, RFC 1918``."""
    is_ordinary: bool = False
    """Whether ordinary servers of a private network have such addresses, like the Services of a cluster."""

    def __str__(self) -> str:
        """Return ``10.0.0.0/8 (private use, RFC 1918)``, or a single address without its prefix."""
        shown = self.network if self.network.num_addresses > 1 else self.network.network_address
        return f"{shown} ({self.what})"


_METADATA = {
    "169.254.169.254": "the metadata service of AWS, Azure, Google Cloud, Oracle and others",
    "169.254.169.253": "the DNS server of AWS",
    "169.254.169.123": "the time server of AWS",
    "169.254.169.250": "Rancher's metadata service",
    "169.254.170.2": "AWS' credentials of containers",
    "169.254.170.23": "AWS' credentials of pods",
    "169.254.0.23": "Tencent Cloud's metadata service",
    "168.63.129.16": "Azure's wire server",
    "100.100.100.200": "Alibaba Cloud's metadata service",
    "192.0.0.192": "Oracle Cloud's metadata service",
    "fd00:ec2::254": "the metadata service of AWS",
    "fd00:ec2::253": "the DNS server of AWS",
    "fd00:ec2::123": "the time server of AWS",
    "fd00:ec2::23": "AWS' credentials of pods",
    "fd20:ce::254": "Google Cloud's metadata service",
    "fd00:42::42": "Scaleway's metadata service",
    "fd00:c1::a9fe:a9fe": "Oracle Cloud's metadata service",
}
_ORDINARY = {
    "10.0.0.0/8": "private use, RFC 1918",
    "172.16.0.0/12": "private use, RFC 1918",
    "192.168.0.0/16": "private use, RFC 1918",
    "100.64.0.0/10": "shared address space, RFC 6598",
    "fc00::/7": "private use: unique local, RFC 4193",
}
_CLOSED = {
    "0.0.0.0/8": "this network, RFC 791",
    "127.0.0.0/8": "loopback, RFC 1122",
    "169.254.0.0/16": "link-local, RFC 3927",
    "192.0.0.0/24": "IETF protocol assignments, RFC 6890",
    "192.0.2.0/24": "documentation, RFC 5737",
    "192.31.196.0/24": "AS112, RFC 7535",
    "192.52.193.0/24": "AMT, RFC 7450",
    "192.88.99.0/24": "relays from IPv6 to IPv4, RFC 7526",
    "192.175.48.0/24": "AS112, RFC 7534",
    "198.18.0.0/15": "benchmarking, RFC 2544",
    "198.51.100.0/24": "documentation, RFC 5737",
    "203.0.113.0/24": "documentation, RFC 5737",
    "224.0.0.0/4": "multicast, RFC 5771",
    "255.255.255.255/32": "broadcast, RFC 919",
    "240.0.0.0/4": "reserved, RFC 1112",
    "::/128": "unspecified, RFC 4291",
    "::1/128": "loopback, RFC 4291",
    "::/96": "IPv4-compatible, RFC 4291",
    "64:ff9b:1::/48": "translation to IPv4 within a network, RFC 8215",
    "100::/64": "discarded, RFC 6666",
    "100:0:0:1::/64": "dummy prefix, RFC 9780",
    "2001::/32": "Teredo, RFC 4380",
    "2001:2::/48": "benchmarking, RFC 5180",
    "2001:3::/32": "AMT, RFC 7450",
    "2001:4:112::/48": "AS112, RFC 7535",
    "2001:10::/28": "ORCHID, RFC 4843",
    "2001:20::/28": "ORCHIDv2, RFC 7343",
    "2001:30::/28": "drone remote identifiers, RFC 9374",
    "2001::/23": "IETF protocol assignments, RFC 2928",
    "2001:db8::/32": "documentation, RFC 3849",
    "2002::/16": "6to4, RFC 3056",
    "2620:4f:8000::/48": "AS112, RFC 7534",
    "3fff::/20": "documentation, RFC 9637",
    "5f00::/16": "segment routing, RFC 9602",
    "fe80::/10": "link-local, RFC 4291",
    "fec0::/10": "site-local, RFC 3879",
    "ff00::/8": "multicast, RFC 4291",
}
METADATA = tuple(ClosedRange(ip_network(address), what) for address, what in _METADATA.items())
"""Single addresses that serve credentials, names or time to the machines of a cloud."""
RANGES = (
    *METADATA,
    *(ClosedRange(ip_network(network), what, is_ordinary=True) for network, what in _ORDINARY.items()),
    *(ClosedRange(ip_network(network), what) for network, what in _CLOSED.items()),
)
"""All closed IPv4 ranges, and the IPv6 ranges with a name; of two that contain an address, the narrower comes first."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_UNASSIGNED = "outside 2000::/3, the global unicast range, RFC 4291"
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP_HALVES = (0x0000_5EFE, 0x0200_5EFE)
"""The prefix of the IPv4 address in an interface identifier of ISATAP (RFC 5214, 6.1)."""


def effective(address: Address) -> Address:
    """Return the IPv4 address that is embedded in an IPv6 address, if a connection goes there; else the address itself.

    That is the case for ``::ffff:0:0/96``, which the system connects to by IPv4,
    and for ``64:ff9b::/96``, through which networks without IPv4 reach every IPv4
    server (RFC 6052; DNS64 returns these addresses). Teredo, 6to4 and
    ``64:ff9b:1::/48`` also embed an address but are closed as a whole: no public
    server depends on them, the first two are deprecated, and the format of the
    third is local to each network.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def closed_range(address: Address) -> ClosedRange | None:
    """Return the range that closes an address, or None if the address is an ordinary public one.

    An ISATAP address is closed if the network in its first half or the IPv4
    address in its second half is closed.
    """
    address = effective(address)
    found = next((each for each in RANGES if address in each.network), None)
    if found is not None or isinstance(address, IPv4Address):
        return found
    if address not in _GLOBAL_UNICAST:
        return ClosedRange(IPv6Network((int(address), 128)), _UNASSIGNED)
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP_HALVES:
        return closed_range(IPv4Address(int(address) & 0xFFFF_FFFF))
    return None


def is_metadata(address: Address) -> bool:
    """Return whether this is the address of a cloud's metadata service or a similar service."""
    return any(effective(address) in each.network for each in METADATA)


def parse_address(text: str) -> Address:
    """Parse an address; a zone (``%eth0``) is dropped, because it does not matter for access.

    Raises:
        ValueError: The text is not an address.

    """
    return ip_address(text.partition("%")[0])
