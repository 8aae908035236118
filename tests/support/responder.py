# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
An upstream in a thread, for tests of whole processes.
"""

from __future__ import annotations

import socket
import threading
import zlib

from dnsguard.wire.layout import scan
from dnsguard.wire.names import toText

__all__ = ["Responder"]


class Responder(threading.Thread):
    """
    Answers each A question with 192.0.2.99, as any upstream might; or, if told
    so, each name with an address of its own.

    @ivar port: Its port on 127.0.0.1.
    @ivar names: What it was asked for, in order.
    @ivar ttl: The TTL it gives, in seconds.
    @ivar lastOctet: The last octet of the address it gives.
    @ivar perName: Does each name have its own address?
    @ivar silent: Does it leave questions unanswered?
    """

    def __init__(self, ttl: int = 300) -> None:
        super().__init__(daemon=True)
        self.ttl = ttl
        self.lastOctet = 99
        self.perName = False
        self.silent = False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.names: list[str] = []

    def addressOf(self, name: str) -> bytes:
        """
        The address that it gives a name.
        """
        if self.perName:
            return bytes([198, 18, zlib.crc32(name.encode()) & 255, self.lastOctet])
        return bytes([192, 0, 2, self.lastOctet])

    def run(self) -> None:
        """
        Answer until the socket is shut down.
        """
        while True:
            try:
                query, address = self.socket.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            layout = scan(query)
            name = toText(layout.name)
            self.names.append(name)
            if self.silent:
                continue
            reply = bytearray(query[: layout.questionEnd])
            reply[2:4] = b"\x81\x80"
            reply[6:12] = b"\0\x01\0\0\0\0"
            reply += b"\xc0\x0c\0\x01\0\x01" + self.ttl.to_bytes(4, "big")
            reply += b"\0\x04" + self.addressOf(name)
            self.socket.sendto(reply, address)

    def stop(self) -> None:
        """
        Let go of the port.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self.join(5)
        self.socket.close()
