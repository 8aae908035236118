# -*- test-case-name: tests.test_testing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The map of the house: what the rooms promise each other.
"""

from __future__ import annotations

from twisted.internet.interfaces import IResolver
from zope.interface import Attribute, Interface

from dnsguard.policy.interfaces import IPolicies

__all__ = [
    "IAnswerCache",
    "IAnswerStore",
    "IAnswerer",
    "IEntryObserver",
    "IPolicies",
    "IPromptAnswerer",
    "IQueryObserver",
    "IQueryStore",
    "IReloadable",
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


class IPromptAnswerer(IAnswerer):
    """
    An answerer that can do without a Deferred, which at tens of thousands of
    queries a second is what costs.
    """

    def answerInto(query, receive):
        """
        Answer one query, or leave it to somebody else. Reactor thread.

        @param query: A L{dnsguard.query.ClientQuery}.
        @param receive: Is called later with an L{dnsguard.answer.Answer}, or
            L{None} for "not mine": exactly once if what was returned is
            neither, else never. It must not raise.
        @return: An L{dnsguard.answer.Answer}; L{None} for "not mine, ask the
            next"; or else something with a method C{cancel}, that has
            C{receive} never called, and has no effect on one that was.
        """


class IAnswerCache(Interface):
    """
    Something that is offered the answers found behind it in a chain.

    Stock L{twisted.names.cache.CacheResolver} has this method too.
    """

    def cacheResult(query, payload):
        """
        Keep an answer, if it is worth keeping. Never fails, never waits.

        Failures are offered, too: most caches look at C{payload.rCode} and
        leave them, and some learn from them. Stale answers aren't.

        @param query: The L{dnsguard.query.ClientQuery} it answers.
        @param payload: The L{dnsguard.answer.Answer}.
        """


class IAnswerStore(Interface):
    """
    Answers that several instances share, and what keeps them tidy. Reactor
    thread; nothing here waits for anything but the network.

    Keys are L{dnsguard.caching.key.Key}s, entries
    L{dnsguard.caching.entry.Entry}s whose times are seconds of the clock that
    the store was given, whatever the store itself counts in.

    Every L{Deferred <twisted.internet.defer.Deferred>} fires in a bounded time
    and fails with L{dnsguard.errors.StoreError} alone. Lookups and locks take
    as long as a query may be kept waiting (50 ms unless configured otherwise).
    All else is made of short steps that have 2 s each. While the store is known
    to be away it fails at once.
    """

    available = Attribute("Is the store believed to be there? False: all fails at once.")

    def get(key):
        """
        Look an answer up. Lookups of one reactor turn travel together.

        What isn't a sane answer to the key's question counts as missing, and
        so does what a clearing overtook.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of the entry,
            fresh or not, or L{None}.
        """

    def peek(key):
        """
        The same for somebody who only wants to see it: nothing is counted.
        """

    def put(key, entry):
        """
        Keep an answer, in a while: never waits, never fails. What can't be
        kept is counted. A key that is there already keeps its C{createdAt}.
        """

    def lock(key, seconds):
        """
        Be the only instance to refresh a key.

        @param seconds: When the lock ends by itself.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of the token
            to unlock with, as L{bytes}, or L{None}: somebody else has it.
        """

    def unlock(key, token):
        """
        Give a lock back, if it is still this one.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of whether it
            was.
        """

    def claim(task, seconds):
        """
        Be the only instance to do some common work, such as a sweep.

        @param task: A short word for it.
        @param seconds: For how long nobody else may have it. It isn't given
            back.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of a bool.
        """

    def addHits(hits, window):
        """
        Add to the hit counters that all instances share.

        @param hits: A mapping of keys to whole numbers above 0.
        @param window: Seconds after which a counter that isn't added to any
            more is gone.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of L{None}.
        """

    def addSweepHits(hits, window):
        """
        The same for the sweeper's own counters.
        """

    def expiryCandidates(until, limit):
        """
        List the keys that are fresh no longer than a certain time, in order.

        @param until: Seconds of the clock that the store was given.
        @param limit: The most to list.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of a list of
            L{dnsguard.caching.candidate.Candidate}s.
        """

    def freshest(limit):
        """
        List keys that stay fresh the longest, the longest first: what is worth
        taking over after a restart.

        @return: As for L{expiryCandidates}.
        """

    def candidateChecks(keys):
        """
        Tell what is known of keys.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of a list of
            L{dnsguard.caching.candidate.Standing}s, in the order of the keys.
        """

    def reconcile(sample):
        """
        Take keys out of the expiry index whose answers are gone.

        @param sample: How many to look at, those first that expired first.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of how many
            were taken out.
        """

    def dropCandidates(keys):
        """
        Take keys out of the expiry index, and leave what else there is.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of how many
            were in it.
        """

    def count():
        """
        Count the answers kept.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of a number.
        """

    def deleteKeys(keys):
        """
        Delete answers with all that belongs to them: counters, locks, places
        in the index.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of how many
            answers were there.
        """

    def evictBeyond(maxKeys):
        """
        Delete answers until at most so many are left: the ones with the fewest
        hits first, of these the oldest. A bounded number at a time.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of how many
            were deleted.
        """

    def clear():
        """
        Delete everything, and have all instances drop what they hold of it.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of how many
            answers were there, when they are gone and the others told.
        """

    def forget(qname, below=False):
        """
        The same for one name: all types and variants.

        @param qname: The name, lower-cased, in wire form.
        @param below: All names below it, too?
        @return: As for L{clear}.
        """

    def subscribe(listener):
        """
        Hear of the clearings that other instances order. After a time in which
        some may have been missed, one of everything is made up.

        @param listener: Called with a L{dnsguard.caching.candidate.Clearing};
            must not fail.
        @return: A function without arguments that ends this.
        """

    clearings = Attribute(
        "The number of the last clearing that all in this process has seen, or L{None}: not"
        " known yet."
    )

    def resume(clearings):
        """
        Say that this process has in memory what it had at an earlier time. If
        anything was cleared since, it hears of a clearing of everything.

        @param clearings: C{clearings} of that time.
        """

    def counters():
        """
        Give the numbers to publish.

        @return: A dict of names to numbers.
        """


class IUpstream(Interface):
    """
    One server that queries are forwarded to.

    Its calls go both ways without a Deferred in between, as tens of thousands
    of them are made each second.
    """

    name = Attribute("Its configured name, shown in logs and rows.")
    address = Attribute("Its L{dnsguard.upstream.address.UpstreamAddress}.")
    standing = Attribute("Its L{dnsguard.upstream.selection.Standing}.")

    def send(attempt):
        """
        Ask a question. At once or later, exactly one of the attempt's
        C{succeed} and C{fail} is called, unless it is abandoned before; the
        latest at the attempt's deadline.

        Its id and its name's letter case are made unpredictable
        (RFC 5452 §9.1), and the reply is checked to be a response to this
        question from this server.

        @param attempt: An L{dnsguard.upstream.attempt.Attempt}; its
            exchange says what to ask.
        """

    def retire():
        """
        Take no further part: let what is under way end, then close.
        """

    def close():
        """
        Let go of sockets and connections. What is under way fails.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} that fires
            with L{None} when all are closed.
        """


class IReloadable(Interface):
    """
    Something that can go over to another configuration while it serves.
    """

    def reloadConfiguration(config):
        """
        Put a configuration into force. Reactor thread.

        @param config: The whole L{dnsguard.config.model.Config}, valid in
            itself.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} that fires
            with L{None} when it is in force, or fails with everything as it
            was: with L{dnsguard.errors.DNSGuardError} if the configuration is
            to blame.
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


class IEntryObserver(IQueryObserver):
    """
    An observer that makes something of each entry of the replay store it hears of
    for the first time. A batch may be of thousands of those, so it is asked to do
    that before it is told of the batch: some entries a turn of the reactor.
    """

    def meet(batch, most):
        """
        Get ready for a batch, and count nothing yet. Reactor thread.

        Whoever is told of a batch that it wasn't made ready for, or has
        forgotten some of it since, does all of that at once.

        @param batch: The L{IReplayBatch} that comes next.
        @param most: How much to do: one for each entry, or client, that wasn't
            met before.
        @return: How much was done. Less than C{most}: it is ready.
        """


class IReplayBatch(Interface):
    """
    Queries answered from the replay store, as records of fixed size.

    Nothing here is one Python object a query. A plain observer adds up L{hits},
    which are made for the first who asks; one that is told of some hundred
    thousand queries in a second walks the octets, and keeps a small number for
    each entry in L{dnsguard.notes.EntryNotes}.
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
    hits = Attribute("A mapping of the entry numbers in L{records} to how often they occur.")
    entries = Attribute(
        """
        Gives, by C{entries[number]}, the L{dnsguard.replay.entry.ReplayedAnswer}
        of an entry number in L{records}: the facts that all queries answered
        from that entry share (question, outcome, response code, rule, policy
        view). Facts are looked up when they are asked for, so ask during
        the call. A number stands for the same facts for ever: no entry has a
        number that another one had.
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

    def lookup(datagram, address, now, stream=False):
        """
        Find the finished reply to a request.

        @param datagram: The request's octets.
        @param address: The client's packed IP address, 4 or 16 octets.
        @param now: Seconds of the server's clock.
        @param stream: Came it over a stream? Records say so.
        @return: The reply's octets, with the request's id and letter case and
            TTLs counted down, or L{None}: ask the chain.
        """

    def lookupAll(datagrams, addresses, now):
        """
        Find the finished replies to many requests that came over UDP. They
        arrived together, and took as long as all of them.

        @param datagrams: The requests' octets.
        @param addresses: As many addresses of clients; see L{lookup}.
        @return: The replies there are, in order; and the places of the requests
            for which there is none, ascending.
        """

    def lookupStream(octets, start, address, now, most):
        """
        Find the finished replies to messages of a stream, each with its length
        before it (RFC 1035 §4.2.2), up to the first that isn't whole or has
        none.

        @param octets: What has come, as C{bytes} or C{bytearray}.
        @param start: Where the first message's length is.
        @param address: As L{lookup} has it.
        @param most: When there are as many octets of replies, 65536 at most,
            no more are looked for.
        @return: Where the first message's length is that isn't answered; the
            replies, each with its length before it; and how many there are.
        @raise ValueError: C{start} isn't within the octets.
        """

    def remember(datagram, reply, facts, seconds, now):
        """
        Keep a finished reply.

        @param datagram: The request it answers.
        @param reply: The reply's octets, as they are to be sent over UDP, and
            not truncated. One that its sender couldn't take over UDP isn't
            kept.
        @param facts: A L{dnsguard.replay.entry.ReplayedAnswer}. One that doesn't
            name its view, or names another policy's generation than the
            present one, isn't kept.
        @param seconds: How long it may be replayed.
        @param now: Seconds of the server's clock.
        """

    def beginCarrying(judge):
        """
        Begin to look which entries a policy to come leaves as they are. What is
        stored from now on is judged at once. Ends with the next policy, or when
        everything is forgotten.

        @param judge: Is given an entry's facts; gives those that it has under
            that policy, the same ones as a rule, or L{None} if it doesn't hold for
            it. Neither raises nor touches the store.
        """

    def carryOn(most, now):
        """
        Judge some more of the entries, those first that were asked for.

        @param most: How many at most.
        @param now: Seconds of the server's clock.
        @return: Have all been judged, or is there nothing to prepare for? Those
            that haven't been don't hold for the policy to come.
        """

    def adopt(policy, kept=None):
        """
        Let all entries be dead that were made under another policy, but for
        those that this one is known to leave as they are, and sort clients into
        its views. Subscribed to L{IPolicies}, it lets none live.

        @param kept: Which those are, a L{Kept<dnsguard.replay.lives.Kept>}; by
            default C{NOTHING}. C{CARRIED} is as good as C{NOTHING} when
            there was another policy, or everything was forgotten, since
            L{beginCarrying}.
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


class IQueryStore(Interface):
    """
    Where rows of queries are kept and asked about. Reactor thread; whatever
    takes time happens elsewhere.

    Every L{Deferred <twisted.internet.defer.Deferred>} given back fires within
    a bounded time, and fails with L{dnsguard.errors.StoreError} alone.
    """

    name = Attribute("The engine's name, such as C{duckdb}.")

    def start():
        """
        Make the store ready: connect, make or migrate the schema.

        Nobody needs to wait for this; all else does it when it wasn't done.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of L{None}.
        """

    def insert(block):
        """
        Store all rows of a block, or none.

        After a failure it isn't known which: give the same block again, and
        its rows are stored once.

        @param block: A L{dnsguard.querystore.block.Block}.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of L{None}.
        """

    def isStarved():
        """
        Does the store work on this machine, and has it to wait for the CPU? Then
        storing rows would take it from those who answer.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of a C{bool}.
        """

    def ask(question):
        """
        Answer a question about the rows.

        @param question: One of L{dnsguard.querystore.questions}.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of what the
            question's C{shape} describes, fit for JSON.
        """

    def maintain():
        """
        Let rows go that are too old or too many. Called every minute or so.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of L{None}.
        """

    def clear():
        """
        Let all rows go.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of L{None}.
        """

    def counters():
        """
        Give the numbers to publish.

        @return: A dict of names to numbers.
        """

    def close():
        """
        End whatever is under way and let go of connections and processes. The
        store may be started again.

        @return: A L{Deferred <twisted.internet.defer.Deferred>} of L{None}.
        """
