"""A small DNS server (RFC 1035, over UDP) whose answers change: each look-up of a name has its own answer."""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Self

Answer = Sequence[str]
"""Addresses; a preceding ``CNAME name`` makes them those of another name."""
_TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}
_QUERIED = {number: name for name, number in _TYPES.items()}
_HEADER = struct.Struct("!6H")
_NAME_ERROR = 3
_AUTHORITATIVE_ANSWER = 0x8400


class DNSServer:
    """Serves while it is entered; every answer may be kept for 0 seconds.

    Attributes:
        names: Of each name, in lower case, the answers to its look-ups in turn; the last one stands for all that
            follow. A look-up is one query of each type.
        queries: How often each name was asked for, by ``(name, type)``.

    """

    def __init__(self, address: str, port: int = 53) -> None:
        self.names: Mapping[str, Sequence[Answer]] = {}
        self.queries: Counter[tuple[str, str]] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # an empty datagram, which is not a query, ends the loop
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        end, labels = _HEADER.size, []
        while length := query[end]:
            labels.append(query[end + 1 : end + 1 + length].decode("ascii"))
            end += 1 + length
        question = query[_HEADER.size : end + 5]
        kind = _QUERIED.get(struct.unpack_from("!H", query, end + 1)[0], "other")
        name = ".".join(labels).lower()
        number = self.queries[name, kind]
        self.queries[name, kind] += 1
        answers = self.names.get(name)
        records = [] if answers is None else _records(name, answers[min(number, len(answers) - 1)], kind)
        code = _NAME_ERROR if answers is None else 0
        (identifier,) = struct.unpack_from("!H", query)
        head = _HEADER.pack(identifier, _AUTHORITATIVE_ANSWER | code, 1, len(records), 0, 0)
        return head + question + b"".join(records)


def _records(owner: str, answer: Answer, kind: str) -> list[bytes]:
    records = []
    for text in answer:
        if text.startswith("CNAME "):
            alias = text.removeprefix("CNAME ")
            records.append(_record(owner, "CNAME", _encoded(alias)))
            owner = alias
        else:
            address = ip_address(text)
            if kind == ("A" if address.version == 4 else "AAAA"):
                records.append(_record(owner, kind, address.packed))
    return records


def _record(owner: str, kind: str, data: bytes) -> bytes:
    return _encoded(owner) + struct.pack("!HHIH", _TYPES[kind], 1, 0, len(data)) + data


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"
