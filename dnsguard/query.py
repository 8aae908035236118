# -*- test-case-name: tests.test_query -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A query that knows who asks.

L{ClientQuery} is a L{dns.Query} with the facts an answerer may need: who
asks, over what, with which EDNS, and which policy view applies. All are fixed
on arrival. Twisted Names hands resolvers a bare question instead, and a
filtering server that loses I{who} on the way filters for the wrong person.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, Any

from twisted.names import dns

from dnsguard.caching.key import CHECKING_DISABLED, DNSSEC_OK, keyOf
from dnsguard.policy.asker import Asker
from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import AD, CD, RD
from dnsguard.wire.names import InvalidName, labels, toText

if TYPE_CHECKING:
    from dnsguard.policy.view import View

__all__ = ["Asker", "ClientQuery", "Transport", "nameToWire", "wireToName"]

_TYPE_CLASS = struct.Struct("!HH")


class Transport(enum.Enum):
    """
    What a query arrived over. The values are the words of the query store.
    """

    # By identity: the inherited one is Python code that hashes the name.
    __hash__ = object.__hash__

    UDP = "udp"
    TCP = "tcp"
    DOT = "dot"
    DOH = "doh"
    DOQ = "doq"
    INTERNAL = "internal"


def nameToWire(name: bytes) -> bytes:
    """
    Turn the dotted octets Twisted Names keeps in C{dns.Name.name} into a
    lower-cased wire name. A dot always ends a label there.

    @raise InvalidName: An empty or too long label, or a too long name.
    """
    stripped = name.rstrip(b".")
    if not stripped:
        return b"\0"
    wire = bytearray()
    for label in stripped.lower().split(b"."):
        if not 0 < len(label) <= 63:
            raise InvalidName(f"{name[:80]!r}: label of {len(label)} octets")
        wire.append(len(label))
        wire += label
    if len(wire) > 254:
        raise InvalidName(f"{name[:80]!r}: name over 255 octets")
    return bytes(wire) + b"\0"


def wireToName(wire: bytes) -> bytes:
    """
    Turn a wire name into the dotted octets that C{dns.Name} takes.
    """
    return b".".join(labels(wire))


class QueryFacts:
    """
    What a L{ClientQuery} consists of.

    Apart from it, because a class that Twisted Names' query is a base of can't
    have its attributes in a C structure, where compiled code finds them without
    looking; this one has them there (C{query.pxd}).
    """

    __slots__ = (
        "_name",
        "asker",
        "checkingDisabled",
        "cls",
        "edns",
        "key",
        "qname",
        "received",
        "recursionDesired",
        "timeout",
        "transport",
        "type",
        "view",
        "wantsAD",
    )

    def __init__(
        self,
        qname: bytes,
        type: int = dns.A,
        cls: int = dns.IN,
        *,
        asker: Asker = Asker.ANONYMOUS,
        transport: Transport = Transport.INTERNAL,
        edns: EDNS | None = None,
        recursionDesired: bool = True,
        checkingDisabled: bool = False,
        wantsAD: bool = False,
        received: float = 0.0,
        timeout: tuple[float, ...] | None = None,
        view: View | None = None,
    ) -> None:
        self.qname = qname
        self.type = type
        self.cls = cls
        self.asker = asker
        self.transport = transport
        self.edns = edns
        self.recursionDesired = recursionDesired
        self.checkingDisabled = checkingDisabled
        self.wantsAD = wantsAD
        self.received = received
        self.timeout = timeout
        self.view = view
        self.key = keyOf(self)
        self._name: dns.Name | None = None


class ClientQuery(QueryFacts, dns.Query):
    """
    One question, who asks it and how.

    Equal to, and hashing like, the plain L{dns.Query} for the same name, type
    and class, so that stock resolvers which keep queries in dicts find it.
    Nothing on it is written after construction; answerers that need another
    question make one with L{about}.

    @ivar qname: The name in lower-cased wire form (L{dnsguard.wire.names}).
    @ivar type: The type, as a number.
    @ivar cls: The class, as a number.
    @ivar asker: Who asks.
    @ivar transport: What the query arrived over.
    @ivar edns: The request's OPT record, or L{None}.
    @ivar recursionDesired: The RD bit.
    @ivar checkingDisabled: The CD bit (RFC 4035 §3.2.2).
    @ivar wantsAD: The AD bit: an AD bit in the reply is understood
        (RFC 6840 §5.7).
    @ivar received: When it arrived, in seconds of the server's clock.
    @ivar timeout: The IResolver timeouts, in seconds, or L{None}.
    @ivar view: The policy view that holds for this query from start to end;
        L{None} only for a query that no policy applies to.
    @ivar key: What answers to it are filed under, see L{dnsguard.caching.key}.
    """

    # dns.Query sets these in its constructor; here QueryFacts has them, except for
    # name, which most queries never need in Twisted Names' form.
    type: int
    cls: int

    @property
    def name(self) -> dns.Name:  # type: ignore[override]
        """
        The name as Twisted Names keeps it.
        """
        if self._name is None:
            self._name = dns.Name(wireToName(self.qname))
        return self._name

    @property
    def text(self) -> str:
        """
        The name in presentation form, without the final dot.
        """
        return toText(self.qname)

    @property
    def dnssecOK(self) -> bool:
        """
        Does the asker want DNSSEC records (the DO bit, RFC 3225)?
        """
        return self.edns is not None and self.edns.dnssecOK

    @property
    def question(self) -> bytes:
        """
        The question section: lower-cased name, type and class.
        """
        return self.qname + _TYPE_CLASS.pack(self.type, self.cls)

    @classmethod
    def adopt(cls, query: dns.Query, view: View | None = None, **facts: Any) -> ClientQuery:
        """
        Give a stock caller's plain query as one of ours.

        A L{ClientQuery} is given back as it is, with its own view.

        @param view: The view for somebody unknown: what an unlisted client
            gets, never "no policy".
        @param facts: Further keyword arguments of the constructor.
        @raise InvalidName: The query's name can't stand in a packet.
        """
        if isinstance(query, ClientQuery):
            return query
        return cls(nameToWire(query.name.name), query.type, query.cls, view=view, **facts)

    def about(self, qname: bytes, type: int | None = None) -> ClientQuery:
        """
        Make the sibling query for another name, such as an alias's target:
        same asker, view and options.

        @param qname: The other name, lower-cased, in wire form.
        @param type: The type, if another one is asked for.
        """
        return ClientQuery(
            qname,
            self.type if type is None else type,
            self.cls,
            asker=self.asker,
            transport=self.transport,
            edns=self.edns,
            recursionDesired=self.recursionDesired,
            checkingDisabled=self.checkingDisabled,
            wantsAD=self.wantsAD,
            received=self.received,
            timeout=self.timeout,
            view=self.view,
        )

    def __repr__(self) -> str:
        return f"<ClientQuery {self.text} {self.type} {self.cls} from {self.asker.address or '?'}>"


def newQuery(
    qname: bytes,
    type: int,
    cls: int,
    asker: Asker,
    transport: Transport,
    edns: EDNS | None,
    flags: int,
    received: float,
    view: View | None,
) -> ClientQuery:
    """
    Make the query of a request; what is said by place takes a third of the time
    that keywords take.

    @param flags: The request's flags, for RD, CD and AD.
    """
    query: ClientQuery = ClientQuery.__new__(ClientQuery)
    query.qname = qname
    query.type = type
    query.cls = cls
    query.asker = asker
    query.transport = transport
    query.edns = edns
    query.recursionDesired = flags & RD != 0
    query.checkingDisabled = flags & CD != 0
    query.wantsAD = flags & AD != 0
    query.received = received
    query.timeout = None
    query.view = view
    # keyOf(), without the call.
    keyFlags = DNSSEC_OK if edns is not None and edns.dnssecOK else 0
    if flags & CD:
        keyFlags |= CHECKING_DISABLED
    query.key = (qname, type, cls, keyFlags)
    query._name = None
    return query
