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
    @ivar timers: The upstreams' timers, or L{None}.
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
        self.timers = timers
        self._default = (ROOT, self.groups[ROOT]) if ROOT in self.groups else None
        self._routed = len(self.groups) - (ROOT in self.groups)

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
        return self._default

    def retire(self, kept: UpstreamSet) -> None:
        """
        Let the upstreams that aren't in another set finish and close.
        """
        for upstream in self._without(kept):
            upstream.retire()

    def close(self, kept: UpstreamSet | None = None) -> Deferred[None]:
        """
        Close the upstreams that aren't in another set.

        @return: Fires when they are closed.
        """
        closing = gatherResults([upstream.close() for upstream in self._without(kept)])
        if self.timers is not None and (kept is None or kept.timers is not self.timers):
            self.timers.close()
        return closing.addCallback(lambda _: None)

    def _without(self, kept: UpstreamSet | None) -> list[IUpstream]:
        staying = set() if kept is None else set(map(id, kept.upstreams))
        return [upstream for upstream in self.upstreams if id(upstream) not in staying]
