# -*- test-case-name: tests.integration.test_sockets -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Bound sockets, with the options that a DNS server wants.

Twisted binds sockets well, but neither shares a port between processes nor
tells which of a machine's addresses a datagram was sent to; so we bind, and
the reactor adopts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys

from dnsguard.errors import ListenError
from dnsguard.server.address import ListenAddress

__all__ = ["IP_PKTINFO", "bindDatagram", "bindStream", "isMissing"]

IP_PKTINFO: int | None = getattr(socket, "IP_PKTINFO", 8 if sys.platform == "linux" else None)
"""The option, and kind of ancillary data, that names a datagram's destination."""

_MISSING = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})

_SO_RCVBUFFORCE = 33 if sys.platform == "linux" else None
"""The option that sets the buffer beyond the system's limit, see socket(7)."""

_BACKLOG = 512
"""Connections the system may hold that we haven't accepted yet."""


def isMissing(reason: OSError) -> bool:
    """
    Does the machine lack the address, or its whole family?
    """
    return reason.errno in _MISSING


def bindDatagram(
    address: ListenAddress, *, reusePort: bool = False, receiveBuffer: int = 0
) -> socket.socket:
    """
    A non-blocking UDP socket. One bound to a wildcard tells with each datagram
    where it was sent to.

    @param reusePort: May other sockets be bound to the same port, and the
        system spread the clients over all of them?
    @param receiveBuffer: Octets the system may hold for us; 0 leaves it alone.
    @raise ListenError: It can't be had; C{__cause__} is the L{OSError}.
    """
    return _bind(address, socket.SOCK_DGRAM, "udp", reusePort, receiveBuffer)


def bindStream(address: ListenAddress, *, reusePort: bool = False) -> socket.socket:
    """
    A non-blocking, listening TCP socket.

    @param reusePort: As L{bindDatagram} has it.
    @raise ListenError: It can't be had; C{__cause__} is the L{OSError}.
    """
    return _bind(address, socket.SOCK_STREAM, "tcp", reusePort, 0)


def _bind(
    address: ListenAddress, kind: int, protocol: str, reusePort: bool, receiveBuffer: int
) -> socket.socket:
    bound: socket.socket | None = None
    try:
        bound = socket.socket(address.family, kind)
        bound.setblocking(False)
        if address.family == socket.AF_INET6:
            # Or [::] would take 0.0.0.0 along, and clash with it.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reusePort:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receiveBuffer:
            _setReceiveBuffer(bound, receiveBuffer)
        bound.bind((address.host, address.port))
        if kind == socket.SOCK_STREAM:
            bound.listen(_BACKLOG)
        elif address.isWildcard:
            _tellDestination(bound)
    except OSError as reason:
        if bound is not None:
            bound.close()
        words = os.strerror(reason.errno).lower() if reason.errno else str(reason)
        raise ListenError(str(address), protocol, words) from reason
    return bound


def _setReceiveBuffer(bound: socket.socket, octets: int) -> None:
    """
    Ask for room; what the system's limit doesn't allow takes privileges.
    """
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
    if _SO_RCVBUFFORCE is not None:
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, octets)


def _tellDestination(bound: socket.socket) -> None:
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif IP_PKTINFO is not None:
        bound.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
