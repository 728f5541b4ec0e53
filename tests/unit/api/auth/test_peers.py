"""The source of a request, as reported by trusted proxies."""

from ipaddress import ip_network

import pytest

from carillon_api.auth.peers import site, source_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))

SOURCES: dict[str, tuple[str | None, list[str], str]] = {
    "no proxy": ("192.0.2.1", [], "192.0.2.1"),
    "a header that nobody trusted wrote": ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
    "one trusted proxy": ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
    "two trusted proxies": ("10.0.0.1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
    "two headers are one list": ("10.0.0.1", ["198.51.100.7", "10.0.0.2"], "198.51.100.7"),
    "what stands before the first stranger is his word": ("10.0.0.1", ["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
    "a stranger that claims a trusted chain": ("10.0.0.1", ["1.1.1.1, 10.9.9.9, 198.51.100.7"], "198.51.100.7"),
    "only trusted ones": ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    "a trusted proxy without the header": ("10.0.0.1", [], "10.0.0.1"),
    "nonsense in the header": ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
    "an empty header": ("10.0.0.1", [""], "10.0.0.1"),
    "an address with a port": ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
    "IPv6 in brackets": ("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
    "IPv6 in a longer form": ("fd00::1", ["2001:0db8:0::0007"], "2001:db8::7"),
    "a dual-stack socket": ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
    "no peer at all": (None, ["198.51.100.7"], "unknown"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_the_source_of_a_request(case: str) -> None:
    """It is the peer, or the nearest address that is not a trusted proxy's."""
    peer, forwarded, want = SOURCES[case]
    assert source_address(peer, forwarded, TRUSTED) == want


SITES = {"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "unknown": "unknown"}


@pytest.mark.parametrize("address", SITES)
def test_who_has_one_ipv6_address_has_them_all(address: str) -> None:
    """Limits on single IPv6 addresses would be ineffective."""
    assert site(address) == SITES[address]
