# -*- test-case-name: tests.services.test_blocklists -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What there is to say of block lists: values for logs, metrics and the API.
"""

from __future__ import annotations

import enum

import attrs

from dnsguard.policy.domainset import DomainSet
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststore import StoredCopy
from dnsguard.services.listworker import Report

__all__ = ["BlockLists", "SourceState", "SourceStatus", "Statistics", "statusOf"]


class SourceState(enum.Enum):
    """
    How a source is doing. The values are shown to people.
    """

    WAITING = "not fetched yet"
    CURRENT = "current"
    OLD = "failed, old entries kept"
    MISSING = "failed, nothing there"


@attrs.frozen
class SourceStatus:
    """
    What there is to say of one source.

    @ivar name: Its name.
    @ivar url: Its URL without secrets.
    @ivar state: How it is doing.
    @ivar error: What went wrong last time, or empty.
    @ivar fetched: When its entries were last known to be current, seconds
        since the epoch; 0 for never.
    @ivar etag: What its server calls the version we have, or empty.
    @ivar size: Octets in the copy, unpacked.
    @ivar seconds: What the last fetch took.
    @ivar report: What is in it, or L{None} as long as nothing is.
    """

    name: str
    url: str
    state: SourceState = SourceState.WAITING
    error: str = ""
    fetched: float = 0.0
    etag: str = ""
    size: int = 0
    seconds: float = 0.0
    report: Report | None = None

    @property
    def duplicates(self) -> int:
        """
        Entries that repeat a name of the same list.
        """
        return 0 if self.report is None else self.report.entries - self.report.names


@attrs.frozen
class BlockLists:
    """
    All lists, as they are now.

    @ivar domains: All their names.
    @ivar statuses: Each source, in order.
    @ivar number: Grows with each set compiled or loaded.
    """

    domains: DomainSet
    statuses: tuple[SourceStatus, ...]
    number: int = 0


@attrs.frozen
class Statistics:
    """
    Counters of the service.

    @ivar names: Distinct names in all lists.
    @ivar octets: Octets of the compiled set.
    @ivar refreshes: Refreshes since start.
    @ivar failures: Fetches that failed, retries included.
    @ivar compiles: Sets compiled.
    @ivar compileSeconds: What the last one took.
    @ivar failedSources: Sources whose last fetch failed.
    @ivar lastRefresh: When the last refresh ended, seconds since the epoch.
    """

    names: int = 0
    octets: int = 0
    refreshes: int = 0
    failures: int = 0
    compiles: int = 0
    compileSeconds: float = 0.0
    failedSources: int = 0
    lastRefresh: float = 0.0


def statusOf(
    source: ListSource,
    copy: StoredCopy | None,
    error: str,
    seconds: float,
    report: Report | None,
) -> SourceStatus:
    """
    Put together what is known of a source.

    @param copy: Its copy, if there is one.
    @param error: What went wrong last, or empty.
    """
    if copy is None:
        state = SourceState.MISSING if error else SourceState.WAITING
        return SourceStatus(source.name, source.shown, state, error, seconds=seconds)
    return SourceStatus(
        source.name,
        source.shown,
        SourceState.OLD if error else SourceState.CURRENT,
        error,
        copy.fetched,
        copy.etag,
        copy.size,
        seconds,
        report,
    )
