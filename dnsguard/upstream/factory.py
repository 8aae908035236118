# -*- test-case-name: tests.upstream.test_factory -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Makes upstreams of what the operator wrote, keeping those there are already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.logger import Logger

from dnsguard.interfaces import IUpstream
from dnsguard.upstream.address import Scheme, UpstreamAddress
from dnsguard.upstream.datagram import DatagramUpstream
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.message import Entropy
from dnsguard.upstream.ports import PortPool, affordablePorts
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import Standing, Strategy
from dnsguard.upstream.stream import ConnectionPool, StreamUpstream
from dnsguard.upstream.wheel import TimerWheel
from dnsguard.wire.names import ROOT

__all__ = ["UpstreamFactory", "UpstreamSpec"]

CONNECT_SECONDS = 5


@attrs.frozen
class UpstreamSpec:
    """
    One upstream as the operator wants it.

    @ivar name: Its name, for logs and rows.
    @ivar address: Where it is.
    @ivar domains: The domains it is asked for, lower-cased, in wire form; the
        default is all names that no other upstream is meant for.
    """

    name: str
    address: UpstreamAddress
    domains: tuple[bytes, ...] = (ROOT,)


class UpstreamFactory:
    """
    Makes sets of upstreams.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        backoff: float = 30.0,
        idleTimeout: float = 30.0,
        validateBeforeReuse: bool = False,
        ports: int = 1024,
        mixCase: bool = True,
        maxInFlight: int = 8192,
    ) -> None:
        """
        @param reactor: Provides time, descriptors and TCP connections.
        @param backoff: Seconds an upstream is left alone after a failure; 0:
            never.
        @param idleTimeout: Seconds until an idle connection is closed; 0:
            never.
        @param validateBeforeReuse: Look at an idle connection's socket before
            it is used again?
        @param ports: How many UDP ports each upstream is asked from.
        @param mixCase: Mix the letter case of questions sent over UDP?
        @param maxInFlight: How many queries may wait for one upstream over
            UDP.
        """
        self._reactor = reactor
        self._backoff = backoff
        self._idleTimeout = idleTimeout
        self._validateBeforeReuse = validateBeforeReuse
        self._ports = ports
        self._mixCase = mixCase
        self._maxInFlight = maxInFlight
        self._entropy = Entropy()
        self._wheel = TimerWheel(reactor)

    def upstreamSet(
        self,
        specs: Sequence[UpstreamSpec],
        strategy: Strategy = Strategy.FAILOVER,
        unforwarded: Iterable[bytes] = (),
        previous: UpstreamSet | None = None,
    ) -> UpstreamSet:
        """
        Make a set of upstreams. Nothing is opened before the first question.

        @param unforwarded: Domains that are not to be asked for anywhere.
        @param previous: The set in use. If it is of this factory's making,
            upstreams are taken over from it where name and address are the
            same; of another one's, what is known of each address is.
        @raise InvalidAddress: An address that can't be dialled.
        """
        for spec in specs:
            spec.address.supported()
        ports = self._affordable(len(specs))
        made = [self._take(spec, ports, previous) for spec in specs]
        members: dict[bytes, list[IUpstream]] = {domain: [] for domain in unforwarded}
        for spec, upstream in zip(specs, made, strict=True):
            for domain in spec.domains:
                members.setdefault(domain, []).append(upstream)
        groups = {domain: Group.of(strategy, group) for domain, group in members.items()}
        return UpstreamSet(groups, self._wheel)

    def _affordable(self, upstreams: int) -> int:
        """
        See how many ports the limit of open files allows.
        """
        limit = _openFiles()
        if limit is None:
            return self._ports
        ports = affordablePorts(self._ports, upstreams, limit)
        if ports < self._ports:
            self.log.warn(
                "only {ports} instead of {wanted} UDP ports for each upstream, as no more than"
                " {limit} files may be open (ulimit -n): replies are easier to forge",
                ports=ports,
                wanted=self._ports,
                limit=limit,
            )
        return ports

    def _take(self, spec: UpstreamSpec, ports: int, previous: UpstreamSet | None) -> IUpstream:
        """
        Give the upstream there is already, or make one.
        """
        standing = Standing()
        if previous is not None:
            ours = previous.timers is self._wheel
            for upstream in previous.upstreams:
                if upstream.address == spec.address:
                    if ours and upstream.name == spec.name:
                        return upstream
                    standing = upstream.standing
        standing.backoff = self._backoff
        return self._make(spec, ports, standing)

    def _make(self, spec: UpstreamSpec, ports: int, standing: Standing) -> IUpstream:
        address = spec.address
        endpoint = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
        connections = ConnectionPool(
            endpoint(self._reactor, address.host, address.port, timeout=CONNECT_SECONDS),
            clock=self._reactor,
            entropy=self._entropy,
            standing=standing,
            idleTimeout=self._idleTimeout,
            validateBeforeReuse=self._validateBeforeReuse,
        )
        if address.scheme is Scheme.TCP:
            return StreamUpstream(spec.name, address, connections=connections, wheel=self._wheel)
        return DatagramUpstream(
            spec.name,
            address,
            clock=self._reactor,
            ports=PortPool(self._reactor, address.host, address.port, ports),
            connections=connections,
            wheel=self._wheel,
            entropy=self._entropy,
            standing=standing,
            mixCase=self._mixCase,
            maxInFlight=self._maxInFlight,
        )


def _openFiles() -> int | None:
    """
    How many files this process may have open; L{None} if any number.
    """
    try:
        import resource
    except ImportError:  # Only Unix limits them this way.
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit
