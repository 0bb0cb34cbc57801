"""The cluster's DNS, as small as can be: it answers with the addresses of known names, and NXDOMAIN to all others."""

import socket
import struct
import threading
from collections.abc import Mapping, Sequence

A_RECORD = 1
PORT = 53
_ANSWER = struct.Struct("!HHHIH4s")
_HEADER = struct.Struct("!HHHHHH")


class Dns:
    """Answers on UDP, in a thread, from `names` as they are at that moment."""

    def __init__(self, address: str, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, PORT))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(2048)
                self._socket.sendto(answer(question, self._names), client)
            except OSError:  # closed
                return


def answer(question: bytes, names: Mapping[str, Sequence[str]]) -> bytes:
    """The response to one question (RFC 1035, 4.1)."""
    number, flags, *_ = _HEADER.unpack_from(question)
    name, end = _name(question, _HEADER.size)
    (kind,) = struct.unpack_from("!H", question, end)
    addresses = names.get(name.lower().rstrip("."), ())
    records = [_ANSWER.pack(0xC00C, A_RECORD, 1, 1, 4, socket.inet_aton(each)) for each in addresses]
    records = records if kind == A_RECORD else []
    code = 0 if addresses else 3  # NXDOMAIN
    header = _HEADER.pack(number, 0x8580 | (flags & 0x0100) | code, 1, len(records), 0, 0)
    return header + question[_HEADER.size : end + 4] + b"".join(records)


def _name(packet: bytes, start: int) -> tuple[str, int]:
    labels = []
    while length := packet[start]:
        labels.append(packet[start + 1 : start + 1 + length].decode("ascii"))
        start += length + 1
    return ".".join(labels), start + 1
