"""The addresses that HTTP tasks may connect to: public ones, and those of the operator's allow-list. Pure.

The author of a task chooses a URL, and the request is sent from inside the
cluster. Internal services (a cloud's metadata service, a database's console, the
node itself) must not be reachable this way (server-side request forgery). Before
each connection, of the URL and of each redirect, the runner calls ``refusal``
with the addresses it is about to connect to. The webhook and the command line
use ``advice_about`` to warn about a URL. The operator and the runner read the
allow-list.

Standard library only, because the runner pays for each import.
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
from carillon_core.errors import SettingsError, cut

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
"""Names of metadata services. They are closed by name, because outside of its cloud such a name has no address."""
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback")
_MOST_PORT = 65_535
_SHOWN_DIGITS = 12
"""How much of a port is shown."""
# what ends an authority, or may end it in other programs
_AUTHORITY = re.compile(r"https?://[^/?#\\\x00-\x20\x7f]+(?:[/?#]|\Z)", re.IGNORECASE)
_ANY_AUTHORITY = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]:]+)(?::(?P<port>\d*))?", re.ASCII)
_HOST = re.compile(r"[a-z0-9._~-]+")
_NUMBER = re.compile(r"\d+|0x[\da-f]*", re.IGNORECASE | re.ASCII)
_LABELS = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_ENTRY_WITH_PORT = re.compile(r"(?P<bare>[^\[\]:]*|\[[^\[\]]*\])(?::(?P<port>[^:\[\]]*))?")
_HINT = f"to allow it, set {ENV_HTTP_ALLOW} on the operator, for example to *.svc, *.svc.cluster.local or 10.96.0.0/12"


BAD_CHARACTER = "has a backslash, a space or a control character in its host: remove it"


class HostError(ValueError):
    """The host or the port of a URL is invalid. The message follows "the URL" and repeats at most the port."""


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
            # a range does not open a metadata service; its exact address does
            return address in self.network and (not is_metadata(address) or self.network.num_addresses == 1)
        return closed.is_ordinary and self.matches(host)

    def matches(self, host: str) -> bool:
        if self.host is None:
            return False
        return host.endswith(self.host) if self.host.startswith(".") else host == self.host


@dataclass(frozen=True, slots=True)
class AllowList:
    """The destinations that the operator's configuration opens. Empty by default.

    An entry is a network (``10.96.0.0/12``), an address (``10.0.0.5``, ``::1``), a name (``db.shop.svc``) or all
    names below one (``*.svc``: ``a.svc`` and ``a.b.svc``, not ``svc``). Each may end with a port and then opens that
    port only (``10.0.0.5:8080``, ``*.svc:443``, ``[::1]:80``, ``[fd00::/8]:443``).

    A network opens its addresses for every name, except that a metadata service is
    opened only by its exact address. A name opens the private addresses that it
    resolves to, because the addresses of a Service are not known in advance. It
    therefore trusts everyone who controls the zone: in a cluster, everyone who can
    create a Service, including an ExternalName or one with custom endpoints. For
    this reason a name never opens loopback, link-local or metadata addresses;
    those need an address. A name is compared with the URL as written: a Service
    called by a short name (``db``, ``db.shop``) needs that name, or its network.
    """

    text: str = ""
    """As configured, for the runner's environment."""
    entries: tuple[_Entry, ...] = ()

    def opens(self, host: str, port: int, address: Address, closed: ClosedRange) -> bool:
        """Return whether an address in a closed range is open for a canonical host and a port."""
        name = host.removesuffix(".")
        return any(entry.opens(name, port, address, closed) for entry in self.entries)

    def may_open(self, host: str) -> bool:
        """Return whether a private address of this host may be open, by name or by network."""
        return any(entry.network is not None or entry.matches(host.removesuffix(".")) for entry in self.entries)

    def names(self, host: str) -> bool:
        """Return whether an entry has exactly this name."""
        return any(entry.host == host.removesuffix(".") for entry in self.entries)


CLOSED = AllowList()
"""The empty allow-list."""


def parse_allow_list(text: str) -> AllowList:
    """Return the allow-list from a text of comma-separated entries.

    Raises:
        ValueError: An entry is invalid or would open nothing; the message names it and what to write.

    """
    entries = tuple(_entry(part.strip()) for part in text.split(",") if part.strip())
    return AllowList(",".join(part.strip() for part in text.split(",") if part.strip()), entries)


def read_allow_list(env: Mapping[str, str]) -> AllowList:
    """Return the allow-list of ``CARILLON_HTTP_ALLOW``. If unset or empty, nothing is opened.

    Raises:
        SettingsError: It is invalid; the message names the variable, the entry and what to write.

    """
    try:
        return parse_allow_list(env.get(ENV_HTTP_ALLOW, ""))
    except ValueError as error:
        raise SettingsError(f"{ENV_HTTP_ALLOW} has {error}") from None


def _entry(text: str) -> _Entry:
    if "://" in text:
        raise ValueError(f"{text!r}: write a host, not a URL")
    bare, port = text, None
    # an IPv6 address without brackets has no port
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
        # a zone is local to a machine
        network = ip_network(bare if "%" not in bare else "", strict=False)
    except ValueError:
        raise ValueError(f"{text!r}: write a network such as 10.96.0.0/12 or an address such as 10.0.0.5") from None
    if "/" in bare and network.network_address != parse_address(bare.partition("/")[0]):
        raise ValueError(f"{text!r}: the address has bits beyond its prefix; write {network}")
    if effective(network.network_address).version != network.version:
        raise ValueError(f"{text!r}: write it as an IPv4 address or network")
    return network


def _name(text: str, name: str) -> str:
    below = name.startswith("*.")
    bare = name.removeprefix("*.").removesuffix(".")
    if bare in _LOCAL_NAMES or bare.endswith(".localhost"):
        raise ValueError(f"{text!r}: a name cannot open loopback addresses; write 127.0.0.0/8 and ::1")
    if not _LABELS.fullmatch(bare):
        raise ValueError(
            f"{text!r}: write a network (10.96.0.0/12), an address, a name in ASCII, or *. and the end of names (*.svc)"
        )
    return f".{bare}" if below else bare


def canonical_host(url: str) -> str:
    """Return the host of an absolute http or https URL as it is resolved: ASCII, lower case, no brackets.

    There is one notation for each address: four decimal numbers, or IPv6 without a
    zone. Digits and dots of other scripts become ASCII by UTS 46. Numbers that the C
    library would accept as addresses (``127.1``, ``0x7f000001``, ``0177.0.0.1``) are
    refused, because programs disagree about them.

    Raises:
        HostError: Programs would read it differently, because of a backslash, a control character or an escape; the
            message says what is wrong.
        ValueError: There is no host; the message may repeat the URL.

    """
    if not _AUTHORITY.match(url):
        if _ANY_AUTHORITY.match(url):
            raise HostError(BAD_CHARACTER)
        raise ValueError
    parts = urlsplit(url)
    host = parts.hostname or ""
    # the library ignores text beside brackets; other programs do not
    if not _HOST_AND_PORT.fullmatch(parts.netloc.rpartition("@")[2]):
        raise HostError("has something other than a host and an optional port number between // and /")
    if ":" in host:
        address = IPv6Address(host)
        if address.scope_id is not None:
            raise HostError("names an IPv6 address with a zone: remove the zone")
        return str(address)
    name = (host if host.isascii() else _ascii(host)).lower()
    if not _HOST.fullmatch(name):
        raise HostError("has a character in its host that is not valid in names: write the name without escapes")
    if not _is_number(name):
        return name
    try:
        return str(IPv4Address(name.removesuffix(".")))
    except ValueError:
        wanted = "write an address as four decimal numbers, such as 192.0.2.1"
        raise HostError(f"has a number as its host: {wanted}") from None


def canonical_port(url: str) -> int | None:
    """Return the port that an absolute http or https URL names, or None if it names none.

    Raises:
        HostError: It is not a port that can be connected to.
        ValueError: The URL has no valid host; ``canonical_host`` says why.

    """
    found = _HOST_AND_PORT.fullmatch(urlsplit(url).netloc.rpartition("@")[2])
    if found is None:
        raise ValueError
    return port_number(found["port"]) if found["port"] else None


def port_number(digits: str) -> int:
    """Return the port that digits of a URL name.

    Raises:
        HostError: It is not from 1 to 65535.

    """
    significant = digits.lstrip("0") or "0"
    if len(significant) > len(str(_MOST_PORT)) or not 1 <= int(significant) <= _MOST_PORT:
        raise HostError(f"has the invalid port {cut(digits, _SHOWN_DIGITS)}: use a port from 1 to {_MOST_PORT}")
    return int(significant)


def _ascii(host: str) -> str:
    try:
        return ascii_name(host)
    except ValueError:
        raise HostError("has a host name that is not a valid international domain name: correct it") from None


def _is_number(host: str) -> bool:
    """Return whether the last label is a number, so that the host must be an address (URL standard)."""
    return bool(_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]))


def refusal(host: str, port: int, addresses: Iterable[str], allow: AllowList) -> str | None:
    """Return why a host must not be connected to, or None if it may.

    One closed address closes the host: a name with both public and private addresses
    is an attack or a mistake. The sentence names the host and the range, but not the
    address, which could reveal internal names.

    Args:
        host: The result of ``canonical_host``.
        port: The port.
        addresses: All its addresses, in the format of the system's resolver.
        allow: The allow-list.

    """
    if (by_name := _refused_name(host, allow)) is not None:
        return f"{host} is not allowed for HTTP tasks: {by_name}; {_hint_for_metadata(host)}"
    for text in addresses:
        address = effective(parse_address(text))
        closed = closed_range(address)
        if closed is None or allow.opens(host, port, address, closed):
            continue
        return f"{_subject(host, closed)} is not allowed for HTTP tasks; {_hint(address, closed)}"
    return None


def advice_about(url: str, allow: AllowList | None) -> str | None:
    """Return a warning if the text of a URL shows that its address is closed.

    Args:
        url: An absolute URL. One with a template or an invalid one gets no warning.
        allow: The allow-list; None if it is not known here.

    """
    if "{" in url:
        return None
    try:
        host = canonical_host(url.strip())
        port = canonical_port(url.strip()) or (443 if urlsplit(url.strip()).scheme == "https" else 80)
    except HostError as error:
        return f"the URL {error}; no request will be sent to it"
    except ValueError:
        return None
    local = host.removesuffix(".") in _LOCAL_NAMES or host.removesuffix(".").endswith(".localhost")
    try:
        addresses = ["127.0.0.1"] if local else [str(parse_address(host))]
    except ValueError:
        addresses = []
    why = refusal(host, port, addresses, allow or CLOSED)
    if why is None and allow is not None and _is_service(host) and not allow.may_open(host):
        return f"{host} is the name of a Service, whose address is private and not allowed for HTTP tasks; {_HINT}"
    return f"{why} (the setting is not known here)" if why is not None and allow is None else why


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


def _hint(address: Address, closed: ClosedRange) -> str:
    if closed.is_ordinary:
        return _HINT
    wanted = closed.network if closed.network.num_addresses > 1 and not is_metadata(address) else "that address"
    return f"to allow it, add {wanted} to {ENV_HTTP_ALLOW} on the operator; a name there does not open it"


def _hint_for_metadata(host: str) -> str:
    return f"to allow it, add {host} and its address to {ENV_HTTP_ALLOW} on the operator"
