# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the server counts: plain numbers since the start, for whoever publishes them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

__all__ = ["DatagramCounters", "PastSockets", "ServerCounters", "StreamCounters"]


class ServerCounters:
    """
    What has become of requests since the start. Each received one is counted
    under C{dropped}, C{malformed}, C{refused} or C{answered}, or is pending.

    @ivar received: Requests through either door.
    @ivar dropped: Not answered: too short, themselves responses, or the cause
        of an error of ours.
    @ivar malformed: FORMERR for octets that are no message.
    @ivar refused: FORMERR, NOTIMP or BADVERS for what is no question.
    @ivar answered: Replied to as queries: these the observers are told of.
    @ivar undelivered: Of those answered, replies that couldn't be written.
    @ivar truncated: Of those answered, replies with TC.
    @ivar failed: Times that an answerer, or the policy, was broken.
    @ivar overloaded: Of those answered, SERVFAIL because too many waited.
    @ivar expired: Of those answered, SERVFAIL because the time was up.
    @ivar unobserved: Times that an observer failed or a reply couldn't be
        remembered for replay.
    """

    __slots__ = (
        "answered",
        "dropped",
        "expired",
        "failed",
        "malformed",
        "overloaded",
        "received",
        "refused",
        "truncated",
        "undelivered",
        "unobserved",
    )

    def __init__(self) -> None:
        self.received = 0
        self.dropped = 0
        self.malformed = 0
        self.refused = 0
        self.answered = 0
        self.undelivered = 0
        self.truncated = 0
        self.failed = 0
        self.overloaded = 0
        self.expired = 0
        self.unobserved = 0


@attrs.define
class StreamCounters:
    """
    What has become of connections since the start.

    @ivar accepted: Connections served.
    @ivar refused: Connections closed at once for there being too many.
    @ivar refusedAddress: Those closed for too many from one address.
    @ivar idle: Connections closed for having been idle.
    @ivar slow: Connections closed in the middle of a message that took too
        long to arrive.
    @ivar stalled: Connections aborted for leaving replies unread.
    @ivar broken: Connections closed for sending what is no request.
    @ivar paused: Times that a client had to wait for having too many queries
        under way.
    @ivar replayed: Queries answered from the replay store.
    @ivar lookupErrors: Times that the replay store failed.
    """

    accepted: int = 0
    refused: int = 0
    refusedAddress: int = 0
    idle: int = 0
    slow: int = 0
    stalled: int = 0
    broken: int = 0
    paused: int = 0
    replayed: int = 0
    lookupErrors: int = 0


@attrs.define
class DatagramCounters:
    """
    What has become of datagrams on one socket since the start.

    @ivar received: Datagrams read.
    @ivar replayed: Of those, answered from the replay store.
    @ivar portless: Of those, dropped for coming from port 0: nobody to answer.
    @ivar sent: Replies sent.
    @ivar queued: Replies that had to wait for the socket.
    @ivar dropped: Replies dropped with too many waiting already.
    @ivar unsent: Replies the system refused to send.
    @ivar errors: Errors while receiving, such as a client's ICMP messages.
    @ivar lookupErrors: Times that the replay store failed.
    """

    received: int = 0
    replayed: int = 0
    portless: int = 0
    sent: int = 0
    queued: int = 0
    dropped: int = 0
    unsent: int = 0
    errors: int = 0
    lookupErrors: int = 0


class PastSockets:
    """
    What was counted on sockets that are closed: a server that listens elsewhere
    from now on has counted no less.

    @ivar counted: The sums, by the name of the counter.
    """

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def bury(self, counters: Any) -> None:
        """
        Add what a socket had counted in the end.

        @param counters: L{DatagramCounters}, or the like of another listener.
        """
        self.counted.update(attrs.asdict(counters))
