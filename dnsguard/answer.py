# -*- test-case-name: tests.test_answer -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
An answer that knows how it was made.

To stock Twisted Names code an L{Answer} is the usual sequence of three lists
of records. To dnsguard it is what the reply, the caches, the logs and the
metrics need to know, and mostly octets: an answer that is forwarded or cached
keeps its wire form, and its records are decoded only if somebody looks.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.names import dns

from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import HEADER, HEADER_SIZE, QR, Layout, scan
from dnsguard.wire.names import labels

if TYPE_CHECKING:
    from dnsguard.policy.decision import Attribution

__all__ = ["Answer", "Outcome", "Records"]

Records = list[dns.RRHeader]


class Outcome(enum.Enum):
    """
    How an answer came about. The values are the words of the query store.
    """

    # By identity: the inherited one is Python code that hashes the name.
    __hash__ = object.__hash__

    INVALID = "invalid"
    LOCAL = "local"
    LOCAL_CNAME_UPSTREAM = "local_cname_upstream"
    SAFE_SEARCH = "safe_search"
    BLOCKED = "blocked"
    CACHED = "cached"
    STALE = "stale"
    SERVFAIL_BACKOFF = "servfail_backoff"
    UPSTREAM_ERROR = "upstream_error"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    UPSTREAM = "upstream"


class Answer:
    """
    Three sections of records, and how they came about.

    Immutable to its users. Make one with L{fromRecords}, L{fromWire} or
    L{failure}.

    @ivar rCode: The response code, up to 12 bits (RFC 6891 §6.1.3).
    @ivar outcome: How it came about.
    @ivar upstream: The upstream it came from, or empty.
    @ivar authoritative: May the reply carry AA?
    @ivar authenticData: Did a validator vouch for it (AD)?
    @ivar extendedError: Why it is what it is (RFC 8914), or L{None}.
    @ivar cacheSeconds: How long it stays true, in seconds, by its own TTLs
        (RFC 2308 for a negative one); 0: don't keep it. Below 0: for how long
        a stale answer hasn't been true.
    @ivar replaySeconds: How long a finished reply made from it may be given
        to an equal question without asking the chain again; 0: never. An
        answer due for refresh gives a short time, so that the chain sees it.
    @ivar final: False: use it only if no later answerer has one. Of those a
        stale answer is better than a failure.
    @ivar attribution: The rule that decided, where one did.
    """

    __slots__ = (
        "_layout",
        "_sections",
        "_wire",
        "attribution",
        "authenticData",
        "authoritative",
        "cacheSeconds",
        "extendedError",
        "final",
        "outcome",
        "rCode",
        "replaySeconds",
        "upstream",
    )

    def __init__(
        self,
        *,
        rCode: int,
        outcome: Outcome,
        sections: tuple[Records, Records, Records] | None = None,
        wire: bytes | None = None,
        layout: Layout | None = None,
        upstream: str = "",
        authoritative: bool = False,
        authenticData: bool = False,
        extendedError: ExtendedError | None = None,
        cacheSeconds: int = 0,
        replaySeconds: float = 0.0,
        final: bool = True,
        attribution: Attribution | None = None,
    ) -> None:
        self.rCode = rCode
        self.outcome = outcome
        self.upstream = upstream
        self.authoritative = authoritative
        self.authenticData = authenticData
        self.extendedError = extendedError
        self.cacheSeconds = cacheSeconds
        self.replaySeconds = replaySeconds
        self.final = final
        self.attribution = attribution
        self._wire = wire
        self._layout = layout
        self._sections = sections

    @classmethod
    def fromRecords(
        cls,
        answers: Sequence[dns.RRHeader],
        authority: Sequence[dns.RRHeader] = (),
        additional: Sequence[dns.RRHeader] = (),
        *,
        rCode: int = dns.OK,
        outcome: Outcome,
        **facts: Any,
    ) -> Answer:
        """
        Make an answer of records.

        @param facts: Further keyword arguments of the constructor.
        """
        return cls(
            rCode=rCode,
            outcome=outcome,
            sections=(list(answers), list(authority), list(additional)),
            **facts,
        )

    @classmethod
    def fromWire(
        cls,
        wire: bytes,
        layout: Layout,
        *,
        outcome: Outcome,
        rCode: int | None = None,
        **facts: Any,
    ) -> Answer:
        """
        Make an answer of a whole message.

        @param wire: A response with exactly one question and no OPT record;
            its id and flags don't count.
        @param layout: The scan of C{wire}.
        @param rCode: The twelve-bit code, where C{wire} lost its upper bits
            with the OPT record.
        @param facts: Further keyword arguments of the constructor.
        """
        return cls(
            rCode=layout.rCode if rCode is None else rCode,
            outcome=outcome,
            wire=wire,
            layout=layout,
            **facts,
        )

    @classmethod
    def failure(cls, rCode: int, outcome: Outcome, **facts: Any) -> Answer:
        """
        Make an answer without records, such as SERVFAIL or REFUSED.

        @param facts: Further keyword arguments of the constructor.
        """
        return cls(rCode=rCode, outcome=outcome, sections=([], [], []), **facts)

    def replace(self, **changes: Any) -> Answer:
        """
        Make the same answer with some attributes changed.

        @param changes: Keyword arguments of the constructor.
        """
        facts: dict[str, Any] = {
            "rCode": self.rCode,
            "outcome": self.outcome,
            "sections": self._sections,
            "wire": self._wire,
            "layout": self._layout,
            "upstream": self.upstream,
            "authoritative": self.authoritative,
            "authenticData": self.authenticData,
            "extendedError": self.extendedError,
            "cacheSeconds": self.cacheSeconds,
            "replaySeconds": self.replaySeconds,
            "final": self.final,
            "attribution": self.attribution,
        }
        if "wire" in changes:
            facts["sections"] = None
        elif "sections" in changes:
            facts["wire"] = facts["layout"] = None
        facts.update(changes)
        return Answer(**facts)

    @property
    def wire(self) -> bytes | None:
        """
        The message this answer was made of, or L{None} for one made of
        records. See L{fromWire}.
        """
        return self._wire

    @property
    def lasting(self) -> bytes | None:
        """
        The message to hold on to for longer than a query takes: of an answer
        from a cache, the cache's own and not a copy. Its TTLs don't count.
        """
        return self._wire

    @property
    def layout(self) -> Layout | None:
        """
        The scan of L{wire}.
        """
        return self._layout

    def encoded(self, question: bytes) -> tuple[bytes, Layout]:
        """
        Give the answer as a whole message and its scan, encoding records only
        if there are any that have no wire form yet.

        @param question: The question section, uncompressed.
        @return: As L{fromWire} takes them.
        """
        if self._wire is None or self._layout is None:
            wire = _encode(question, self.rCode, self.sections)
            self._layout = scan(wire)
            self._wire = wire
        return self._wire, self._layout

    @property
    def sections(self) -> tuple[Records, Records, Records]:
        """
        Answer, authority and additional records, decoded on first use.
        """
        if self._sections is None:
            message = dns.Message()
            assert self._wire is not None
            message.fromStr(self._wire)
            self._sections = (message.answers, message.authority, message.additional)
        return self._sections

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Records]:
        return iter(self.sections)

    def __getitem__(self, index: Any) -> Any:
        return self.sections[index]

    def __repr__(self) -> str:
        return f"<Answer {self.outcome.value} rCode={self.rCode}>"

    index = Sequence.index
    count = Sequence.count


# Not a base: one can't be compiled that isn't itself, see answer.pxd.
Sequence.register(Answer)


class _Places(dict[bytes, int]):
    """
    Where names stand in a message being written, for pointers to them.
    """

    def __setitem__(self, name: bytes, place: int) -> None:
        # A pointer has 14 bits (RFC 1035 §4.1.4); Twisted Names would write a
        # longer one, to somewhere else.
        if place < 0x4000:
            super().__setitem__(name, place)


def _encode(question: bytes, rCode: int, sections: tuple[Records, Records, Records]) -> bytes:
    """
    Encode records behind a question, with owner names compressed against it.
    """
    places = _Places()
    start = 0
    # By labels, not by dots: a dot may stand inside one.
    while question[start]:
        places[b".".join(labels(question[start:]))] = start + HEADER_SIZE
        start += question[start] + 1
    body = BytesIO()
    body.write(question)
    for section in sections:
        for record in section:
            record.encode(body, places)
    counts = map(len, sections)
    return HEADER.pack(0, QR | (rCode & 15), 1, *counts) + body.getvalue()
