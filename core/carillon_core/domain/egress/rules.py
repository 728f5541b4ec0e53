"""Where HTTP tasks may connect to: no address that is not plainly public, unless the operator's owner opened it. Pure.

Who may create a task chooses a URL, and the request is sent from within the
cluster: what only insiders reach (a cloud's metadata service, a database's
console, the node itself) must not be reached so (server-side request forgery).
The runner decides by ``refusal``, with the addresses that it is about to
connect to, before each connection: of the URL and of each redirect. The webhook
and the command line say early by ``advice_about`` what can be seen in a URL. The
operator and the runner read the allow-list.

Standard library only: the runner pays for each import.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from urllib.parse import urlsplit

from carillon_core.contract import ENV_HTTP_ALLOW
from carillon_core.domain.egress.international import ascii_name
from carillon_core.domain.egress.special_addresses import (
    Address,
    ClosedRange,
    Network,
    closed_range,
    effective,
    is_metadata,
    parse_address,
)
from carillon_core.errors import SettingsError

METADATA_NAMES = frozenset(
    {
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "rancher-metadata",
    }
)
"""By these names clouds serve credentials; said by name, for outside of its cloud such a name has no address."""
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback")
_MOST_PORT = 65_535
# what would end an authority, or is read as another one's end by other programs
_AUTHORITY = re.compile(r"https?://[^/?#\\\x00-\x20\x7f]+(?:[/?#]|\Z)", re.IGNORECASE)
_ANY_AUTHORITY = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]:]+)(?::\d*)?", re.ASCII)
_HOST = re.compile(r"[a-z0-9._~-]+")
_NUMBER = re.compile(r"\d+|0x[\da-f]*", re.IGNORECASE | re.ASCII)
_LABELS = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_ENTRY_WITH_PORT = re.compile(r"(?P<bare>[^\[\]:]*|\[[^\[\]]*\])(?::(?P<port>[^:\[\]]*))?")
_MEND = (
    f"if it is meant to be reached, set {ENV_HTTP_ALLOW} on the operator, for example to *.svc, *.svc.cluster.local or "
    "10.96.0.0/12"
)


class HostError(ValueError):
    """A URL's host cannot be taken for one; the message follows "the URL", and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    network: Network | None
    host: str | None
    """A name, or ``.suffix`` for all names below it."""
    port: int | None

    def opens(self, host: str, port: int, address: Address, closed: ClosedRange) -> bool:
        if self.port not in {None, port}:
            return False
        if self.network is not None:
            # by a range nobody means to give credentials away
            return address in self.network and (not is_metadata(address) or self.network.num_addresses == 1)
        return closed.is_ordinary and self.matches(host)

    def matches(self, host: str) -> bool:
        if self.host is None:
            return False
        return host.endswith(self.host) if self.host.startswith(".") else host == self.host


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the operator's owner has opened: nothing, unless they said so.

    An entry is a network (``10.96.0.0/12``), an address (``10.0.0.5``, ``::1``), a name (``db.shop.svc``) or all
    names below one (``*.svc``: ``a.svc`` and ``a.b.svc``, not ``svc``); each may end with a port, which then alone is
    opened (``10.0.0.5:8080``, ``*.svc:443``, ``[::1]:80``, ``[fd00::/8]:443``).

    A network opens the addresses in it, by whatever name they are found; but a
    cloud's metadata service is opened by its own address alone, not by a network
    around it. A name opens the private addresses that it resolves to, for a
    Service has no others and they are not known beforehand, and so trusts whoever
    controls that zone: in a cluster's, everybody who may create a Service. Such a
    Service may be an ExternalName or have endpoints of their choice. So a name
    never opens loopback, link-local, metadata or the like: they want an address.
    A name is held against the URL as it stands there: a Service that is called by
    a short name (``db``, ``db.shop``) wants that name, or its network.
    """

    text: str = ""
    """As it was given: for the runner's environment."""
    entries: tuple[_Entry, ...] = ()

    def opens(self, host: str, port: int, address: Address, closed: ClosedRange) -> bool:
        """Return whether an address in a closed range is open, for a host in its canonical form and a port."""
        name = host.removesuffix(".")
        return any(entry.opens(name, port, address, closed) for entry in self.entries)

    def may_open(self, host: str) -> bool:
        """Return whether a private address of this host may be open: by the host, or by an address not known yet."""
        return any(entry.network is not None or entry.matches(host.removesuffix(".")) for entry in self.entries)

    def names(self, host: str) -> bool:
        """Return whether there is an entry of just this name."""
        return any(entry.host == host.removesuffix(".") for entry in self.entries)


CLOSED = AllowList()
"""The allow-list that opens nothing."""


def parse_allow_list(text: str) -> AllowList:
    """Return the allow-list that a text writes, its entries parted by commas.

    Raises:
        ValueError: One of them cannot be read, or would open nothing; the message names it and the mend.

    """
    entries = tuple(_entry(part.strip()) for part in text.split(",") if part.strip())
    return AllowList(",".join(part.strip() for part in text.split(",") if part.strip()), entries)


def read_allow_list(env: Mapping[str, str]) -> AllowList:
    """Return the allow-list that ``CARILLON_HTTP_ALLOW`` sets; unset and empty, nothing is opened.

    Raises:
        SettingsError: It cannot be read; the message names the variable, the entry and the mend.

    """
    try:
        return parse_allow_list(env.get(ENV_HTTP_ALLOW, ""))
    except ValueError as error:
        raise SettingsError(f"{ENV_HTTP_ALLOW} has {error}") from None


def _entry(text: str) -> _Entry:
    if "://" in text:
        raise ValueError(f"{text!r}: write a host, not a URL")
    bare, port = text, None
    # an IPv6 address without brackets is one as a whole: its last part is no port
    if text.count(":") == 1 or text.startswith("["):
        match = _ENTRY_WITH_PORT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r}: write an IPv6 address with a port as [::1]:443")
        bare = match["bare"].strip("[]")
        port = _port(text, match["port"])
    if "/" in bare or ":" in bare or _is_number(bare):
        return _Entry(_network(text, bare), None, port)
    return _Entry(None, _name(text, bare.lower()), port)


def _port(text: str, port: str | None) -> int | None:
    if port is None:
        return None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _MOST_PORT):
        raise ValueError(f"{text!r}: the port must be a whole number from 1 to {_MOST_PORT}")
    return int(port)


def _network(text: str, bare: str) -> Network:
    try:
        # a zone is of one machine, and the list is for all
        network = ip_network(bare if "%" not in bare else "", strict=False)
    except ValueError:
        raise ValueError(f"{text!r}: write a network such as 10.96.0.0/12 or an address such as 10.0.0.5") from None
    if "/" in bare and network.network_address != parse_address(bare.partition("/")[0]):
        raise ValueError(f"{text!r}: the address has bits beyond its prefix; write {network}")
    if effective(network.network_address).version != network.version:
        raise ValueError(f"{text!r}: write the IPv4 address or network that is meant")
    return network


def _name(text: str, name: str) -> str:
    below = name.startswith("*.")
    bare = name.removeprefix("*.").removesuffix(".")
    if bare in _LOCAL_NAMES or bare.endswith(".localhost"):
        raise ValueError(f"{text!r}: a name opens no loopback; write 127.0.0.0/8 and ::1")
    if not _LABELS.fullmatch(bare):
        raise ValueError(
            f"{text!r}: write a network (10.96.0.0/12), an address, a name in ASCII, or *. and the end of names (*.svc)"
        )
    return f".{bare}" if below else bare


def canonical_host(url: str) -> str:
    """Return the host of an absolute http or https URL as it is looked up: ASCII, lower case, no brackets.

    One notation for each address: four decimal numbers, or IPv6 without a zone.
    Other digits and dots that IDNA knows become ASCII's. Numbers that the C
    library would read as an address as well (``127.1``, ``0x7f000001``,
    ``0177.0.0.1``) are refused, for programs differ in what they mean.

    Raises:
        HostError: It is written so that programs would read it differently: with a backslash, a control character, an
            escape; the message says what is wrong.
        ValueError: There is none; the message may repeat the URL.

    """
    if not _AUTHORITY.match(url):
        if _ANY_AUTHORITY.match(url):
            raise HostError("has a backslash, a space or a control character in its host: leave it away")
        raise ValueError
    parts = urlsplit(url)
    host = parts.hostname or ""
    # what stands beside brackets is passed over by the library, and by others not
    if not _HOST_AND_PORT.fullmatch(parts.netloc.rpartition("@")[2]):
        raise HostError("has something else than a host, or a host and a port's number, where these should be")
    if ":" in host:
        address = IPv6Address(host)
        if address.scope_id is not None:
            raise HostError("names an IPv6 address with a zone: leave it away")
        return str(address)
    name = (host if host.isascii() else _ascii(host)).lower()
    if not _HOST.fullmatch(name):
        raise HostError("has a character in its host that no name has: write the name without escapes")
    if not _is_number(name):
        return name
    try:
        return str(IPv4Address(name.removesuffix(".")))
    except ValueError:
        raise HostError("names its host by a number: write an address as four decimal ones, as in 192.0.2.1") from None


def _ascii(host: str) -> str:
    try:
        return ascii_name(host)
    except ValueError:
        raise HostError("has a host name that is not a valid international domain name: correct it") from None


def _is_number(host: str) -> bool:
    """Return whether a host ends as a number does, so that it is an address or nothing (as the URL standard has it)."""
    return bool(_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]))


def refusal(host: str, port: int, addresses: Iterable[str], allow: AllowList) -> str | None:
    """Return why a host must not be connected to, or None if it may.

    One closed address closes the host: a name that has public and private
    addresses at once is an attack or a mistake. The sentence names host, range and
    mend; not the address, or it would tell what names only insiders can look up.

    Args:
        host: As ``canonical_host`` returns it.
        port: The port.
        addresses: Every address that it has, as the system's resolver writes them.
        allow: What the operator's owner has opened.

    """
    if (by_name := _refused_name(host, allow)) is not None:
        return f"{host} is closed to HTTP tasks: {by_name}; {_mend_of_metadata(host)}"
    for text in addresses:
        address = effective(parse_address(text))
        closed = closed_range(address)
        if closed is None or allow.opens(host, port, address, closed):
            continue
        return f"{_subject(host, closed)} is closed to HTTP tasks; {_mend(address, closed)}"
    return None


def advice_about(url: str, allow: AllowList | None) -> str | None:
    """Return a warning if a URL leads to an address that is closed, as far as that is to be seen in its text.

    Args:
        url: Absolute; one with a template, or one that is none at all, is not spoken of.
        allow: What the operator's owner has opened; None if that is not known here.

    """
    if "{" in url:
        return None
    try:
        host = canonical_host(url.strip())
        parts = urlsplit(url.strip())
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except HostError as error:
        return f"the URL {error}; no request is sent to it as it is"
    except ValueError:
        return None
    local = host.removesuffix(".") in _LOCAL_NAMES or host.removesuffix(".").endswith(".localhost")
    try:
        addresses = ["127.0.0.1"] if local else [str(parse_address(host))]
    except ValueError:
        addresses = []
    why = refusal(host, port, addresses, allow or CLOSED)
    if why is None and allow is not None and _is_service(host) and not allow.may_open(host):
        return (
            f"{host} is a Service's name, and Services have private addresses, which are closed to HTTP tasks; {_MEND}"
        )
    return f"{why} (what is set there is not known here)" if why is not None and allow is None else why


def _is_service(host: str) -> bool:
    return host.removesuffix(".").removesuffix(".cluster.local").endswith(".svc")


def _refused_name(host: str, allow: AllowList) -> str | None:
    if host.removesuffix(".") not in METADATA_NAMES or allow.names(host):
        return None
    return "it is a cloud's metadata service"


def _subject(host: str, closed: ClosedRange) -> str:
    try:
        parse_address(host)
    except ValueError:
        whose = f"{host} has an address in" if closed.network.num_addresses > 1 else f"{host} has the address"
        return f"{whose} {closed}, which"
    return f"{host} is in {closed}, which" if closed.network.num_addresses > 1 else f"{closed}"


def _mend(address: Address, closed: ClosedRange) -> str:
    if closed.is_ordinary:
        return _MEND
    wanted = closed.network if closed.network.num_addresses > 1 and not is_metadata(address) else "that address"
    return (
        f"if it is meant to be reached, add {wanted} to {ENV_HTTP_ALLOW} on the operator; a name there does not open it"
    )


def _mend_of_metadata(host: str) -> str:
    return f"if it is meant to be reached, add {host} and its address to {ENV_HTTP_ALLOW} on the operator"
