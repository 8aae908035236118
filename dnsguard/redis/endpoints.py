# -*- test-case-name: tests.redis.test_endpoints -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Where a Redis server is, and the way there: TCP, TLS or a socket in the file
system.

TLS here always looks at the server's certificate: a store that anybody can
stand in for could answer any name with any address.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from OpenSSL.crypto import Error as OpenSSLError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from zope.interface import implementer

__all__ = ["CONNECT_SECONDS", "ClientTLS", "Place", "TurnsEndpoint", "endpointOf"]

CONNECT_SECONDS = 2.0
"""How long connecting may take."""

_PEM = "-----BEGIN CERTIFICATE-----"


@attrs.frozen
class Place:
    """
    Where a server is.

    @ivar host: Its host's name or address; empty for a socket.
    @ivar port: Its port.
    @ivar path: Its socket in the file system.
    """

    host: str = ""
    port: int = 6379
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class ClientTLS:
    """
    How to be sure whom one talks to.

    @ivar trustRoot: The authorities whose word counts, as Twisted takes them;
        L{None}: those of the machine.
    @ivar certificate: Our own certificate with its key, or L{None}.
    @ivar serverName: The name that the certificate must be for, or empty for
        the host's.
    """

    trustRoot: Any = None
    certificate: PrivateCertificate | None = None
    serverName: str = ""

    @classmethod
    def load(
        cls, authorities: str = "", certificate: str = "", key: str = "", serverName: str = ""
    ) -> ClientTLS:
        """
        Read PEM files; an empty path leaves out what it is for. Waits for the
        disk.

        @raise ValueError: One can't be read or used; says which, and why.
        """
        root = own = None
        if authorities:
            text = _read(authorities)
            blocks = [_PEM + block for block in text.split(_PEM)[1:]]
            if not blocks:
                raise ValueError(f"{authorities}: no certificate in it")
            try:
                root = trustRootFromCertificates(
                    [Certificate.loadPEM(each.encode()) for each in blocks]
                )
            except OpenSSLError:
                raise ValueError(f"{authorities}: a certificate in it can't be read") from None
        if certificate:
            text = _read(certificate) + ("\n" + _read(key) if key else "")
            try:
                own = PrivateCertificate.loadPEM(text.encode())
            except (OpenSSLError, VerifyError):
                raise ValueError(
                    f"{certificate}: it and its key can't be read, or don't fit"
                ) from None
        return cls(root, own, serverName)


@implementer(IStreamClientEndpoint)
class TurnsEndpoint:
    """
    Connects to one of several servers, each time to the next.
    """

    def __init__(self, endpoints: Sequence[IStreamClientEndpoint]) -> None:
        self._endpoints = tuple(endpoints)
        self._turn = -1

    def connect(self, protocolFactory: Any) -> Any:
        """
        Connect to the next one.
        """
        self._turn = (self._turn + 1) % len(self._endpoints)
        return self._endpoints[self._turn].connect(protocolFactory)


def endpointOf(place: Place, reactor: Any, tls: ClientTLS | None = None) -> IStreamClientEndpoint:
    """
    The way to a server.

    @param tls: How to be sure that it is the one meant; L{None}: in the open.
    """
    if place.path:
        return UNIXClientEndpoint(reactor, place.path, timeout=CONNECT_SECONDS)
    endpoint = HostnameEndpoint(reactor, place.host, place.port, timeout=CONNECT_SECONDS)
    if tls is None:
        return endpoint
    options = optionsForClientTLS(
        tls.serverName or place.host,
        trustRoot=tls.trustRoot,
        clientCertificate=tls.certificate,
    )
    wrapped: IStreamClientEndpoint = wrapClientTLS(options, endpoint)
    return wrapped


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
