"""International host names as browsers read them: UTS 46, non-transitional, then Punycode. ``rules`` asks it.

Python's own ``idna`` codec implements IDNA 2003 and sends ``faß.de`` to
``fass.de``, which is another domain. The tables come from the ``idna``
package, which is imported for names that are not ASCII only: the runner pays
for each import.
"""

_LONGEST_LABEL = 63


def ascii_name(host: str) -> str:
    """Return a host name in the form that is looked up: mapped by UTS 46, its labels in ASCII.

    The options are those of the URL standard's "domain to ASCII": non-transitional processing, joiners and
    bidirectional text checked, hyphens and ASCII symbols left alone. So symbols that browsers accept are accepted.

    Raises:
        ValueError: The name cannot be a domain name; the message does not repeat it.

    """
    import idna  # noqa: PLC0415  # for names that are not ASCII only

    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
        return ".".join(label if label.isascii() else _ascii_label(label) for label in mapped.split("."))
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError("not a domain name") from error


def _ascii_label(label: str) -> str:
    from idna import core  # noqa: PLC0415  # see above

    if label.startswith("xn--"):
        raise core.IDNAError("an encoded label is ASCII")
    if len(label) > _LONGEST_LABEL - len("xn--"):
        # first of all: encoding takes quadratic time, and never makes a label shorter
        raise core.IDNAError("a label is too long")
    core.check_nfc(label)
    core.check_initial_combiner(label)
    core.check_bidi(label)
    for position, character in enumerate(label):
        if character in "\u200c\u200d" and not core.valid_contextj(label, position):
            raise core.InvalidCodepointContext("a joiner where none may be")
    encoded = f"xn--{label.encode('punycode').decode('ascii')}"
    if len(encoded) > _LONGEST_LABEL:
        raise core.IDNAError("a label is too long")
    return encoded
