# -*- test-case-name: tests.replay.test_entry -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The facts that all queries answered from one replay entry share.

There is one of these for each entry, and there are many entries: so what most
of them have in common is held once, and what the cache holds isn't held again.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.key import Key
from dnsguard.policy.decision import Attribution
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import HEADER_SIZE, scan

__all__ = ["ReplayedAnswer"]

_TYPE_CLASS = struct.Struct("!HH")

_MOST_SHARED = 4096
"""Circumstances that are held once; the ones met longest ago are let go."""


class _Circumstances(NamedTuple):
    """
    What many entries have in common; see L{ReplayedAnswer}. A tuple, as each
    blocked name has its own: a frozen object takes five times as long to make.

    @ivar nameSize: The octets of the name.
    @ivar errorCode: The code of the answer's extended error, or L{None}.
    """

    nameSize: int
    type: int
    cls: int
    outcome: Outcome
    rCode: int
    groupID: str
    attribution: Attribution | None
    viewNumber: int | None
    generation: int | None
    cacheFlags: int
    authenticData: bool
    errorCode: int | None


_circumstances = lru_cache(_MOST_SHARED)(_Circumstances)


class ReplayedAnswer:
    """
    What the log, the store and the counters need of a replayed answer.

    A store may hold its L{parts} instead, where it has any, and make another one
    of them when somebody asks: most entries are then no object but a message that
    the cache has as well.

    @ivar row: Whatever the query store has made of this and wants to have again
        for the next query, or L{None}. It changes nothing for others, and may be
        forgotten.
    """

    __slots__ = ("_message", "_qname", "_shared", "row")

    def __init__(
        self,
        qname: bytes,
        type: int,
        cls: int,
        outcome: Outcome,
        rCode: int,
        groupID: str,
        attribution: Attribution | None,
        answer: Answer,
        viewNumber: int | None = None,
        generation: int | None = None,
        cacheFlags: int = 0,
    ) -> None:
        """
        @param qname: The name asked for, lower-cased, in wire form.
        @param type: The type asked for.
        @param cls: The class asked for.
        @param outcome: What to log: an answer first made from upstream or L1
            is a cached one when it is replayed.
        @param rCode: The response code, 12 bits.
        @param groupID: The client group of the view the entry is for.
        @param attribution: The rule that decided, or L{None}.
        @param answer: The answer itself, for whoever wants a summary of its
            records.
        @param viewNumber: The number of the policy view it was made for;
            L{None}: nobody knows, so it can't be replayed.
        @param generation: The number of the policy it was made under: the one
            that was current when the query arrived. L{None}: it can't be
            replayed.
        @param cacheFlags: What the answer's cache key has besides question and
            class; see L{dnsguard.caching.key.Key}.
        """
        error = answer.extendedError
        self._shared = _circumstances(
            len(qname),
            type,
            cls,
            outcome,
            rCode,
            groupID,
            attribution,
            viewNumber,
            generation,
            cacheFlags,
            answer.authenticData,
            None if error is None else error.code,
        )
        message = answer.lasting
        if message is None:
            message, _ = answer.encoded(qname + _TYPE_CLASS.pack(type, cls))
        self._message = message
        # Most messages have the name in them.
        own = message[HEADER_SIZE : HEADER_SIZE + len(qname)].lower() == qname
        self._qname = None if own else qname
        self.row: bytes | None = None

    def attributedTo(self, attribution: Attribution) -> ReplayedAnswer:
        """
        Give the facts of the same answer, which another rule decides now.
        """
        facts = ReplayedAnswer.__new__(ReplayedAnswer)
        shared = self._shared._replace(attribution=attribution)
        facts._shared = _circumstances(*shared)
        facts._message, facts._qname, facts.row = self._message, self._qname, None
        return facts

    @property
    def parts(self) -> tuple[bytes, object] | None:
        """
        Message and circumstances, if that is all there is to it and others have
        the circumstances in common.
        """
        shared = self._shared
        if self._qname is not None or shared.attribution is not None:
            return None
        return self._message, shared

    @classmethod
    def of(cls, message: bytes, circumstances: Any) -> ReplayedAnswer:
        """
        Make one of another's L{parts}.
        """
        made = cls.__new__(cls)
        made._message = message
        made._shared = circumstances
        made._qname = made.row = None
        return made

    @property
    def qname(self) -> bytes:
        """
        The name asked for, lower-cased, in wire form.
        """
        if self._qname is not None:
            return self._qname
        return self._message[HEADER_SIZE : HEADER_SIZE + self._shared.nameSize].lower()

    @property
    def key(self) -> Key:
        """
        What the answer's name, type and class are called in caches.
        """
        shared = self._shared
        return self.qname, shared.type, shared.cls, shared.cacheFlags

    @property
    def message(self) -> bytes:
        """
        The answer's message. It isn't the reply, but has the same records.
        """
        return self._message

    @property
    def questionEnd(self) -> int:
        """
        Where the question ends in C{message}, if its name is the one asked
        for; otherwise 0.
        """
        # Name, type and class.
        return HEADER_SIZE + self._shared.nameSize + 4 if self._qname is None else 0

    @property
    def circumstances(self) -> object:
        """
        All but the name and the message: the same object for entries that have
        it in common, most of the time.
        """
        return self._shared

    @property
    def type(self) -> int:
        """
        The type asked for.
        """
        return self._shared.type

    @property
    def cls(self) -> int:
        """
        The class asked for.
        """
        return self._shared.cls

    @property
    def outcome(self) -> Outcome:
        """
        What to log.
        """
        return self._shared.outcome

    @property
    def rCode(self) -> int:
        """
        The response code, 12 bits.
        """
        return self._shared.rCode

    @property
    def groupID(self) -> str:
        """
        The client group of the view the entry is for.
        """
        return self._shared.groupID

    @property
    def attribution(self) -> Attribution | None:
        """
        The rule that decided, or L{None}.
        """
        return self._shared.attribution

    @property
    def viewNumber(self) -> int | None:
        """
        The number of the policy view it was made for, or L{None}.
        """
        return self._shared.viewNumber

    @property
    def generation(self) -> int | None:
        """
        The number of the policy it was made under, or L{None}.
        """
        return self._shared.generation

    @property
    def cacheFlags(self) -> int:
        """
        What the answer's cache key has besides question and class.
        """
        return self._shared.cacheFlags

    @property
    def answer(self) -> Answer:
        """
        The answer again, as it is replayed: from no upstream, and without the
        text of its extended error.
        """
        shared = self._shared
        code = shared.errorCode
        return Answer.fromWire(
            self._message,
            scan(self._message),
            outcome=shared.outcome,
            rCode=shared.rCode,
            authenticData=shared.authenticData,
            extendedError=None if code is None else ExtendedError(code),
            attribution=shared.attribution,
        )
