# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of block lists and the policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dnsguard.observers.exposition import Metric, Reading
from dnsguard.services.liststatus import SourceState

__all__ = ["LISTS"]

_SERVED = (SourceState.CURRENT, SourceState.OLD)


def _statistic(name: str) -> Callable[[Any], Any]:
    return lambda guard: getattr(guard.blocklists.statistics, name)


def _each(read: Callable[[Any], Any]) -> Callable[[Any], Reading]:
    """
    Read something of the status of each list.
    """

    def reading(guard: Any) -> Reading:
        for status in guard.blocklists.lists.statuses:
            value = read(status)
            if value is not None:
                yield (status.name,), value

    return reading


def _reported(name: str) -> Callable[[Any], Reading]:
    return _each(lambda status: None if status.report is None else getattr(status.report, name))


LISTS = (
    Metric.gauge("dnsguard_list_names", "Distinct names in all block lists.", _statistic("names")),
    Metric.gauge("dnsguard_list_bytes", "Octets of the compiled lists.", _statistic("octets")),
    Metric.counter(
        "dnsguard_list_refreshes_total", "Refreshes of all lists.", _statistic("refreshes")
    ),
    Metric.counter(
        "dnsguard_list_fetch_failures_total",
        "Fetches of a list that failed, further tries included.",
        _statistic("failures"),
    ),
    Metric.counter(
        "dnsguard_list_compiles_total", "Times that lists were compiled.", _statistic("compiles")
    ),
    Metric.gauge(
        "dnsguard_list_compile_seconds",
        "What compiling took the last time.",
        _statistic("compileSeconds"),
    ),
    Metric.gauge(
        "dnsguard_list_failed_sources",
        "Lists whose last fetch failed.",
        _statistic("failedSources"),
    ),
    Metric.gauge(
        "dnsguard_list_last_refresh_timestamp_seconds",
        "When the last refresh ended, in seconds since 1970; 0 if none did.",
        _statistic("lastRefresh"),
    ),
    Metric.gauge(
        "dnsguard_list_source_up",
        "1 if the list's last fetch succeeded, else 0.",
        _each(lambda status: int(not status.error and status.state in _SERVED)),
        ("list",),
    ),
    Metric.gauge(
        "dnsguard_list_source_served",
        "1 if entries of the list are in force, old ones included, else 0.",
        _each(lambda status: int(status.state in _SERVED)),
        ("list",),
    ),
    Metric.gauge(
        "dnsguard_list_source_fetched_timestamp_seconds",
        "When the list was last known to be current, in seconds since 1970; 0 for never.",
        _each(lambda status: status.fetched),
        ("list",),
    ),
    Metric.gauge(
        "dnsguard_list_source_fetch_seconds",
        "What the list's last fetch took.",
        _each(lambda status: status.seconds),
        ("list",),
    ),
    Metric.gauge(
        "dnsguard_list_source_bytes",
        "Octets of the list, unpacked.",
        _each(lambda status: status.size),
        ("list",),
    ),
    Metric.gauge(
        "dnsguard_list_source_names",
        "Distinct names in the list.",
        _reported("names"),
        ("list",),
    ),
    Metric.gauge(
        "dnsguard_list_source_rejected_lines",
        "Lines of the list that can't be read.",
        _reported("rejected"),
        ("list",),
    ),
    Metric.gauge(
        "dnsguard_policy_generation",
        "Counts the policies put into force; entries of the replay store die with each.",
        lambda guard: guard.policies.current.generation,
    ),
    Metric.gauge(
        "dnsguard_policy_views",
        "Ways in which groups of clients are treated.",
        lambda guard: len(guard.policies.current.views),
    ),
    Metric.gauge(
        "dnsguard_policy_pauses",
        "Groups whose blocking somebody has paused.",
        lambda guard: len(guard.policies.current.pauses),
    ),
    Metric.counter(
        "dnsguard_policy_rebuilds_total",
        "Times that the policy was made anew, after a reload or a change of lists.",
        lambda guard: guard.rebuilds,
    ),
    Metric.counter(
        "dnsguard_policy_subscriber_failures_total",
        "Times that somebody couldn't take a new policy.",
        lambda guard: guard.policies.subscriberFailures,
    ),
    Metric.counter(
        "dnsguard_policy_clock_changes_total",
        "Changes of rules by the time of day, or at the end of a pause.",
        lambda guard: guard.getServiceNamed("policyclock").changes,
    ),
    Metric.counter(
        "dnsguard_impatient_starts_total",
        "Times that listening began before the lists of the last run were read.",
        lambda guard: guard.listeners.impatient,
    ),
)
