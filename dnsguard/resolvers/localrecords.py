# -*- test-case-name: tests.resolvers.test_localrecords -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The answerer for names that never leave the house: the operator's own records,
and the special names of the registries.

It comes first in the chain, so the operator's word beats block lists: a record
for a blocked name is answered, and an alias that leads to a blocked name is
followed.
"""

from __future__ import annotations

from functools import partial

from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.localrecords import LocalAnswer
from dnsguard.policy.specialnames import SpecialAnswer
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered
from dnsguard.resolvers.policy import AliasFollower, failed
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import QR
from dnsguard.wire.records import Record, join

__all__ = ["LocalRecordsResolver"]

_IN, _ANY = 1, 255

REPLAY_SECONDS = 60.0
"""
How long a finished reply may be given again. It would be right for as long as
the policy is, but its TTLs are counted down meanwhile, and ours don't age.
"""

_SYNTHESIZED = 29
"""The extended error of an answer nobody was asked for (IANA, RFC 8914 §5.2)."""


class LocalRecordsResolver(AliasFollower):
    """
    Answers from the view's local records and special names.

    A local name without the type asked for is "no data", and never asked
    upstream. An alias that leads to somebody else's name is answered with what
    the tail gives for that; if the tail says there is nothing, with the alias
    alone; if it fails, with its failure.
    """

    def answer(self, query: ClientQuery) -> Answered:
        """
        Answer a local or special name.
        """
        cls, qname, type = query.cls, query.qname, query.type
        if cls != _IN and cls != _ANY:
            return None
        view = query.view or self.viewOfStrangers()
        found = view.records.find(qname, type)
        if found is not None:
            if found.target is None:
                return _local(query, found.answer, found.authority)
            return self._followed(query, view, found, found.target)
        special = view.specialNames.find(qname, type)
        return None if special is None else _special(query, special)

    def _followed(
        self, query: ClientQuery, view: View, found: LocalAnswer, target: bytes
    ) -> Answered:
        """
        Go on where an alias leads out of the local records.
        """
        special = view.specialNames.find(target, query.type)
        if special is not None:
            return _local(query, (*found.answer, *special.answer), special.authority)
        return self.follow(query, target, partial(self._joined, query, found.answer, target))

    def _joined(
        self, query: ClientQuery, aliases: tuple[Record, ...], target: bytes, answer: Answer | None
    ) -> Answer:
        """
        Join our aliases with what the tail gave for the last one's target.
        """
        if answer is None:
            return _local(query, aliases, ())
        if answer.rCode not in (dns.OK, dns.ENAME):
            return failed(answer)
        sections = self.sections(query, target, answer)
        if sections is None:
            return failed(None)
        records, authority, additional = sections
        # NOERROR whatever the target's code: the name asked for is there, the
        # operator says so.
        wire, layout = join(query.question, (*aliases, *records), authority, additional)
        upstream = answer.outcome is Outcome.UPSTREAM
        return Answer.fromWire(
            wire,
            layout,
            outcome=Outcome.LOCAL_CNAME_UPSTREAM if upstream else Outcome.LOCAL,
            authoritative=True,
            upstream=answer.upstream,
            extendedError=answer.extendedError,
            # Not to be replayed: whoever clears or renews the target forgets
            # replies for the target's name, and knows nothing of this one.
            cacheSeconds=min(layout.leastTTL or 0, answer.cacheSeconds),
        )


def _local(
    query: ClientQuery, records: tuple[Record, ...], authority: tuple[Record, ...]
) -> Answer:
    """
    Make an answer of our own records.
    """
    wire, layout = join(query.question, records, authority)
    seconds = layout.leastTTL if layout.leastTTL is not None else layout.negativeTTL or 0
    return Answer.fromWire(
        wire,
        layout,
        outcome=Outcome.LOCAL,
        authoritative=True,
        cacheSeconds=seconds,
        replaySeconds=min(REPLAY_SECONDS, seconds),
    )


def _special(query: ClientQuery, special: SpecialAnswer) -> Answer:
    """
    Make the answer for a special name.
    """
    flags = QR if special.exists else QR | dns.ENAME
    wire, layout = join(query.question, special.answer, special.authority, flags=flags)
    seconds = layout.leastTTL if layout.leastTTL is not None else layout.negativeTTL or 0
    error = None
    if not special.exists:
        error = ExtendedError(_SYNTHESIZED, f"special-use name: {special.attribution.rule}")
    return Answer.fromWire(
        wire,
        layout,
        outcome=Outcome.LOCAL,
        authoritative=True,
        extendedError=error,
        cacheSeconds=seconds,
        replaySeconds=min(REPLAY_SECONDS, seconds),
        attribution=special.attribution,
    )
