# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The replay store, compiled: the same class as L{dnsguard.replay.store} over a
table in C that listener threads read without a lock.

What is Python in here is what must be: the facts behind the entries, and the
policy. The table is in C{table.h} and C{writer.h}, the octets in C{core.h}.
All methods are for the reactor thread.
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from zope.interface import implementer

from dnsguard.interfaces import IReplayStore
from dnsguard.replay.batch import ReplayBatch
from dnsguard.replay.bounds import DRAIN_LIMIT, LONGEST, STREAM_MOST, checkBounds
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.replay.key import LIMIT_MAX
from dnsguard.replay.lives import Kept
from dnsguard.replay.views import ViewMap

__all__ = ["CompiledReplayStore", "readReply", "readRequest", "siphash"]

cdef enum:
    SWEPT_A_SECOND = 81920
    SWEPT_MOST = 4096
    SWEPT_LEAST = 256
    SWEPT_WITH_EACH = 32
    LET_GO_BY_DRAIN = 4096
    # Empty places cost a nanosecond or two, but a table may have a million.
    WALKED_AT_ONCE = 16384

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *)

cdef int64_t SECOND = 1000000000
cdef uint64_t drainLimit = DRAIN_LIMIT
cdef Py_ssize_t streamMost = STREAM_MOST


cdef uint32_t tookSince(int64_t started) noexcept:
    return <uint32_t>min(dg_clock(CLOCK_MONOTONIC) - started, <int64_t>0xFFFFFFFF)


def siphash(bytes octets, bytes key):
    """
    SipHash-1-3 of some octets, for the tests.

    @param key: 16 octets.
    """
    cdef uint64_t words[2]
    if len(key) != 16:
        raise ValueError("the key is 16 octets")
    memcpy(words, PyBytes_AS_STRING(key), 16)
    return dg_hash(<const uint8_t *>PyBytes_AS_STRING(octets), len(octets), words)


def readRequest(bytes datagram, int payloadLimit):
    """
    Read a request as L{dnsguard.replay.key.requestKey} does, for the tests.

    @return: Question, flags and limit, or L{None}.
    """
    cdef dg_request request
    if not dg_readRequest(
        <const uint8_t *>PyBytes_AS_STRING(datagram), len(datagram), payloadLimit, &request
    ):
        return None
    question = PyBytes_FromStringAndSize(<char *>request.key, request.keyLength - 1)
    return question, request.flags, request.limit


def readReply(bytes reply, bytes request, int questionEnd):
    """
    Find a reply's TTLs, for the tests.

    @return: Offsets and seconds, or L{None} for a reply that isn't kept.
    """
    cdef dg_ttl ttls[DG_TTLS_MAX]
    cdef int i, count
    if not 17 <= questionEnd <= len(request):
        raise ValueError("questionEnd isn't in the request")
    count = dg_readReply(
        <const uint8_t *>PyBytes_AS_STRING(reply), len(reply),
        <const uint8_t *>PyBytes_AS_STRING(request), questionEnd, ttls,
    )
    return None if count < 0 else [(ttls[i].offset, ttls[i].seconds) for i in range(count)]


cdef class CompiledReplayStore:
    """
    A bounded store of finished replies, shared with listener threads.

    See L{dnsguard.replay.store.PythonReplayStore}; the arguments are the same,
    and C{payloadLimit} is what listener threads go by as well.
    """

    compiled = True

    def __cinit__(
        self,
        *,
        maxEntries=100_000,
        maxBytes=128 << 20,
        payloadLimit=1232,
        ringSize=1 << 18,
    ):
        cdef uint64_t keys[4]
        checkBounds(maxEntries, maxBytes, payloadLimit, ringSize)
        memcpy(keys, PyBytes_AS_STRING(os.urandom(32)), 32)
        self.table = dg_newTable(maxEntries, maxBytes, min(payloadLimit, LIMIT_MAX), keys)
        if self.table == NULL:
            raise MemoryError
        self.ringBits = (ringSize - 1).bit_length()
        self.generation = 0
        self.networks = ()
        self.departed = []
        self.leaving = []
        self.circumstances = Circumstances()
        self.reader = self.join()
        self.replies = <uint8_t *>malloc(streamMost + <int>LIMIT_MAX + 2)
        if self.replies == NULL:
            raise MemoryError

    def __dealloc__(self):
        # Listeners hold a reference to this store, so no reader is left.
        cdef uint32_t i
        if self.table != NULL:
            for i in range(self.table.numbersUsed):
                Py_XDECREF(<PyObject *>self.table.numbers[i].facts)
            dg_freeTable(self.table)
        free(self.replies)

    cdef dg_reader *join(self) except NULL:
        """
        Take a place among the readers of the table.
        """
        cdef dg_reader *reader = dg_join(self.table, self.ringBits)
        if reader == NULL:
            raise MemoryError("no room for another reader of the replay store")
        return reader

    cdef void setClock(self, int64_t now) noexcept:
        """
        Let listener threads know the server's clock. C{now} may have been read
        a while ago, so the least delay seen counts, unless the clock stepped.
        """
        cdef int64_t offset = now - dg_clock(CLOCK_MONOTONIC)
        cdef int64_t before = self.table.clockOffset
        if offset > before or offset < before - SECOND:
            dg_storeClock(self.table, offset)

    def lookup(self, bytes datagram not None, bytes address not None, double now, bint stream=False):
        """
        Find the finished reply to a request. See
        L{dnsguard.interfaces.IReplayStore.lookup}.

        @param stream: Came it over a stream? Records say so.
        """
        cdef dg_record record
        cdef int64_t started = dg_clock(CLOCK_MONOTONIC)
        reply = self.found(datagram, address, <int64_t>(now * 1e9), &record)
        if reply is not None:
            record.transport = stream
            record.took = tookSince(started)
            record.arrived = dg_clock(CLOCK_REALTIME) - record.took
            dg_note(&self.reader.ring, &record, 1)
        return reply

    cdef bytes found(self, bytes datagram, bytes address, int64_t at, dg_record *record):
        """
        Give the finished reply to a request, if there is one, and begin the
        record of it.
        """
        cdef dg_request request
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(datagram)
        cdef dg_entry *entry = NULL
        cdef bytes reply
        if len(address) == 4 or len(address) == 16:
            entry = self.find(octets, len(datagram), address, at, &request, record)
        if entry == NULL:
            self.reader.misses += 1
            return None
        reply = PyBytes_FromStringAndSize(NULL, entry.replySize)
        dg_replay(<uint8_t *>PyBytes_AS_STRING(reply), entry, octets, &request, at)
        self.reader.hits += 1
        record.number = entry.link.number
        record.size = entry.replySize
        return reply

    def lookupAll(self, datagrams, addresses, double now):
        """
        Find the finished replies to many requests. See
        L{dnsguard.interfaces.IReplayStore.lookupAll}.
        """
        cdef int64_t arrived = dg_clock(CLOCK_REALTIME), started = dg_clock(CLOCK_MONOTONIC)
        cdef int64_t at = <int64_t>(now * 1e9)
        cdef Py_ssize_t count = 0, i
        cdef uint32_t took
        cdef list replies = [], missed = []
        cdef dg_record *records = <dg_record *>malloc((len(datagrams) + 1) * sizeof(dg_record))
        if records == NULL:
            raise MemoryError
        try:
            for datagram, address in zip(datagrams, addresses, strict=True):
                reply = self.found(<bytes?>datagram, <bytes?>address, at, &records[count])
                if reply is None:
                    missed.append(count + len(missed))
                else:
                    replies.append(reply)
                    count += 1
            took = tookSince(started)
            for i in range(count):
                records[i].transport = 0
                records[i].arrived = arrived
                records[i].took = took
            dg_note(&self.reader.ring, records, count)
        finally:
            free(records)
        return replies, missed

    def lookupStream(
        self, octets, Py_ssize_t start, bytes address not None, double now, Py_ssize_t most
    ):
        """
        Find the finished replies to messages of a stream. See
        L{dnsguard.interfaces.IReplayStore.lookupStream}.
        """
        cdef Py_buffer buffer
        cdef dg_talk talk
        cdef size_t room = min(max(most, <Py_ssize_t>1), streamMost)
        # The last one may go beyond.
        room += self.table.fullLimit + 1
        PyObject_GetBuffer(octets, &buffer, PyBUF_SIMPLE)
        if not 0 <= start <= buffer.len:
            PyBuffer_Release(&buffer)
            raise ValueError(f"{start} isn't within the octets")
        talk = dg_answerStream(
            self.table, self.reader, <const uint8_t *>buffer.buf + start, buffer.len - start,
            <const uint8_t *>PyBytes_AS_STRING(address), len(address), self.replies, room,
            <int64_t>(now * 1e9),
        )
        PyBuffer_Release(&buffer)
        return (
            start + talk.read,
            PyBytes_FromStringAndSize(<char *>self.replies, talk.written),
            talk.hits,
        )

    cdef dg_entry *find(
        self, const uint8_t *octets, size_t size, bytes address, int64_t at,
        dg_request *request, dg_record *record
    ) noexcept:
        """
        Read a request and find its entry, or C{NULL}.
        """
        cdef int32_t view
        if not dg_readRequest(octets, size, self.table.fullLimit, request):
            return NULL
        view = dg_place(
            self.table.views, <const uint8_t *>PyBytes_AS_STRING(address), len(address), record
        )
        if view < 0:
            return NULL
        dg_sealKey(request, view)
        return dg_lookup(
            self.table, request, dg_keyHash(self.table, request),
            self.table.views.generation, at,
        )

    def remember(self, bytes datagram not None, bytes reply not None, facts, double seconds, double now):
        """
        Keep a finished reply. See L{dnsguard.interfaces.IReplayStore.remember}.

        A reply made under another policy than C{generation}, or for a view
        that C{facts} doesn't name, isn't kept.
        """
        cdef dg_request request
        cdef int64_t at = <int64_t>(now * 1e9)
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(datagram)
        cdef uint64_t number = 0
        view = facts.viewNumber
        self.setClock(at)
        if (
            view is not None
            and view >= 0
            and facts.generation == self.generation
            and seconds > 0
            and dg_readRequest(octets, len(datagram), self.table.fullLimit, &request)
        ):
            dg_sealKey(&request, view)
            if self.judge is not None:
                later = self.judge(facts)
                self.table.coming = 0 if later is None else self.lives
                facts = facts if later is None else later
            number = dg_remember(
                self.table, &request, octets, <const uint8_t *>PyBytes_AS_STRING(reply),
                len(reply), <int64_t>(min(seconds, <double>LONGEST) * 1e9), at,
            )
        if number:
            self.hold(number, facts)
            self.ratified += self.table.coming != 0
            dg_sweep(self.table, SWEPT_WITH_EACH, at)
            self.reclaim()
        else:
            self.refused += 1

    def beginCarrying(self, judge):
        """
        Begin to carry entries over to a policy to come. See
        L{dnsguard.interfaces.IReplayStore.beginCarrying}.
        """
        self.lives += 1
        self.judge = judge
        self.walk = self.ratified = 0
        self.table.coming = 0

    def carryOn(self, int most, double now):
        """
        Judge some more entries. See L{dnsguard.interfaces.IReplayStore.carryOn}.
        """
        cdef int64_t at = <int64_t>(now * 1e9)
        cdef uint64_t slots = WALKED_AT_ONCE
        cdef dg_entry *entry
        cdef uint64_t number
        if self.judge is None:
            return True
        for _ in range(most):
            entry = dg_walkOn(self.table, &self.walk, &slots, self.lives, at)
            if entry == NULL:
                break
            # Whatever a judge does, it doesn't touch the store.
            facts = self.factsOf(entry.link.number)
            later = self.judge(facts)
            if later is None:
                continue
            if later is not facts:
                number = dg_renumber(self.table, entry)
                if not number:
                    continue
                self.hold(number, later)
            dg_ratify(entry, self.lives)
            self.ratified += 1
        return self.walk == dg_walkEnd(self.table)

    def adopt(self, policy, kept=Kept.NOTHING):
        """
        Turn to another policy. See L{dnsguard.interfaces.IReplayStore.adopt}.
        """
        networks = (policy.defaultView.number, *policy.networks())
        if networks != self.networks:
            self.publishViews(self.sort(ViewMap.of(networks[1:], networks[0])), kept)
            self.networks = networks
        else:
            self.publishViews(dg_copyViews(self.table.views), kept)
        self.generation = policy.generation

    cdef dg_views *sort(self, map):
        """
        Give client ranges their form in C.
        """
        cdef dg_views *views
        cdef Py_ssize_t i
        v4, v6 = map.v4, map.v6
        views = dg_newViews(len(v4.starts), len(v6.starts))
        if views == NULL:
            return NULL
        for i, (start, number) in enumerate(zip(v4.starts, v4.numbers)):
            views.starts4[i] = int.from_bytes(start, "big")
            views.views4[i] = number
        for i, (start, number) in enumerate(zip(v6.starts, v6.numbers)):
            views.starts6[2 * i] = int.from_bytes(start[:8], "big")
            views.starts6[2 * i + 1] = int.from_bytes(start[8:], "big")
            views.views6[i] = number
        return views

    cdef int publishViews(self, dg_views *views, kept) except -1:
        """
        Let readers see client ranges, under a new life of the table, a number
        that was never used: every entry that doesn't hold for it is dead.
        """
        cdef uint64_t carried = 0
        if views == NULL:
            raise MemoryError
        if kept is Kept.ALL:
            views.generation = self.table.views.generation
            carried = self.table.entries
        elif kept is Kept.CARRIED and self.judge is not None:
            views.generation = self.lives
            carried = min(self.ratified, self.table.entries)
        else:
            self.lives += 1
            views.generation = self.lives
        self.carried += carried
        self.ended += self.table.entries - carried
        self.judge = None
        self.table.coming = 0
        dg_adopt(self.table, views)
        self.reclaim()
        return 0

    def forget(self, qname):
        """
        Drop all entries for a name, or all. See
        L{dnsguard.interfaces.IReplayStore.forget}.
        """
        if qname is None:
            self.publishViews(dg_copyViews(self.table.views), Kept.NOTHING)
            return
        name = <bytes?>qname
        dg_forgetName(self.table, <const uint8_t *>PyBytes_AS_STRING(name), len(name))
        self.reclaim()

    cdef int reclaim(self) except -1:
        """
        Free what no reader can hold any more.
        """
        cdef uint64_t least = dg_leastEpoch(self.table)
        cdef dg_link *link = dg_reclaim(self.table, least)
        while link != NULL:
            if link.number:
                self.departed.append(link.number)
            free(link)
            link = dg_reclaim(self.table, least)
        return 0

    def drain(self):
        """
        Take the records. See L{dnsguard.interfaces.IReplayStore.drain}.
        """
        cdef uint64_t waiting = 0, count, i
        # The batch before this one isn't valid any more.
        self.letGo()
        self.sweep(dg_clock(CLOCK_MONOTONIC))
        self.reclaim()
        for i in range(DG_READERS):
            waiting += dg_pending(&self.table.readers[i].ring)
        count = min(waiting, drainLimit)
        # As many octets come again and again: memory that is given back and
        # asked for each time costs more than what is done with it. Whoever has
        # kept the last batch keeps its octets, too.
        if self.drained is None or Py_REFCNT(<PyObject *>self.drained) > 1:
            self.drained = PyByteArray_FromStringAndSize(NULL, drainLimit * sizeof(dg_record))
        self.takeAll(<dg_record *>PyByteArray_AS_STRING(self.drained), count)
        records = memoryview(self.drained)[: count * sizeof(dg_record)].toreadonly()
        return ReplayBatch(records, self.factsOf)

    cdef void sweep(self, int64_t now) noexcept:
        """
        Free entries that are dead: look at as many in a second, however often
        there is something to drain.
        """
        cdef int64_t due = min(now - self.swept, SECOND) * SWEPT_A_SECOND // SECOND
        self.swept = now
        dg_sweep(
            self.table,
            <uint64_t>max(SWEPT_LEAST, min(SWEPT_MOST, due)),
            now + self.table.clockOffset,
        )

    def factsOf(self, uint64_t number):
        """
        Give the facts of an entry.

        @param number: The number of an entry in the last batch, or that is
            still there.
        @raise KeyError: There is no such entry.
        """
        cdef uint32_t place = <uint32_t>number, shared
        cdef void *facts = NULL
        if place < self.table.numbersUsed and self.table.numbers[place].life == number >> 32:
            facts = self.table.numbers[place].facts
        if facts == NULL:
            raise KeyError(number)
        shared = self.table.numbers[place].next
        if shared:
            return ReplayedAnswer.of(<object>facts, self.circumstances.at(shared - 1))
        return <object>facts

    cdef int hold(self, uint64_t number, facts) except -1:
        """
        Hold the facts of an entry whose number is new: in parts if they have any.
        """
        parts = facts.parts if type(facts) is ReplayedAnswer else None
        if parts is not None:
            facts = <bytes?>parts[0]
            self.table.numbers[<uint32_t>number].next = self.circumstances.use(parts[1])
        # Given back in letGo().
        Py_INCREF(facts)
        dg_factsOf(self.table, number)[0] = <void *>facts
        return 0

    cdef uint64_t takeAll(self, dg_record *out, uint64_t most) noexcept:
        """
        Take records from all rings in turn.
        """
        cdef uint64_t taken = 0, i
        for i in range(DG_READERS):
            taken += dg_take(&self.table.readers[i].ring, out + taken, most - taken)
        return taken

    cdef int letGo(self) except -1:
        """
        Drop the facts of entries that are freed, once all records that name
        them are drained: those were in the rings when the entry was freed.
        """
        cdef uint64_t i, number
        cdef int most = LET_GO_BY_DRAIN
        cdef PyObject *facts
        cdef uint32_t shared
        if not self.leaving:
            self.leaving, self.departed = self.departed, self.leaving
            for i in range(DG_READERS):
                self.marks[i] = self.table.readers[i].ring.tail + dg_pending(
                    &self.table.readers[i].ring
                )
        for i in range(DG_READERS):
            if self.table.readers[i].ring.tail < self.marks[i]:
                return 0
        while self.leaving and most:
            number = self.leaving.pop()
            facts = <PyObject *>dg_factsOf(self.table, number)[0]
            shared = self.table.numbers[<uint32_t>number].next
            dg_giveNumber(self.table, number)
            if shared:
                self.circumstances.unuse(shared - 1)
            Py_XDECREF(facts)
            most -= 1
        return 0

    def counters(self):
        """
        What there is, and what happened since the start. See
        L{dnsguard.replay}.
        """
        cdef uint64_t hits = 0, misses = 0, dropped = 0, i
        for i in range(DG_READERS):
            hits += self.table.readers[i].hits
            misses += self.table.readers[i].misses
            dropped += self.table.readers[i].ring.dropped
        return {
            "entries": self.table.entries,
            "bytes": self.table.octets,
            "hits": hits,
            "misses": misses,
            "stored": self.table.stored,
            "replaced": self.table.replaced,
            "evicted": self.table.evicted,
            "expired": self.table.expired,
            "refused": self.refused,
            "carried": self.carried,
            "ended": self.ended,
            "ringDropped": dropped,
        }


implementer(IReplayStore)(CompiledReplayStore)
