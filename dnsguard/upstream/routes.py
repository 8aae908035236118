# -*- test-case-name: tests.upstream.test_routes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which upstreams are asked for which names: a snapshot, replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, gatherResults

from dnsguard.interfaces import IUpstream
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.wheel import TimerWheel
from dnsguard.wire.names import ROOT, parent

__all__ = ["UpstreamSet"]

_DS = 43


class UpstreamSet:
    """
    The upstreams for all names, and those for the names below some domains.

    @ivar upstreams: All of them, each once.
    @ivar groups: The groups by domain; the root's is for all other names.
    """

    def __init__(self, groups: Mapping[bytes, Group], timers: TimerWheel | None = None) -> None:
        """
        @param groups: By lower-cased domain in wire form. The longest domain
            that a name is at or below counts; a group without upstreams says
            that such names are not to be asked for anywhere.
        @param timers: The upstreams' timers, to be stopped with them.
        """
        self.groups = dict(groups)
        seen: dict[int, IUpstream] = {}
        for group in self.groups.values():
            for upstream in group.upstreams:
                seen[id(upstream)] = upstream
        self.upstreams = tuple(seen.values())
        self._timers = timers
        self._default = self.groups.get(ROOT)
        self._routed = len(self.groups) - (self._default is not None)

    def find(self, qname: bytes, type: int) -> tuple[bytes, Group] | None:
        """
        Say whom to ask.

        @param qname: The name, lower-cased, in wire form.
        @param type: The type asked for: the DS records of a domain are its
            parent's (RFC 4035 §2.4).
        @return: The domain and its group, or L{None} if there is none.
        """
        if self._routed:
            name = parent(qname) if type == _DS and qname != ROOT else qname
            while name != ROOT:
                group = self.groups.get(name)
                if group is not None:
                    return name, group
                name = parent(name)
        return None if self._default is None else (ROOT, self._default)

    def replacedBy(self, other: UpstreamSet) -> None:
        """
        Let the upstreams that aren't in another set finish and close.
        """
        kept = set(map(id, other.upstreams))
        for upstream in self.upstreams:
            if id(upstream) not in kept:
                upstream.retire()

    def close(self) -> Deferred[None]:
        """
        Close all upstreams.

        @return: Fires when they are closed.
        """
        if self._timers is not None:
            self._timers.close()
        closing = gatherResults([upstream.close() for upstream in self.upstreams])
        return closing.addCallback(lambda _: None)
