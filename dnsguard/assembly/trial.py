# -*- test-case-name: tests.assembly.test_trial -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Asking one server by itself, to see whether it answers.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from dnsguard.control.upstreams import Trial
from dnsguard.query import ClientQuery
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.factory import UpstreamFactory, UpstreamSpec

__all__ = ["tryUpstream"]

SECONDS = 5.0


def tryUpstream(
    reactor: Any, address: UpstreamAddress, qname: bytes, type: int
) -> Deferred[Trial]:
    """
    Ask a server, past all caches and whatever is known of it.

    @return: What came of it, within some seconds. Doesn't fail.
    """
    return Deferred.fromCoroutine(_try(reactor, address, qname, type))


async def _try(reactor: Any, address: UpstreamAddress, qname: bytes, type: int) -> Trial:
    factory = UpstreamFactory(reactor, backoff=0.0, ports=4)
    upstreams = factory.upstreamSet([UpstreamSpec("trial", address)])
    forwarder = ForwardingResolver(upstreams, clock=reactor, timeout=SECONDS)
    began = reactor.seconds()
    try:
        asked = forwarder.answer(ClientQuery(qname, type))
        answer = await asked if isinstance(asked, Deferred) else asked
    finally:
        await forwarder.close()
    seconds = reactor.seconds() - began
    standing = upstreams.upstreams[0].standing
    if answer is None or not (standing.replies or standing.refusals):
        kinds = [kind.value for kind, count in standing.failures.items() if count]
        return Trial(None, seconds, 0, ", ".join(kinds) or "no reply")
    return Trial(answer.rCode, seconds, len(answer[0]))
