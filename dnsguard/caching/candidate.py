# -*- test-case-name: tests.caching.test_candidate -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What passes between a shared store and those who keep it tidy.

Plain values, so that whoever refreshes and sweeps needs to know nothing of the
store, and the store nothing of them.
"""

from __future__ import annotations

import attrs

from dnsguard.caching.key import Key

__all__ = ["Candidate", "Clearing", "Standing"]


@attrs.frozen
class Candidate:
    """
    A key whose answer will soon be no longer fresh, or isn't already.

    @ivar key: The key.
    @ivar softExpiry: Until when it is fresh, in seconds of the clock that the
        store was given.
    """

    key: Key
    softExpiry: float


@attrs.frozen
class Standing:
    """
    What a store knows of one key.

    @ivar exists: Is there an answer?
    @ivar createdAt: When the key was first kept, in seconds of the clock that
        the store was given, or L{None} if that isn't known.
    @ivar hits: Its hits in the hit window, of all instances.
    @ivar sweepHits: The same for the sweeper's window.
    """

    exists: bool
    createdAt: float | None = None
    hits: int = 0
    sweepHits: int = 0


@attrs.frozen
class Clearing:
    """
    An order to drop what is cached.

    @ivar qname: The name, lower-cased, in wire form; L{None}: everything.
    @ivar below: The names below it, too?
    """

    qname: bytes | None = None
    below: bool = False
