# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Stock Twisted Names parts for the tests of the border.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IResolver
from twisted.internet.testing import StringTransport
from twisted.names import common, dns, server
from twisted.names.authority import FileAuthority
from zope.interface import implementer

SOA = dns.Record_SOA(b"ns.example.org", b"hostmaster.example.org", 1, 3600, 600, 86400, 60, 900)


def record(name: bytes = b"www.example.org", ttl: int = 300, auth: bool = False) -> dns.RRHeader:
    """
    An A record.
    """
    return dns.RRHeader(name, dns.A, dns.IN, ttl, dns.Record_A("192.0.2.1", ttl), auth)


def soaRecord() -> dns.RRHeader:
    """
    The SOA record of example.org, true for 60 seconds when negative.
    """
    return dns.RRHeader(b"example.org", dns.SOA, dns.IN, 900, SOA)


class MemoryAuthority(FileAuthority):
    """
    The zone example.org with one address.
    """

    soa: Any
    records: Any

    def __init__(self) -> None:
        super().__init__(None)

    def loadFile(self, filename: Any) -> None:
        """
        Load no file.
        """
        self.soa = (b"example.org", SOA)
        self.records = {
            b"example.org": [SOA],
            b"www.example.org": [dns.Record_A("192.0.2.1", 300)],
        }


@implementer(IResolver)
class Stock(common.ResolverBase):
    """
    A stock resolver with one result for everything.
    """

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result
        self.asked: list[tuple[Any, ...]] = []

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Deferred[Any]:
        self.asked.append((name, cls, type, timeout))
        if isinstance(self.result, BaseException):
            return fail(self.result)
        if isinstance(self.result, Deferred):
            return self.result
        return succeed(self.result)


def serve(resolver: Any, name: bytes = b"www.example.org", type: int = dns.A) -> dns.Message:
    """
    Ask a stock DNS server with one resolver over a stream, and decode what it
    replies.
    """
    factory = server.DNSServerFactory(clients=[resolver])
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    query = dns.Message(id=7, recDes=1)
    query.addQuery(name, type)
    octets = query.toStr()
    protocol.dataReceived(len(octets).to_bytes(2, "big") + octets)
    reply = dns.Message()
    reply.fromStr(transport.value()[2:])
    return reply
