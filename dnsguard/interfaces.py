# -*- test-case-name: tests.test_interfaces -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The map of the house: what the rooms promise each other.
"""

from __future__ import annotations

from twisted.internet.interfaces import IResolver
from zope.interface import Attribute, Interface

__all__ = [
    "IAnswerCache",
    "IAnswerer",
    "IPolicies",
    "IQueryObserver",
    "IReplayBatch",
    "IReplayStore",
    "IUpstream",
]


class IAnswerer(IResolver):
    """
    A resolver that may know who asks, and says how it made its answer.
    """

    def answer(query):
        """
        Answer one query, or leave it to somebody else. Reactor thread.

        @param query: A L{dnsguard.query.ClientQuery}.
        @return: An L{dnsguard.answer.Answer}; L{None} for "not mine, ask the
            next"; or a L{Deferred <twisted.internet.defer.Deferred>} of
            either. A failure is a defect of the answerer, not a miss: the
            chain ends the query with SERVFAIL rather than pass a filter by.
        """


class IAnswerCache(Interface):
    """
    Something that is offered the answers found behind it in a chain.

    Stock L{twisted.names.cache.CacheResolver} has this method too.
    """

    def cacheResult(query, payload):
        """
        Keep an answer, if it is worth keeping. Never fails, never waits.

        @param query: The L{dnsguard.query.ClientQuery} it answers.
        @param payload: The L{dnsguard.answer.Answer}.
        """


class IPolicies(Interface):
    """
    The place where the current policy is looked up.
    """

    current = Attribute("The current L{dnsguard.policy.snapshot.Policy}.")

    def publish(policy):
        """
        Make a policy the current one. Can't fail.

        @param policy: The L{dnsguard.policy.snapshot.Policy}.
        """

    def subscribe(subscriber):
        """
        Have a callable called with each policy published from now on.

        @return: A callable of no arguments that ends the subscription.
        """


class IUpstream(Interface):
    """
    One server that queries are forwarded to.
    """

    name = Attribute("Its configured name, shown in logs and rows.")
    address = Attribute("Its L{dnsguard.upstream.address.UpstreamAddress}.")

    def exchange(message, timeout):
        """
        Send one query and wait for its reply.

        @param message: A whole query, one question, OPT record included. Its
            first two octets and its name's letter case are replaced by
            unpredictable ones on the way (RFC 5452 §9.1).
        @param timeout: Seconds for everything: connecting, writing, waiting,
            asking again by TCP after a truncated reply.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of the reply's
            octets, checked to be a response to this question from this server,
            with the message's own id and letter case put back. Fails with
            L{dnsguard.errors.UpstreamError}.
        """

    def close():
        """
        Let go of sockets and connections; exchanges under way fail.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} that fires
            with L{None} when all are closed.
        """


class IQueryObserver(Interface):
    """
    Somebody who is told of each query answered: a log, a store, a counter.
    """

    def queryAnswered(event):
        """
        Note a query that went through the chain. Reactor thread; must take
        microseconds and never fail.

        @param event: A L{dnsguard.observers.event.QueryEvent}.
        """

    def queriesReplayed(batch):
        """
        Note queries that were answered from the replay store. Reactor thread;
        called with some thousands of queries at a time.

        @param batch: An L{IReplayBatch}; valid only during the call.
        """


class IReplayBatch(Interface):
    """
    Queries answered from the replay store, as records of fixed size.

    Nothing here is one Python object a query: a row encoder walks the octets,
    a counter adds up L{hits}.
    """

    records = Attribute(
        """
        A buffer of records of 40 octets each, in native byte order without
        padding (C{struct} format C{"=qQIHBB16s"}): the time of arrival in
        nanoseconds since the epoch; the number of the entry replayed; the
        nanoseconds it took; the octets of the reply; the transport (0 UDP,
        1 TCP); 4 or 6 for the address family; the client's address, IPv4
        in the first four octets.
        """
    )
    hits = Attribute("A dict of the entry numbers in L{records} to how often they occur.")
    entries = Attribute(
        """
        A mapping of the entry numbers in L{records} to
        L{dnsguard.replay.entry.ReplayedAnswer}s: the facts that all queries
        answered from that entry share (question, outcome, response code, rule,
        policy view).
        """
    )

    def __len__():
        """
        How many queries.
        """


class IReplayStore(Interface):
    """
    Finished replies, given again to equal questions from equally treated
    clients. It never decides anything.
    """

    generation = Attribute("The number of the policy that entries are made under.")

    def lookup(datagram, address, now):
        """
        Find the finished reply to a request.

        @param datagram: The request's octets.
        @param address: The client's packed IP address, 4 or 16 octets.
        @param now: Seconds of the server's clock.
        @return: The reply's octets, with the request's id and letter case and
            TTLs counted down, or L{None}: ask the chain.
        """

    def remember(datagram, reply, facts, seconds, now):
        """
        Keep a finished reply.

        @param datagram: The request it answers.
        @param reply: The reply's octets, as sent over UDP and not truncated.
        @param facts: A L{dnsguard.replay.entry.ReplayedAnswer}. One that doesn't
            name its view, or names another policy's generation than the
            present one, isn't kept.
        @param seconds: How long it may be replayed.
        @param now: Seconds of the server's clock.
        """

    def adopt(policy):
        """
        Let all entries be dead that were made under another policy, and sort
        clients into the views of this one. Subscribed to L{IPolicies}.
        """

    def forget(qname):
        """
        Drop all entries for a name, or everything with L{None}.

        @param qname: The name, lower-cased, in wire form.
        """

    def drain():
        """
        Take the records of queries replayed since the last call, those of
        listener threads included: some ten thousands at most, and the rest by
        the next call.

        @return: An L{IReplayBatch}.
        """
