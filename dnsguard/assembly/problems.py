# -*- test-case-name: tests.assembly.test_guard -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is wrong with a configuration besides its form.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dnsguard.assembly.lists import listSources
from dnsguard.assembly.querystore import exclusion
from dnsguard.assembly.redis import redisTLS
from dnsguard.assembly.rules import makePolicy
from dnsguard.assembly.upstreams import upstreamSpecs
from dnsguard.config.model import Config
from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.problems import InvalidPolicy, Problems

__all__ = ["problemsOf"]


def problemsOf(config: Config) -> tuple[PolicyError, ...]:
    """
    Find all that is wrong with a configuration besides its form, such as a
    record that can't be read.

    Waits for the disk, but for no list and no network.
    """
    problems = Problems()
    nothing = DomainSet.build([])
    attempts: list[Callable[[], object]] = [
        lambda: makePolicy(config, nothing, time.time()),
        lambda: upstreamSpecs(config),
        lambda: exclusion(config),
        lambda: listSources(config),
        lambda: redisTLS(config),
    ]
    for attempt in attempts:
        try:
            attempt()
        except (PolicyError, InvalidPolicy) as problem:
            problems.add(problem)
    return tuple(problems)
