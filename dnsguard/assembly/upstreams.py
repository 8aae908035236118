# -*- test-case-name: tests.assembly.test_upstreams -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to upstreams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dnsguard.config.model import Config
from dnsguard.config.sections.upstreams import UpstreamConfig
from dnsguard.errors import PolicyError
from dnsguard.upstream.address import InvalidAddress, UpstreamAddress
from dnsguard.upstream.factory import UpstreamFactory, UpstreamSpec
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import Strategy
from dnsguard.wire.names import ROOT, fromText

__all__ = ["upstreamFactory", "upstreamSet", "upstreamSpecs"]


def upstreamFactory(config: Config, reactor: Any) -> UpstreamFactory:
    """
    Make a factory of upstreams that does as C{network} says.
    """
    network = config.network
    return UpstreamFactory(
        reactor,
        backoff=network.upstreamBackoff,
        idleTimeout=network.upstreamConnPoolIdleTimeout,
        validateBeforeReuse=network.upstreamConnPoolValidateBeforeReuse,
    )


def upstreamSpecs(config: Config) -> list[UpstreamSpec]:
    """
    Say which upstreams there are, and for which names.

    @raise PolicyError: An address can't be asked.
    """
    specs = _specs(config.upstreams, "upstreams", (ROOT,))
    for number, route in enumerate(config.conditionalForwarding):
        domains = tuple(fromText(domain) for domain in route.domains)
        specs += _specs(route.upstreams, f"conditional_forwarding[{number}].upstreams", domains)
    return specs


def _specs(
    upstreams: Sequence[UpstreamConfig], place: str, domains: tuple[bytes, ...]
) -> list[UpstreamSpec]:
    specs = []
    for number, upstream in enumerate(upstreams):
        protocol = "" if upstream.protocol is None else upstream.protocol.value
        try:
            address = UpstreamAddress.parse(upstream.address, protocol).supported()
        except InvalidAddress as problem:
            raise PolicyError(f"{place}[{number}].address", problem.reason) from problem
        specs.append(UpstreamSpec(upstream.name, address, domains))
    return specs


def upstreamSet(
    config: Config, factory: UpstreamFactory, previous: UpstreamSet | None = None
) -> UpstreamSet:
    """
    Make the upstreams.

    @param previous: Those in use: they are kept where they stay the same, and
        what is known of their addresses is.
    @raise PolicyError: An address can't be asked.
    """
    strategy = Strategy(config.resolverStrategy.value)
    return factory.upstreamSet(upstreamSpecs(config), strategy, previous=previous)
