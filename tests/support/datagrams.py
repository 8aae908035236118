# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Sockets on loopback for tests of datagram listeners.
"""

from __future__ import annotations

import socket

from tests.support.replay import request

LOCAL = socket.inet_aton("127.0.0.1")
SECONDS = 5.0


def bound(host: str = "127.0.0.1", port: int = 0, reusePort: bool = False) -> socket.socket:
    """
    A server's socket as the server binds it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    if reusePort:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if host == "0.0.0.0":
        made.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    if host == "::":
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    made.bind((host, port))
    return made


def client(port: int, host: str = "127.0.0.1") -> socket.socket:
    """
    A client's socket; it takes replies from the address it asks and from no
    other.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.settimeout(SECONDS)
    made.connect((host, port))
    return made


def name(number: int) -> bytes:
    """
    One of many requests.
    """
    return request(f"host{number}.example.org", id=number & 0xFFFF)
