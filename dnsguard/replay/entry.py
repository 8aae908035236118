# -*- test-case-name: tests.replay.test_entry -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The facts that all queries answered from one replay entry share.
"""

from __future__ import annotations

import attrs

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.decision import Attribution

__all__ = ["ReplayedAnswer"]


@attrs.frozen(slots=True)
class ReplayedAnswer:
    """
    What the log, the store and the counters need of a replayed answer.

    @ivar qname: The name asked for, lower-cased, in wire form.
    @ivar type: The type asked for.
    @ivar cls: The class asked for.
    @ivar outcome: What to log: an answer first made from upstream or L1 is a
        cached one when it is replayed.
    @ivar rCode: The response code, 12 bits.
    @ivar groupID: The client group of the view the entry is for.
    @ivar attribution: The rule that decided, or L{None}.
    @ivar answer: The answer itself, for whoever wants a summary of its records.
    @ivar viewNumber: The number of the policy view it was made for; L{None}:
        nobody knows, so it can't be replayed.
    @ivar generation: The number of the policy it was made under: the one that
        was current when the query arrived. L{None}: it can't be replayed.
    @ivar cacheFlags: What the answer's cache key has besides question and
        class; see L{dnsguard.caching.key.Key}.
    """

    qname: bytes
    type: int
    cls: int
    outcome: Outcome
    rCode: int
    groupID: str
    attribution: Attribution | None
    answer: Answer
    viewNumber: int | None = None
    generation: int | None = None
    cacheFlags: int = 0
