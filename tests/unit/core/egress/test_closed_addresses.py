"""Which addresses HTTP tasks may not reach, in any notation, and which stay open."""

# ruff: noqa: RUF001  # characters that look like others are what is tested

import random
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from carillon_core.domain.egress.rules import (
    CLOSED,
    refusal,
)
from carillon_core.domain.egress.special_addresses import RANGES, Address, closed_range, effective
from carillon_runner.outcome import TaskFailedError
from carillon_runner.tasks.http_exchange import checked_addresses, parse_target

PUBLIC = "93.184.216.34"
BLOCKED = {
    "loopback": "127.0.0.1 127.0.0.0 127.0.1.1 127.1.2.3 127.255.255.254 127.255.255.255 [::1] [0:0:0:0:0:0:0:1]",
    "this host": "0.0.0.0 0.0.0.1 0.255.255.255 [::] [0::0]",
    "private networks": (
        "10.0.0.0 10.0.0.1 10.96.0.1 10.255.255.255 172.16.0.0 172.16.0.1 172.20.10.1 172.31.255.255 192.168.0.0 "
        "192.168.1.1 192.168.255.255 100.64.0.0 100.64.0.1 100.100.100.100 100.127.255.255 [fc00::] [fc00::1] "
        "[fd00::1] [fd12:3456:789a::1] [fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"
    ),
    "link-local": "169.254.0.0 169.254.0.1 169.254.1.1 169.254.255.255 [fe80::] [fe80::1] [FE80::dead:beef] [febf::1]",
    "clouds' metadata services": (
        "169.254.169.254 169.254.169.253 169.254.169.123 169.254.170.2 169.254.170.23 169.254.169.250 169.254.0.23 "
        "168.63.129.16 100.100.100.200 192.0.0.192 [fd00:ec2::254] [fd00:ec2::23] [fd20:ce::254] [fd00:42::42] "
        "[fd00:c1::a9fe:a9fe] [::ffff:169.254.169.254] [64:ff9b::a9fe:a9fe] [::ffff:168.63.129.16]"
    ),
    "protocols' own": "192.0.0.0 192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.170 192.0.0.255 192.88.99.0 192.88.99.1",
    "anycast that is nobody's server": "192.31.196.1 192.52.193.1 192.175.48.1 [2620:4f:8000::1] [2001:4:112::1]",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 203.0.113.255 [2001:db8::1] [3fff::1] [3fff:fff::1]",
    "benchmarking": "198.18.0.0 198.18.0.1 198.19.255.255 [2001:2::1]",
    "multicast": "224.0.0.0 224.0.0.1 239.255.255.250 239.255.255.255 [ff00::] [ff02::1] [ff0e::1] [ffff::1]",
    "reserved, and broadcast": "240.0.0.0 240.0.0.1 250.1.2.3 255.255.255.254 255.255.255.255",
    "IPv4 within IPv6: mapped": (
        "[::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:127.0.0.1] [0:0:0:0:0:ffff:127.0.0.1] [::ffff:0.0.0.0] "
        "[::ffff:10.0.0.1] [::ffff:a00:1] [::ffff:192.168.1.1] [::ffff:172.16.0.1] [::ffff:224.0.0.1] "
        "[::ffff:ffff:ffff]"
    ),
    "IPv4 within IPv6: compatible": "[::127.0.0.1] [::7f00:1] [::10.0.0.1] [::8.8.8.8] [::2] [::ffff]",
    "IPv4 within IPv6: translated": (
        "[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::10.0.0.1] [64:ff9b::192.168.0.1] [64:ff9b::] "
        "[64:ff9b:1::] [64:ff9b:1::7f00:1] [64:ff9b:1::8.8.8.8] [64:ff9b:1:ffff::1] [64:ff9b:2::1] "
        "[::ffff:0:127.0.0.1] [::ffff:0:8.8.8.8]"
    ),
    "IPv4 within IPv6: tunnels": (
        "[2002::1] [2002:7f00:1::] [2002:7f00:1::1] [2002:a00:1::1] [2002:808:808::1] [2001::1] "
        "[2001:0:7f00:1::] [2001:0:4136:e378:8000:63bf:3fff:fdd2] [2001:0:808:808::1] [2001:4860::5efe:127.0.0.1] "
        "[2001:4860::5efe:10.0.0.1] [2001:4860::200:5efe:192.168.1.1] [2606:2800::200:5efe:169.254.169.254] "
        "[fe80::5efe:8.8.8.8]"
    ),
    "IPv6 that is no global unicast": (
        "[100::] [100::1] [100:0:0:1::1] [2001:1::1] [2001:3::1] [2001:10::1] [2001:1f::1] [2001:20::1] [2001:2f::1] "
        "[2001:30::1] [2001:1ff::1] [fec0::1] [feff::1] [5f00::1] [400::1] [800::1] [1000::1] [4000::1] [6000::1] "
        "[8000::1] [a000::1] [c000::1] [e000::1] [f000::1] [f800::1] [fe00::1] [1fff::1]"
    ),
    "digits and dots of other scripts": (
        "１２７.０.０.１ 127。0。0。1 127．0．0．1 127｡0｡0｡1 ①②⑦.⓪.⓪.① 1２7.0.0.1 "
        "１０.0.0.1 １６９。２５４。１６９。２５４ "
        "127.0.0.1\u200b 12\u00ad7.0.0.1 \u206012７.0.0.1 𝟙𝟚𝟟.𝟘.𝟘.𝟙 127.0.0.\u00b9 ¹²⁷.⁰.⁰.¹"
    ),
    "a dot at the end": "127.0.0.1. 10.0.0.1. 169.254.169.254.",
    "names of this machine": "localhost LOCALHOST LocalHost ｌｏｃａｌｈｏｓｔ ⓛⓞⓒⓐⓛⓗⓞⓢⓣ local\u00adhost",
    "names of metadata services": (
        "metadata.google.internal METADATA.google.internal metadata.google.internal. metadata.goog instance-data "
        "instance-data.ec2.internal metadata.azure.internal rancher-metadata metadata.tencentyun.com "
        "ｍetadata.google.internal metadata。google。internal"
    ),
    "what a user and a password hide": (
        f"{PUBLIC}@127.0.0.1 {PUBLIC}:80@127.0.0.1 a:b@127.0.0.1 example.com@[::1] %31@127.0.0.1 a@b@127.0.0.1 "
        "me:@10.0.0.1 @127.0.0.1 :@127.0.0.1 example.com%23@127.0.0.1 example.com%2f@127.0.0.1"
    ),
    "ports": "127.0.0.1:80 127.0.0.1:443 127.0.0.1:65535 [::1]:22 127.0.0.1: 169.254.169.254:80",
    "what follows the host": (
        "127.0.0.1#@example.com 127.0.0.1?@example.com 127.0.0.1/@example.com 127.0.0.1#.example.com"
    ),
}
"""Authorities of closed addresses, by category."""
MALFORMED = {
    "an address as the C library reads it": (
        "2130706433 2130706434 3232235521 167772161 2852039166 134744072 0 1 127.1 127.0.1 10.1 192.168.257 0x7f.1 "
        "0x7f000001 0X7F000001 0x7f.0x0.0x0.0x1 0x7F.0.0.1 127.0.0.0x1 0177.0.0.1 0177.1 017700000001 00177.0.0.1 "
        "127.0.0.01 127.000.000.001 010.0.0.1 0x0a000001 012.0.0.1 0xa9fea9fe 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 "
        "169.254.43518 169.16689662 0x00000000 00 0x0 000.0.0.0"
    ),
    "a number that is no address": (
        "256.0.0.1 127.0.0.256 1.2.3.4.5 4294967296 99999999999 127.0.0.1.. example.1 example.0x1 127..0.1 0xg.1 "
        "127.0.0.1.1 1.2.3 08.8.8.8"
    ),
    "the same in other digits": "２１３０７０６４３３ ０x7f.1 0ｘ7f000001 １２７.１ 127。1 ⓪177.0.0.1",
    "an escape": (
        "%31%32%37.0.0.1 127%2e0%2e0%2e1 127.0.0.1%2f 127.0.0.1%00 127.0.0.1%00.example.com %6c%6f%63%61%6chost "
        "localhost%20 localhost%23 [::1%25lo] [fe80::1%25eth0] 127.0.0.1%09"
    ),
    "a zone": "[::1%lo] [fe80::1%1] [fe80::1%eth0] [::ffff:127.0.0.1%1] [fe80::1%]",
    "a backslash": "127.0.0.1\\@example.com example.com\\@127.0.0.1 127.0.0.1\\ \\127.0.0.1 example.com\\.127.0.0.1",
    "a control character": (
        "127.0.0.1\t 127.\t0.0.1 127.0.0.1\r 127.0.0.1\n@example.com local\nhost \x00127.0.0.1 127.0.0.1\x00 \x7f "
        "localhost\x1f 127.0.0.1\x0b"
    ),
    "brackets": (
        "[127.0.0.1] [localhost] [::1 ::1] [::1]x [::1].example.com x[::1] [::1][::1] [[::1]] [] [::1]@[::1]x "
        "[v1.127.0.0.1] [::127.0.0.0x1] [::ffff:127.1] ::1 [:::1] [1::2::3] [12345::] [::1]:x [::1]:80:80"
    ),
    "another host than one": "127.0.0.1,example.com 127.0.0.1;x 127.0.0.1|x 127.0.0.1^x {127.0.0.1} <127.0.0.1> *.svc",
    "no host": ": :80 @ @:80 a:b@",
    "two ports": "127.0.0.1:80:80 127.0.0.1:99999 10.0.0.1:0 127.0.0.1:-1 127.0.0.1:８０ 127.0.0.1:80@ 127.0.0.1：80",
}
"""Authorities that are invalid or that programs parse differently, by category."""


def rows(table: dict[str, str]) -> list[tuple[str, str]]:
    """Return each entry with its category; a single space separates entries, other white space is part of them."""
    return [(sentence, entry) for sentence, entries in table.items() for entry in entries.split(" ") if entry]


@pytest.mark.parametrize(("sentence", "authority"), rows(BLOCKED))
def test_what_leads_inward_is_blocked(sentence: str, authority: str) -> None:
    """The authority is parsed, resolved by the C library and checked, as in the runner."""
    with pytest.raises(TaskFailedError) as caught:
        checked_addresses(parse_target(f"http://{authority}/"), CLOSED)
    assert caught.value.reason == "BlockedAddress", sentence
    assert "CARILLON_HTTP_ALLOW on the operator" in caught.value.message
    assert "http://" not in caught.value.message


@pytest.mark.parametrize(("sentence", "authority"), rows(MALFORMED))
def test_what_programs_read_differently_is_refused(sentence: str, authority: str) -> None:
    """An ambiguous authority is refused before any look-up, even if the list allows its address."""
    with pytest.raises(TaskFailedError) as caught:
        parse_target(f"http://{authority}/")
    assert caught.value.reason == "InvalidRequest", sentence
    assert len(authority) == 1 or authority not in caught.value.message
    if sentence == "an address as the C library reads it":
        assert caught.value.message.endswith("write an address as four decimal numbers, such as 192.0.2.1")


def test_the_tables_are_long() -> None:
    """The tables keep their size, so that an edit does not drop rows unnoticed."""
    assert len(rows(BLOCKED)) >= 200
    assert len(rows(MALFORMED)) >= 100


@pytest.mark.parametrize("text", MALFORMED["an address as the C library reads it"].split())
def test_the_c_library_reads_these_as_addresses(text: str) -> None:
    """The C library accepts every entry, so each is a real way to reach an address."""
    ((*_, address), *_) = socket.getaddrinfo(text, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    IPv4Address(address[0])


@pytest.mark.parametrize(
    "authority",
    [
        *("8.8.8.8", "1.1.1.1", PUBLIC, f"{PUBLIC}.", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0"),
        *("100.63.255.255", "100.128.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
        *("192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"),
        *("168.63.129.15", "168.63.129.17", "223.255.255.255", "1.0.0.0", "203.0.112.255", "203.0.114.0"),
        *("[2606:2800:220:1::1]", "[2001:4860:4860::8888]", "[2001:200::1]", "[2003::1]", "[2400::1]", "[3ffe::1]"),
        *("[::ffff:8.8.8.8]", "[64:ff9b::8.8.8.8]", "[2001:4860::5efe:8.8.8.8]", "[2a00:1450::1]:8443"),
        *(
            "８.８.８.８",
            f"me:word@{PUBLIC}:8080",
            f"127.0.0.1@{PUBLIC}",
            f"{PUBLIC}#@127.0.0.1",
            f"{PUBLIC}?127.0.0.1",
        ),
    ],
)
def test_public_addresses_stay_open(authority: str) -> None:
    """Neighbours of each closed range stay open, and public addresses in mapped and NAT64 form."""
    assert checked_addresses(parse_target(f"https://{authority}"), CLOSED)


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("https://例え.テスト/", "xn--r8jz45g.xn--zckzah"),
        ("https://EXAMPLE.com./", "example.com."),
        ("https://a_b.example/", "a_b.example"),
        ("https://1password.com/", "1password.com"),
        ("https://3.example/", "3.example"),
        ("https://0x7f.example/", "0x7f.example"),
        ("https://x--y.127-0-0-1.example/", "x--y.127-0-0-1.example"),
        ("https://[2001:4860:4860:0:0:0:0:8888]/", "2001:4860:4860::8888"),
        ("https://８.８.８.８/", "8.8.8.8"),
        ("https://me@127.0.0.1@example.com/", "example.com"),
    ],
)
def test_a_host_has_one_form(url: str, want: str) -> None:
    """One normalised host is looked up, checked and sent in the Host header."""
    assert parse_target(url).host == want


def test_whatever_python_calls_not_global_is_closed_here() -> None:
    """All addresses that are not global for Python are closed; further closed ranges are listed here."""
    beyond = {
        *("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24", "224.0.0.0/4"),
        *("168.63.129.16/32", "::/96", "64:ff9b:1::/48", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:3::/32"),
        *("2001:4:112::/48", "2001:20::/28", "2001:30::/28", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
        *("5f00::/16", "fec0::/10", "ff00::/8"),
    }
    seen: set[str] = set()
    for address in _sample():
        closed, python_says = closed_range(address), effective(address).is_global
        assert closed is not None or python_says, address
        if closed is not None and python_says and not _is_isatap(address):
            named = str(closed.network)
            assert named in beyond or address not in IPv6Network("2000::/3"), f"{address} in {named}"
            seen.add(named)
    assert {"224.0.0.0/4", "168.63.129.16/32"} <= seen, "nothing was compared"


def _sample() -> Iterable[Address]:
    for each in RANGES:
        first, last = int(each.network.network_address), int(each.network.broadcast_address)
        kind = type(each.network.network_address)
        most = 2**each.network.max_prefixlen - 1
        yield from (kind(n) for n in (first - 1, first, first + 1, last - 1, last, last + 1) if 0 <= n <= most)
    dice = random.Random(1)  # noqa: S311  # a sample, the same each time
    yield from (IPv4Address(dice.getrandbits(32)) for _ in range(4_000))
    yield from (IPv6Address(dice.getrandbits(128)) for _ in range(1_000))
    # most IPv6 addresses in use begin with 2
    yield from (IPv6Address(0x2 << 124 | dice.getrandbits(20) << 104 | dice.getrandbits(16)) for _ in range(1_000))


def _is_isatap(address: Address) -> bool:
    return address.version == 6 and (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE


@pytest.mark.parametrize(
    ("addresses", "want"),
    [
        ([PUBLIC], None),
        ([PUBLIC, "8.8.8.8", "2606:2800:220:1::1"], None),
        (["127.0.0.1"], "127.0.0.0/8 (loopback, RFC 1122)"),
        ([PUBLIC, "127.0.0.1"], "127.0.0.0/8 (loopback"),
        (["10.0.0.1", PUBLIC], "10.0.0.0/8 (private use"),
        ([PUBLIC, "2606:2800:220:1::1", "::1"], "::1 (loopback"),
        ([PUBLIC, "fe80::1%eth0"], "fe80::/10 (link-local"),
        ([PUBLIC, "::ffff:10.0.0.1"], "10.0.0.0/8 (private use"),
        ([PUBLIC, "169.254.169.254"], "169.254.169.254 (the metadata service"),
        ([PUBLIC] * 50 + ["0.0.0.0"], "0.0.0.0/8 (this network"),  # noqa: S104  # nothing is bound to it
    ],
)
def test_one_closed_address_closes_a_name(addresses: list[str], want: str | None) -> None:
    """A name is refused if any of its addresses is closed; the message names the range, not the address."""
    why = refusal("name.example", 80, addresses, CLOSED)
    if want is None:
        assert why is None
        return
    assert why is not None
    assert why.startswith("name.example has")
    assert want in why


def test_the_ranges_are_named_from_narrow_to_wide() -> None:
    """A range comes before the ranges that contain it, so that the narrowest one is named."""
    for number, each in enumerate(RANGES):
        for later in RANGES[number + 1 :]:
            hidden = later.network.version == each.network.version and (
                int(later.network.network_address) >= int(each.network.network_address)
                and int(later.network.broadcast_address) <= int(each.network.broadcast_address)
            )
            assert not hidden, f"{later} is never named, for {each} comes first"
