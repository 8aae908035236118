# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled half of L{dnsguard.replay.listener}: one socket, its loop without
the interpreter lock, and the way of misses and their replies. Linux.

The loop itself is in C{loop.h}.
"""

import os
import socket as sockets

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from dnsguard.replay._store cimport (
    CLOCK_MONOTONIC, CLOCK_REALTIME, CompiledReplayStore, dg_clock, dg_entry, dg_note, dg_quit,
    dg_reader, dg_record, dg_replay, dg_request, dg_table,
)

__all__ = ["DatagramWorker"]


cdef extern from "<unistd.h>" nogil:
    int close(int)


cdef extern from "loop.h" nogil:
    enum:
        DG_BATCH
        MSG_DONTWAIT

    ctypedef struct dg_peer:
        pass

    ctypedef struct dg_miss:
        uint32_t size
        int64_t arrived
        dg_peer peer

    ctypedef struct dg_missRing:
        pass

    ctypedef struct dg_bundles:
        int off
        int refusal
        uint64_t segmented
        uint64_t refused

    ctypedef struct dg_worker:
        int stop
        int signalled
        uint64_t received
        uint64_t hits
        uint64_t malformed
        uint64_t oversized
        uint64_t portless
        uint64_t missDrops
        uint64_t unsent
        uint64_t errors
        dg_missRing misses
        dg_bundles bundles

    ctypedef struct mmsghdr:
        pass

    ctypedef struct dg_outbox:
        mmsghdr messages[1]

    dg_worker *dg_newWorker(dg_table *, dg_reader *, int, int, int, uint64_t)
    void dg_freeWorker(dg_worker *)
    int dg_run(dg_worker *)
    void dg_poll(dg_worker *)
    void dg_signal(dg_worker *)
    void dg_stop(dg_worker *)
    void dg_heard(dg_worker *)
    size_t dg_address(const dg_peer *, const uint8_t **)
    const uint8_t *dg_peekMiss(dg_missRing *, dg_miss *)
    void dg_dropMiss(dg_missRing *, const dg_miss *)
    void dg_post(dg_outbox *, int, const void *, size_t, const void *)
    unsigned int dg_send(int, mmsghdr *, unsigned int, int, uint64_t *)


cdef const uint8_t *MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef bytes packed(const dg_peer *peer):
    """
    A peer's address, 4 or 16 octets; IPv4 if it is IPv4-mapped.
    """
    cdef const uint8_t *octets = NULL
    cdef size_t size = dg_address(peer, &octets)
    if size == 16 and not memcmp(octets, MAPPED, 12):
        return PyBytes_FromStringAndSize(<const char *>octets + 12, 4)
    return PyBytes_FromStringAndSize(<const char *>octets, size)


@cython.no_gc_clear  # the store must outlive the reader that is given back
cdef class DatagramWorker:
    """
    Answers requests on one bound UDP socket from the replay store, and passes
    the others on.

    L{run} or L{poll} is called by one thread; all else by the reactor's.
    """

    cdef CompiledReplayStore store
    cdef dg_worker *worker
    cdef dg_reader *reader
    cdef int socket
    cdef readonly int wakeFileno
    cdef readonly uint64_t sent, unsent, recalled

    def __cinit__(
        self, CompiledReplayStore store not None, int socket, bint wantsSource, missOctets=1 << 22
    ):
        """
        @param socket: The socket's number. It stays open until after L{close}.
        @param wantsSource: Is it bound to a wildcard address, and set to tell
            where datagrams were sent to?
        @param missOctets: Room for requests that wait for the reactor, a power
            of two.
        """
        if missOctets < 1 << 14 or missOctets & (missOctets - 1):
            raise ValueError(f"missOctets {missOctets} is no power of two from 16384")
        self.store = store
        self.socket = socket
        self.wakeFileno = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.reader = store.join()
        self.worker = dg_newWorker(
            store.table, self.reader, socket, self.wakeFileno, wantsSource, missOctets
        )
        if self.worker == NULL:
            raise MemoryError

    def __dealloc__(self):
        # A running loop holds a reference, so it has ended.
        if self.worker != NULL:
            dg_freeWorker(self.worker)
        if self.reader != NULL:
            dg_quit(self.reader)
        if self.wakeFileno > 0:
            close(self.wakeFileno)

    def run(self):
        """
        Answer until L{stop}. For a thread of its own; the socket blocks.

        @return: 0, or the C{errno} of a socket that can't be read any more.
        """
        cdef int result
        with nogil:
            result = dg_run(self.worker)
        return result

    def poll(self):
        """
        Answer what is there now, a bounded number. The socket doesn't block.
        """
        with nogil:
            dg_poll(self.worker)

    def stop(self):
        """
        Let L{run} return, once what the socket holds is answered.
        """
        dg_stop(self.worker)
        other = sockets.socket(fileno=os.dup(self.socket))
        try:
            other.shutdown(sockets.SHUT_RD)
        except OSError:
            # An unconnected socket says ENOTCONN, and wakes its readers.
            pass
        finally:
            other.close()

    def hear(self):
        """
        Clear C{wakeFileno}, before L{misses} is called.
        """
        try:
            os.eventfd_read(self.wakeFileno)
        except BlockingIOError:
            pass
        dg_heard(self.worker)

    def wake(self):
        """
        Let C{wakeFileno} be readable.
        """
        dg_signal(self.worker)

    def misses(self, int most):
        """
        Take requests that the store couldn't answer.

        @return: At most C{most} tuples: the request; its sender's packed
            address; what L{send} wants to know; and when it came, in
            nanoseconds since the epoch.
        """
        cdef dg_miss miss
        cdef const uint8_t *octets
        taken = []
        while most > 0:
            octets = dg_peekMiss(&self.worker.misses, &miss)
            if octets == NULL:
                break
            taken.append((
                PyBytes_FromStringAndSize(<const char *>octets, miss.size),
                packed(&miss.peer),
                PyBytes_FromStringAndSize(<const char *>&miss.peer, sizeof(dg_peer)),
                miss.arrived,
            ))
            dg_dropMiss(&self.worker.misses, &miss)
            most -= 1
        return taken

    def recall(self, bytes request not None, bytes address not None, int64_t arrived):
        """
        Look once more whether the store can answer a request that L{misses} gave:
        an equal one may have been answered while it waited.

        @param arrived: When it came; the record of it says so.
        @return: The reply, or L{None}.
        """
        cdef dg_table *table = self.store.table
        cdef dg_record record
        cdef dg_request read
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(request)
        cdef int64_t now = dg_clock(CLOCK_MONOTONIC) + table.clockOffset
        cdef int64_t took
        cdef dg_entry *entry = NULL
        if len(address) == 4 or len(address) == 16:
            entry = self.store.find(octets, len(request), address, now, &read, &record)
        if entry == NULL:
            return None
        reply = PyBytes_FromStringAndSize(NULL, entry.replySize)
        dg_replay(<uint8_t *>PyBytes_AS_STRING(reply), entry, octets, &read, now)
        # 0 if somebody has set the clock meanwhile.
        took = dg_clock(CLOCK_REALTIME) - arrived
        record.took = <uint32_t>took if 0 <= took <= 0xFFFFFFFF else 0
        record.arrived = arrived
        record.number = entry.link.number
        record.size = entry.replySize
        record.transport = 0
        dg_note(&self.store.reader.ring, &record, 1)
        self.store.reader.hits += 1
        self.recalled += 1
        return reply

    def send(self, list replies):
        """
        Send replies, all at once.

        @param replies: Tuples of a reply and the third thing L{misses} gives.
        @return: How many are done with, sent or impossible to send. When the
            socket's buffer is full, that is less than all.
        """
        cdef dg_outbox outbox
        cdef int count
        cdef unsigned int done
        cdef uint64_t unsent = 0
        cdef Py_ssize_t at = 0, total = len(replies)
        while at < total:
            count = 0
            while count < DG_BATCH and at + count < total:
                reply = <bytes?>replies[at + count][0]
                peer = <bytes?>replies[at + count][1]
                if len(peer) != sizeof(dg_peer):
                    raise ValueError("that is no peer")
                dg_post(
                    &outbox, count, PyBytes_AS_STRING(reply), len(reply), PyBytes_AS_STRING(peer)
                )
                count += 1
            with nogil:
                done = dg_send(self.socket, outbox.messages, count, MSG_DONTWAIT, &unsent)
            at += done
            if done < <unsigned int>count:
                break
        self.sent += at - unsent
        self.unsent += unsent
        return at

    @property
    def segments(self):
        """
        Does the system cut messages into datagrams, as far as is known?
        """
        return not self.worker.bundles.off

    def counters(self):
        """
        What happened since the start: see
        L{dnsguard.replay.listener.ListenerCounters}.
        """
        return {
            "received": self.worker.received,
            "replayed": self.worker.hits,
            "recalled": self.recalled,
            "portless": self.worker.portless,
            "malformed": self.worker.malformed,
            "oversized": self.worker.oversized,
            "missesDropped": self.worker.missDrops,
            "sent": self.sent + self.worker.hits - self.worker.unsent,
            "unsent": self.unsent + self.worker.unsent,
            "errors": self.worker.errors,
            "segmented": self.worker.bundles.segmented,
            "unsegmented": self.worker.bundles.refused,
        }

    def refuse(self, int number):
        """
        Let the system seem to refuse to cut messages into datagrams, for the
        tests.

        @param number: The C{errno}; 0: let it do so again, as far as it can.
        """
        self.worker.bundles.refusal = number
