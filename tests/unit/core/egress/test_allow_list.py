"""The allow list of HTTP tasks: what it opens, its syntax, and early advice about a URL."""

import pytest

from carillon_core.domain.egress.rules import (
    CLOSED,
    AllowList,
    advice_about,
    parse_allow_list,
    read_allow_list,
    refusal,
)
from carillon_core.errors import SettingsError

PUBLIC = "93.184.216.34"
SERVICE = "db.shop.svc"


@pytest.mark.parametrize(
    ("allow", "host", "port", "address", "want_open"),
    [
        ("10.96.0.0/12", SERVICE, 80, "10.96.3.4", True),
        ("10.96.0.0/12", SERVICE, 80, "10.112.0.1", False),
        ("10.0.0.5", "10.0.0.5", 80, "10.0.0.5", True),
        ("10.0.0.5", "10.0.0.6", 80, "10.0.0.6", False),
        ("10.0.0.5:8080", "10.0.0.5", 8080, "10.0.0.5", True),
        ("10.0.0.5:8080", "10.0.0.5", 80, "10.0.0.5", False),
        ("10.0.0.0/8:443", "10.0.0.5", 443, "10.0.0.5", True),
        ("::1", "::1", 80, "::1", True),
        ("[::1]", "::1", 80, "::1", True),
        ("[::1]:80", "::1", 80, "::1", True),
        ("[::1]:80", "::1", 81, "::1", False),
        ("fd00::/8", "fd00::1", 80, "fd00::1", True),
        ("[fd00::/8]:443", "fd00::1", 80, "fd00::1", False),
        ("127.0.0.0/8", "localhost", 80, "127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:7f00:1", 80, "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "localhost", 80, "::1", False),
        ("10.0.0.0/8", "x.example", 80, "64:ff9b::10.0.0.1", True),
        ("fe80::/10", "x.example", 80, "fe80::1%eth0", True),
        ("*.svc", SERVICE, 80, "10.96.3.4", True),
        ("*.svc", f"{SERVICE}.", 80, "10.96.3.4", True),
        ("*.SVC", SERVICE, 80, "172.16.0.1", True),
        ("*.svc", SERVICE, 80, "100.64.0.1", True),
        ("*.svc", SERVICE, 80, "fd00::1", True),
        ("*.svc", "svc", 80, "10.96.3.4", False),
        ("*.svc", "evilsvc", 80, "10.96.3.4", False),
        ("*.svc", "db.svc.example.com", 80, "10.96.3.4", False),
        ("*.svc:443", SERVICE, 80, "10.96.3.4", False),
        ("*.svc:443", SERVICE, 443, "10.96.3.4", True),
        (SERVICE, SERVICE, 80, "10.96.3.4", True),
        (SERVICE, f"x.{SERVICE}", 80, "10.96.3.4", False),
        (SERVICE, "10.96.3.4", 80, "10.96.3.4", False),
        # anyone who may create a Service chooses the addresses behind its name
        ("*.svc", SERVICE, 80, "127.0.0.1", False),
        ("*.svc", SERVICE, 80, "::1", False),
        ("*.svc", SERVICE, 80, "169.254.1.1", False),
        ("*.svc", SERVICE, 80, "169.254.169.254", False),
        ("*.svc", SERVICE, 80, "100.100.100.200", False),
        ("*.svc", SERVICE, 80, "fd00:ec2::254", False),
        ("*.svc", SERVICE, 80, "0.0.0.0", False),  # noqa: S104  # nothing is bound to it
        ("*.svc", SERVICE, 80, "::ffff:127.0.0.1", False),
        ("*.svc, 127.0.0.1", SERVICE, 80, "127.0.0.1", True),
        # a metadata service is opened only by its exact address
        ("169.254.0.0/16", "169.254.169.254", 80, "169.254.169.254", False),
        ("0.0.0.0/0,::/0", "169.254.169.254", 80, "169.254.169.254", False),
        ("0.0.0.0/0,::/0", "fd00:ec2::254", 80, "fd00:ec2::254", False),
        ("0.0.0.0/0,::/0", "x.example", 80, "127.0.0.1", True),
        ("169.254.169.254", "169.254.169.254", 80, "169.254.169.254", True),
        ("169.254.169.254/32", "x.example", 80, "169.254.169.254", True),
        ("169.254.169.254", "metadata.google.internal", 80, "169.254.169.254", False),
        ("*.google.internal,169.254.169.254", "metadata.google.internal", 80, "169.254.169.254", False),
        ("metadata.google.internal,169.254.169.254", "metadata.google.internal", 80, "169.254.169.254", True),
        ("metadata.google.internal", "metadata.google.internal", 80, "169.254.169.254", False),
        ("", SERVICE, 80, "10.96.3.4", False),
        ("*.svc", "example.com", 80, PUBLIC, True),
    ],
)
def test_the_list_opens_what_it_names(allow: str, host: str, port: int, address: str, want_open: bool) -> None:  # noqa: FBT001  # a column of the table
    """An entry opens a network, an address or a name, with or without a port."""
    assert (refusal(host, port, [address], parse_allow_list(allow)) is None) is want_open


def test_every_closed_address_of_a_name_must_be_opened() -> None:
    """A name is open only if the list opens all of its closed addresses."""
    allow = parse_allow_list("10.0.0.1")
    assert refusal("x.example", 80, ["10.0.0.1", PUBLIC], allow) is None
    assert refusal("x.example", 80, ["10.0.0.1", "10.0.0.2"], allow) is not None


@pytest.mark.parametrize(
    ("text", "want"),
    {
        "10.0.0.1/8": "'10.0.0.1/8': the address has bits beyond its prefix; write 10.0.0.0/8",
        "10.0.0.0/33": "'10.0.0.0/33': write a network such as 10.96.0.0/12",
        "10.0.0": "'10.0.0': write a network such as",
        "127.1": "'127.1': write a network such as",
        "0x7f000001": "'0x7f000001': write a network such as",
        "10.0.0.5, 10.0.0.256": "'10.0.0.256': write a network such as",
        "fe80::1%eth0": "'fe80::1%eth0': write",
        "::ffff:10.0.0.1": "'::ffff:10.0.0.1': write it as an IPv4 address or network",
        "64:ff9b::/96": "'64:ff9b::/96': write it as an IPv4 address",
        "10.0.0.1:0": "'10.0.0.1:0': the port must be a whole number from 1 to 65535",
        "10.0.0.1:http": "'10.0.0.1:http': the port must be",
        "*.svc:": "'*.svc:': the port must be",
        "[::1": "'[::1': write an IPv6 address with a port as [::1]:443",
        "[::1]x": "'[::1]x': write an IPv6 address",
        "localhost": "'localhost': a name cannot open loopback addresses; write 127.0.0.0/8 and ::1",
        "*.localhost": "'*.localhost': a name cannot open loopback addresses",
        "*": "'*': write a network (10.96.0.0/12), an address, a name in ASCII, or *. and the end of names (*.svc)",
        "*.": "'*.': write a network",
        "a.*.svc": "'a.*.svc': write a network",
        "*svc": "'*svc': write a network",
        "bücher.example": "'bücher.example': write a network",
        "a b": "'a b': write a network",
        "http://db.shop.svc/": "'http://db.shop.svc/': write a host, not a URL",
        "a/b": "'a/b': write a network such as",
    }.items(),
)
def test_a_list_that_cannot_be_read_is_refused_with_the_mend(text: str, want: str) -> None:
    """The error quotes the entry and says what to write instead."""
    with pytest.raises(SettingsError) as caught:
        read_allow_list({"CARILLON_HTTP_ALLOW": text})
    assert str(caught.value).startswith(f"CARILLON_HTTP_ALLOW has {want}")


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_an_empty_list_opens_nothing(text: str) -> None:
    """An empty list is the same as no list."""
    assert read_allow_list({"CARILLON_HTTP_ALLOW": text}) == read_allow_list({}) == CLOSED


def test_a_list_is_written_as_it_was_read() -> None:
    """The text that the operator passes on gives the runner the same list."""
    text = "10.96.0.0/12, *.svc:443,[::1]:80, fd00::/8"
    allow = parse_allow_list(text)
    assert len(allow.entries) == 4
    assert parse_allow_list(allow.text) == allow


OPENED = parse_allow_list("10.0.0.0/8")


@pytest.mark.parametrize(
    ("url", "allow", "want"),
    [
        ("http://10.0.0.1/", CLOSED, "10.0.0.1 is in 10.0.0.0/8 (private use"),
        ("http://10.0.0.1/", OPENED, None),
        ("http://10.0.0.1/", None, "(the setting is not known here)"),
        ("http://127.0.0.1:8080/x", None, "127.0.0.1 is in 127.0.0.0/8 (loopback"),
        ("https://[::1]/", OPENED, "::1 (loopback, RFC 4291) is not allowed"),
        ("http://localhost:3000/", None, "localhost has an address in 127.0.0.0/8"),
        ("http://metadata.google.internal/", OPENED, "a cloud's metadata service"),
        ("http://db.shop.svc/", CLOSED, "is the name of a Service, whose address is private"),
        ("http://db.shop.svc.cluster.local./", CLOSED, "is the name of a Service, whose address is private"),
        ("http://db.shop.svc/", OPENED, None),
        ("http://db.shop.svc/", parse_allow_list("*.svc"), None),
        (
            "http://db.shop.svc/",
            parse_allow_list("*.svc.cluster.local"),
            "is the name of a Service, whose address is private",
        ),
        ("http://db.shop.svc/", None, None),
        ("https://example.com/", CLOSED, None),
        ("http://{{ parameters.host }}/", CLOSED, None),
        ("http://127.0.0.1/{{ slot }}", CLOSED, None),
        ("http://0x7f000001/", CLOSED, "the URL has a number as its host: write an address as four decimal numbers"),
        ("http://127.0.0.1\\@example.com/", None, "the URL has a backslash, a space or a control character"),
        ("http://example.com:port/", CLOSED, "the URL has something other than a host"),
        ("nothing", CLOSED, None),
    ],
)
def test_what_is_seen_in_a_url_is_said_early(url: str, allow: AllowList | None, want: str | None) -> None:
    """A closed host in a URL gives a message; templates, unknown names and invalid URLs give none."""
    advice = advice_about(url, allow)
    assert (advice is None) if want is None else (advice is not None and want in advice)
