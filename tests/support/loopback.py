# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A DNS server on loopback, in threads, for commands that wait for it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any

from dnsguard.wire.layout import scan
from tests.support.ports import freePort

__all__ = ["LoopbackServer", "reply"]

Answering = Callable[[bytes], Iterable[bytes]]
"""Gives the replies to a question, none or several."""


def reply(
    question: bytes,
    records: bytes = b"",
    *,
    flags: int = 0x8180,
    answers: int = 0,
    additional: bytes = b"",
    extra: int = 0,
) -> bytes:
    """
    Make a reply to a question.

    @param records: Of the answer section, C{answers} of them.
    @param additional: Of the additional section, C{extra} of them.
    """
    end = scan(question).questionEnd
    header = question[:2] + struct.pack("!HHHHH", flags, 1, answers, 0, extra)
    return header + question[12:end] + records + additional


class LoopbackServer:
    """
    Answers over UDP and TCP on one port, until it is closed.

    @ivar asked: The questions that came, and over what.
    """

    def __init__(
        self,
        answer: Answering,
        overTCP: Answering | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """
        @param overTCP: Answers over TCP; by default as over UDP.
        @param context: Speak TLS over TCP.
        """
        self.asked: list[tuple[str, bytes]] = []
        self.port = freePort()
        self._answer = answer
        self._overTCP = overTCP or answer
        self._context = context
        self._open = True
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._datagrams.bind(("127.0.0.1", self.port))
        self._datagrams.settimeout(0.02)
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        self._listener.settimeout(0.02)
        self._threads: list[threading.Thread] = []
        self._connections: list[Any] = []
        self._begin(self._serveDatagrams)
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _serveDatagrams(self) -> None:
        while self._open:
            try:
                question, peer = self._datagrams.recvfrom(65535)
            except TimeoutError:
                continue
            self.asked.append(("udp", question))
            for message in self._answer(question):
                self._datagrams.sendto(message, peer)

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._begin(self._serveStream, connection)

    def _serveStream(self, connection: Any) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(5)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._connections.append(connection)
            stream = connection.makefile("rb")
            while len(prefix := stream.read(2)) == 2:
                question = stream.read(struct.unpack("!H", prefix)[0])
                self.asked.append(("tcp", question))
                replies = list(self._overTCP(question))
                if not replies:
                    break
                for message in replies:
                    connection.sendall(struct.pack("!H", len(message)) + message)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self) -> None:
        """
        Answer no more.
        """
        self._open = False
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._datagrams.close()
        self._listener.close()
