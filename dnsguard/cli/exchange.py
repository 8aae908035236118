# -*- test-case-name: tests.cli.test_exchange -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One question to one server, over any transport that dnsguard offers.

A command asks and waits, so these are plain blocking sockets: no reactor is
started for one datagram. Only replies to the very question are taken.
"""

from __future__ import annotations

import http.client
import secrets
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any

import attrs

from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import AD, CD, HEADER, QR, RD, TC, Layout, MalformedMessage, scan

__all__ = ["PORTS", "TRANSPORTS", "Exchange", "NoReply", "Server", "ask", "makeQuestion"]

PORTS = {"udp": 53, "tcp": 53, "tls": 853, "https": 443}
TRANSPORTS = tuple(PORTS)

MOST_OCTETS = 65535
ATTEMPTS = 3
"""How often a datagram is sent, at most; each time waits for as long."""


class NoReply(Exception):
    """
    No usable reply came, and why.
    """


@attrs.frozen
class Server:
    """
    Whom to ask.

    @ivar host: Its name or address.
    @ivar transport: One of L{TRANSPORTS}.
    @ivar timeout: Seconds to wait in all.
    @ivar tlsName: The name its certificate must have; empty: C{host}.
    @ivar authorities: A file of certificates to trust; L{None}: the system's.
    @ivar verify: Look at the certificate at all?
    @ivar path: Where DNS over HTTPS is served.
    """

    host: str
    port: int
    transport: str = "udp"
    timeout: float = 5.0
    tlsName: str = ""
    authorities: str | None = None
    verify: bool = True
    path: str = "/dns-query"


@attrs.frozen
class Exchange:
    """
    A reply and how it came.

    @ivar reply: Its octets.
    @ivar layout: Where things stand in it.
    @ivar transport: What it came over: C{tcp} after a truncated datagram.
    @ivar seconds: From the question to the reply.
    @ivar asked: Octets in the question.
    """

    reply: bytes
    layout: Layout
    transport: str
    seconds: float
    asked: int


def makeQuestion(
    name: bytes,
    type: int,
    *,
    edns: EDNS | None,
    recursion: bool = True,
    checkingDisabled: bool = False,
    wantsAD: bool = False,
) -> bytes:
    """
    Write a query with a random id.

    @param name: In wire form.
    """
    flags = (RD if recursion else 0) | (CD if checkingDisabled else 0) | (AD if wantsAD else 0)
    head = HEADER.pack(secrets.randbelow(65536), flags, 1, 0, 0, 0 if edns is None else 1)
    return head + name + struct.pack("!HH", type, 1) + (b"" if edns is None else edns.encode())


def ask(server: Server, question: bytes, *, ignoreTruncation: bool = False) -> Exchange:
    """
    Ask a question; after a truncated datagram over TCP, as RFC 7766 §5 has it.

    @raise NoReply: There is no usable reply.
    """
    transport = server.transport
    exchange = _once(_WAYS[transport], server, question, transport)
    if transport == "udp" and exchange.layout.flags & TC and not ignoreTruncation:
        return _once(_tcp, server, question, "tcp")
    return exchange


def _once(
    way: Callable[[Server, bytes], bytes], server: Server, question: bytes, transport: str
) -> Exchange:
    started = time.perf_counter()
    place = f"{server.host} port {server.port} over {transport}"
    try:
        reply = way(server, question)
    except ssl.SSLCertVerificationError as problem:
        raise NoReply(
            f"{place}: its certificate is not trusted: {problem.verify_message}"
        ) from None
    except TimeoutError:
        raise NoReply(f"{place}: no reply within {server.timeout:g} seconds") from None
    except OSError as problem:
        raise NoReply(f"{place}: {problem.strerror or problem}") from None
    except http.client.HTTPException as problem:
        raise NoReply(f"{place}: not HTTP ({problem!r})") from None
    seconds = time.perf_counter() - started
    try:
        layout = scan(reply)
    except MalformedMessage as problem:
        raise NoReply(f"{place}: the reply is damaged: {problem}") from None
    return Exchange(reply, layout, transport, seconds, len(question))


def _answers(reply: bytes, question: bytes) -> bool:
    """
    Is it a reply to the question: id, and what is asked if it says?
    """
    if len(reply) < HEADER.size or reply[:2] != question[:2] or not reply[2] & (QR >> 8):
        return False
    if reply[4:6] == b"\0\0":
        # A server that couldn't read the question has none to repeat.
        return len(reply) == HEADER.size or reply[3] & 15 != 0
    end = _questionEnd(question)
    return reply[HEADER.size : end].lower() == question[HEADER.size : end].lower()


def _questionEnd(question: bytes) -> int:
    at = HEADER.size
    while question[at]:
        at += question[at] + 1
    return at + 5


def _udp(server: Server, question: bytes) -> bytes:
    """
    Ask by datagram, again when one seems lost.
    """
    info = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(info[0], info[1]) as client:
        client.connect(info[4])
        for _ in range(ATTEMPTS):
            client.send(question)
            until = time.monotonic() + server.timeout / ATTEMPTS
            while (left := until - time.monotonic()) > 0:
                client.settimeout(left)
                try:
                    reply = client.recv(MOST_OCTETS)
                except TimeoutError:
                    break
                if _answers(reply, question):
                    return reply
    raise TimeoutError


def _tcp(server: Server, question: bytes) -> bytes:
    """
    Ask over a connection.
    """
    with socket.create_connection((server.host, server.port), server.timeout) as client:
        return _framed(client, server, question)


def _tls(server: Server, question: bytes) -> bytes:
    """
    Ask over TLS (RFC 7858).
    """
    with (
        socket.create_connection((server.host, server.port), server.timeout) as plain,
        _context(server, "dot").wrap_socket(
            plain, server_hostname=server.tlsName or server.host
        ) as client,
    ):
        return _framed(client, server, question)


def _framed(client: socket.socket, server: Server, question: bytes) -> bytes:
    """
    Send a message and read one, each behind its length (RFC 1035 §4.2.2).
    """
    until = time.monotonic() + server.timeout
    client.sendall(struct.pack("!H", len(question)) + question)
    received = b""
    wanted = 2
    while len(received) < wanted:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        client.settimeout(left)
        piece = client.recv(wanted - len(received))
        if not piece:
            raise OSError("the connection was closed without a reply")
        received += piece
        if len(received) == 2 == wanted:
            wanted += struct.unpack("!H", received)[0]
    if not _answers(received[2:], question):
        raise OSError("the reply is not to this question")
    return received[2:]


def _https(server: Server, question: bytes) -> bytes:
    """
    Ask over HTTPS (RFC 8484).
    """
    context = _context(server, "http/1.1")
    connection = _Named(server, context)
    try:
        connection.request(
            "POST",
            server.path,
            question,
            {"Content-Type": "application/dns-message", "Accept": "application/dns-message"},
        )
        response = connection.getresponse()
        reply = response.read(MOST_OCTETS + 1)
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"HTTP status {response.status} {response.reason}")
    if not _answers(reply, question):
        raise OSError("the reply is not to this question")
    return reply


class _Named(http.client.HTTPSConnection):
    """
    A connection to a server whose certificate may have another name than what
    it is reached by.
    """

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        super().__init__(server.host, server.port, timeout=server.timeout, context=context)
        self._server = server
        self._wrapping = context

    def connect(self) -> None:
        """
        Connect.
        """
        server = self._server
        plain = socket.create_connection((server.host, server.port), server.timeout)
        self.sock: Any = self._wrapping.wrap_socket(
            plain, server_hostname=server.tlsName or server.host
        )


def _context(server: Server, protocol: str) -> ssl.SSLContext:
    """
    What is trusted.
    """
    context = ssl.create_default_context(cafile=server.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    if not server.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_WAYS: dict[str, Callable[[Server, bytes], bytes]] = {
    "udp": _udp,
    "tcp": _tcp,
    "tls": _tls,
    "https": _https,
}
