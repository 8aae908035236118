# -*- test-case-name: tests.observers.test_errorpages -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which page explains a message: for each warning and error that dnsguard logs,
the section of C{docs/errors.rst} that says what it means and what to do.

Messages are known by their format, the text before anything is filled in. A
new one is entered here and explained there; tests compare the code, this table
and the page.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PAGES", "UNEXPECTED", "pageOf"]

UNEXPECTED = "unexpected-error"
"""What explains a failure that nobody foresaw, such as an unhandled error."""

PAGES: Mapping[str, str] = {
    # Start and configuration.
    "{reason}": "cannot-listen",
    "{host} can't be read any more: {reason}": "listener-failed",
    "the listener thread doesn't end; its socket is left open": "listener-failed",
    "{problem}": "configuration-problem",
    "{problem}; left out": "local-record-error",
    "configuration not reloaded: the old one stays in force": "configuration-not-reloaded",
    "reloading given up, as dnsguard stops": "configuration-not-reloaded",
    "{key} changes when dnsguard is started again": "restart-needed",
    # Several processes.
    "helper process {number} has {reason}; starting it again in {seconds} s": "helper-ended",
    "helper process {number} is ended: {reason}": "helper-ended",
    "helper process {number} can't be started: {reason}": "helper-not-started",
    "helper process {pid} prints: {text}": "helper-not-started",
    "helper process {number} didn't hand everything over: {reason}": "helper-not-emptied",
    "rows can't be handed over": "helper-not-emptied",
    "processes talk past each other: {reason}": "helper-internal-error",
    "what another process asked for failed: {name}": "helper-internal-error",
    "a helper process was spoken to badly": "helper-internal-error",
    "a connection broke ({times} times)": "connection-broke",
    # Queries.
    "a query failed: {reason} ({times} times)": "query-failed",
    "{where} broke on {name}, {times} break(s) since this was last logged": "query-failed",
    "a query couldn't be noted: {reason} ({times} times)": "observer-failed",
    "replayed queries were not noted": "observer-failed",
    "a reply couldn't be kept: {reason} ({times} times)": "replay-store-failed",
    "the replay store failed ({times} times)": "replay-store-failed",
    "the replay store can't be drained": "replay-store-failed",
    "finished replies can't be carried over to new rules": "replay-store-failed",
    # Upstreams.
    "upstream {upstream} answered SERVFAIL for {name} type {type}": "servfail-backoff-active",
    "only {ports} instead of {wanted} UDP ports for each upstream, as no more than"
    " {limit} files may be open (ulimit -n): replies are easier to forge": "upstream-ports-limited",
    "a deadline was handled badly": "upstream-internal-error",
    "a datagram was handled badly": "upstream-internal-error",
    "an answer was handled badly": "upstream-internal-error",
    # Caches: refreshing, Redis, clearing, saving.
    "{times} refresh(es) failed, the last one of {name} type {type}: no upstream answered": (
        "refresh-upstream-failed"
    ),
    "refreshing broke, {times} time(s)": "refresh-upstream-failed",
    "sweep ended early: {reason}": "refresh-sweep-failed",
    "sweep broke": "refresh-sweep-failed",
    "{reason}, and degraded_on_unavailable is off": "redis-needed",
    "{name} isn't there: {reason}; going on without it": "redis-unavailable",
    "{name} is left alone: {reason}": "redis-unavailable",
    "probe failed": "redis-unavailable",
    "ping failed": "redis-unavailable",
    "can't hang up": "redis-unavailable",
    "{name} doesn't say who has what: {error}": "redis-cluster-unreadable",
    "can't read the cluster": "redis-cluster-unreadable",
    "an answer can't be had from {error} ({times} time(s) lately)": "cache-get-failed",
    "answers can't be kept in {error} ({times} time(s) lately)": "cache-set-failed",
    "writing answers failed": "cache-set-failed",
    "not all answers were written: {name} is slow": "cache-set-failed",
    "answers weren't written": "cache-set-failed",
    "hits couldn't be counted": "cache-hit-counter-failed",
    "can't check clearings": "cache-clear-failed",
    "clearing broke": "cache-clear-failed",
    "the cache isn't saved: {path}: {problem}": "cache-not-saved",
    "the cache isn't saved": "cache-not-saved",
    "starting with an empty cache: {path}: {problem}": "cache-not-restored",
    "starting with an empty cache": "cache-not-restored",
    "taking answers over broke": "cache-not-restored",
    # Block lists and policy.
    "block list {name} failed: {reason}": "blocklist-source-status",
    "block lists stay as they are: {reason}": "blocklist-refresh-failed",
    "block lists stay as they are": "blocklist-refresh-failed",
    "block lists were refreshed, but not taken into use": "blocklist-refresh-failed",
    "lists were refreshed, but not taken over": "blocklist-refresh-failed",
    "block lists can't be kept in {folder}, the next start will be without: {reason}": (
        "blocklist-not-kept"
    ),
    "block lists aren't restored: {reason}": "blocklist-load-failed",
    "no process for compiling block lists, a thread does it: {reason}": "blocklist-compiler-thread",
    "starting without lists: they weren't there within {seconds} s": "started-without-lists",
    "starting without lists": "started-without-lists",
    "the policy of this hour can't be found; trying again": "policy-clock-failed",
    "somebody couldn't take a new policy": "policy-subscriber-failed",
    # Logs and metrics.
    "request log {path} can't be written: {reason}; {dropped} lines lost so far": (
        "request-log-not-written"
    ),
    "request log: a line can't be made": "request-log-not-written",
    "errors aren't kept on disk: {reason}": "errors-not-kept",
    "metric {name} can't be read": "metric-unreadable",
    "metrics can't be written": "metric-unreadable",
    # The control API.
    "control API not served": "control-server-error",
    "control API not served: {problem}": "control-server-error",
    "{problem}; DNS is served without the control API, trying again": "control-server-error",
    "control API: there is no token, so it is served on {loopback} instead of {host};"
    " make one with dnsguard token, then reload": "control-without-token",
    "tokens stay as they were: {reason}": "control-tokens-unreadable",
    "the audit log can't be written: {reason}": "audit-log-not-written",
    "a request of the control API failed": "control-request-failed",
    "an answer of the control API broke off": "write-response-failed",
    # The query store.
    "query store {store} fails: {reason}; rows wait, DNS goes on": "querystore-insert-failed",
    "query store {store} hasn't answered for {seconds:.0f} s; rows wait, DNS goes on": (
        "querystore-insert-failed"
    ),
    "query store {store} is slow; the rest is spooled": "querystore-insert-failed",
    "query store: delivery failed": "querystore-insert-failed",
    "query store: insert failed": "querystore-insert-failed",
    "{warning}": "querystore-setting",
    "query store upkeep: {reason}": "querystore-upkeep-failed",
    "query store: flush failed": "querystore-insert-failed",
    "query store: broken reply: {reason}": "querystore-process-failed",
    "query store: {text}": "querystore-process-failed",
    "query store: spool: {reason}": "querystore-spool-failed",
    "query store: spool: {reason}: {held} rows wait in memory, {rows} lost so far": "querystore-buffer-full",
}
"""The section by the message's format."""


def pageOf(format: object, failed: bool) -> str:
    """
    Give the section that explains a message.

    @param format: Its format, if it has one.
    @param failed: Does it come with a failure?
    @return: The section's anchor; empty if nothing explains it.
    """
    page = PAGES.get(format, "") if isinstance(format, str) else ""
    return UNEXPECTED if failed and not page else page
