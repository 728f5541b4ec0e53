"""The end of a container's log, as it is kept in a row. Pure."""

MOST_BYTES = 4096
"""Of a log, at most."""


def log_end(log: bytes) -> str:
    """Return the last 4 KiB of a log as text: whole lines, unless the last one is longer.

    NUL, which Postgres does not store, is left out; bytes that are not UTF-8 are replaced.
    """
    kept = log.decode("utf-8", "replace").replace("\0", "").encode()
    end = kept[-MOST_BYTES:].decode("utf-8", "ignore")  # the cut may be within a character
    if len(kept) > MOST_BYTES and not kept[:-MOST_BYTES].endswith(b"\n"):
        return end.partition("\n")[2] or end
    return end
