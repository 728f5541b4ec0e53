"""International host names are looked up as in browsers, or refused."""

import subprocess
import sys

import pytest

from carillon_core.domain.egress.rules import HostError, canonical_host

NAMES = {
    "sharp s is a letter of its own": ("faß.de", "xn--fa-hia.de"),
    "capital sharp s": ("FAẞ.de", "xn--fa-hia.de"),
    "final sigma": ("ςίσυφος.gr", "xn--kxa6ahcdmh.gr"),
    "an umlaut": ("Bücher.example", "xn--bcher-kva.example"),
    "a decomposed umlaut": ("bu\u0308cher.example", "xn--bcher-kva.example"),
    "full-width letters and dots": ("日本語。\uff2a\uff30", "xn--wgv71a119e.jp"),
    "a symbol that browsers accept": ("☕.us", "xn--53h.us"),
    "an ASCII label with an underscore": ("_a.bücher.de", "_a.xn--bcher-kva.de"),
    "a trailing dot": ("bücher.de.", "xn--bcher-kva.de."),
    "a joiner in its place": ("क्\u200dष.example", "xn--11b2ezcw70k.example"),
    "a soft hyphen vanishes": ("bü\u00adcher.de", "xn--bcher-kva.de"),
}


@pytest.mark.parametrize(("host", "want"), NAMES.values(), ids=NAMES)
def test_a_name_is_looked_up_as_browsers_do(host: str, want: str) -> None:
    """UTS 46 without the transitional mapping of IDNA 2003."""
    assert canonical_host(f"https://{host}/path") == want


REFUSED = {
    "a joiner out of place": "a\u200db.com",
    "a label that begins with a combining mark": "a.\u0301b.com",
    "left to right within right to left": "אa.example",
    "a code point that no name has": "a\ufffdb.com",
    "a prefix of Punycode before letters": "xn--ü.example",
    "a label that is too long": f"{'ü' * 80}.example",
}


@pytest.mark.parametrize("host", REFUSED.values(), ids=REFUSED)
def test_a_name_that_browsers_refuse_is_refused(host: str) -> None:
    """The message contains no part of the URL."""
    with pytest.raises(HostError, match="has a host name that is not a valid international domain name") as refused:
        canonical_host(f"https://{host}/")
    assert host not in str(refused.value)


def test_a_long_label_is_refused_before_it_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding takes quadratic time and would block the loop of the webhook."""
    monkeypatch.setattr("idna.core.check_bidi", lambda _label: pytest.fail("the label is looked at"))
    with pytest.raises(HostError):
        canonical_host(f"https://{''.join(map(chr, range(0x4E00, 0x4E00 + 1000)))}.example/")


def test_ascii_names_import_no_tables() -> None:
    """Each import delays the start of a runner."""
    code = (
        "import sys; from carillon_core.domain.egress.rules import canonical_host; "
        "canonical_host('https://example.com/'); sys.exit('idna' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
