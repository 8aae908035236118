# cython: language_level=3
# Copyright (c) The dnsguard developers. See LICENSE for details.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from dnsguard.replay._circumstances cimport Circumstances


cdef extern from "<time.h>" nogil:
    ctypedef int clockid_t
    clockid_t CLOCK_REALTIME
    clockid_t CLOCK_MONOTONIC


cdef extern from "stream.h" nogil:
    ctypedef struct dg_talk:
        size_t read
        size_t written
        uint64_t hits

    dg_talk dg_answerStream(
        dg_table *, dg_reader *, const uint8_t *, size_t, const uint8_t *, size_t, uint8_t *,
        size_t, int64_t
    )


cdef extern from "writer.h" nogil:
    enum:
        DG_READERS
        DG_TTLS_MAX

    ctypedef struct dg_request:
        uint16_t keyLength
        uint16_t limit
        uint8_t flags
        uint8_t key[1]

    ctypedef struct dg_ttl:
        uint32_t seconds
        uint16_t offset

    ctypedef struct dg_link:
        uint64_t number

    ctypedef struct dg_entry:
        dg_link link
        uint16_t replySize

    ctypedef struct dg_views:
        int64_t generation
        uint64_t *starts6
        uint32_t *starts4
        int32_t *views4
        int32_t *views6

    ctypedef struct dg_record:
        int64_t arrived
        uint64_t number
        uint32_t took
        uint16_t size
        uint8_t transport

    ctypedef struct dg_ring:
        uint64_t dropped
        uint64_t tail

    ctypedef struct dg_reader:
        uint64_t hits
        uint64_t misses
        dg_ring ring

    ctypedef struct dg_number:
        void *facts
        uint32_t life
        uint32_t next

    ctypedef struct dg_table:
        dg_views *views
        int64_t clockOffset
        int fullLimit
        uint64_t entries
        uint64_t octets
        uint64_t stored
        uint64_t replaced
        uint64_t evicted
        uint64_t expired
        int64_t coming
        dg_number *numbers
        uint32_t numbersUsed
        dg_reader readers[1]

    uint64_t dg_hash(const uint8_t *, size_t, const uint64_t *)
    bint dg_readRequest(const uint8_t *, size_t, int, dg_request *)
    int dg_readReply(const uint8_t *, size_t, const uint8_t *, size_t, dg_ttl *)
    void dg_sealKey(dg_request *, uint32_t)
    uint64_t dg_keyHash(const dg_table *, const dg_request *)
    dg_entry *dg_lookup(dg_table *, const dg_request *, uint64_t, int64_t, int64_t)
    void dg_replay(uint8_t *, dg_entry *, const uint8_t *, const dg_request *, int64_t)
    int32_t dg_place(const dg_views *, const uint8_t *, size_t, dg_record *)
    void dg_note(dg_ring *, const dg_record *, uint64_t)
    uint64_t dg_take(dg_ring *, dg_record *, uint64_t)
    uint64_t dg_pending(dg_ring *)
    int64_t dg_clock(clockid_t)
    void dg_storeClock(dg_table *, int64_t)

    dg_table *dg_newTable(uint64_t, uint64_t, int, const uint64_t *)
    void dg_freeTable(dg_table *)
    dg_views *dg_newViews(uint32_t, uint32_t)
    dg_views *dg_copyViews(const dg_views *)
    void dg_adopt(dg_table *, dg_views *)
    dg_reader *dg_join(dg_table *, unsigned int)
    void dg_quit(dg_reader *)
    uint64_t dg_leastEpoch(dg_table *)
    dg_link *dg_reclaim(dg_table *, uint64_t)
    void **dg_factsOf(dg_table *, uint64_t)
    void dg_giveNumber(dg_table *, uint64_t)
    uint64_t dg_remember(dg_table *, const dg_request *, const uint8_t *, const uint8_t *, size_t, int64_t, int64_t)
    void dg_forgetName(dg_table *, const uint8_t *, size_t)
    void dg_sweep(dg_table *, uint64_t, int64_t)
    dg_entry *dg_walkOn(dg_table *, uint64_t *, uint64_t *, int64_t, int64_t)
    uint64_t dg_walkEnd(const dg_table *)
    void dg_ratify(dg_entry *, int64_t)
    uint64_t dg_renumber(dg_table *, dg_entry *)


cdef class CompiledReplayStore:
    cdef dg_table *table
    cdef dg_reader *reader
    cdef unsigned int ringBits
    cdef readonly object generation
    # The last life that has a number: while there is a judge, the one to come.
    cdef int64_t lives, swept
    cdef object judge
    cdef uint64_t walk, ratified, carried, ended
    cdef tuple networks
    cdef list departed, leaving
    cdef Circumstances circumstances
    cdef bytearray drained
    cdef uint64_t[DG_READERS] marks
    cdef uint64_t refused
    cdef uint8_t *replies
    cdef dg_reader *join(self) except NULL
    cdef dg_entry *find(
        self, const uint8_t *octets, size_t size, bytes address, int64_t at,
        dg_request *request, dg_record *record
    ) noexcept
    cdef bytes found(self, bytes datagram, bytes address, int64_t at, dg_record *record)
    cdef void setClock(self, int64_t now) noexcept
    cdef dg_views *sort(self, map)
    cdef int publishViews(self, dg_views *views, kept) except -1
    cdef int reclaim(self) except -1
    cdef uint64_t takeAll(self, dg_record *out, uint64_t most) noexcept
    cdef void sweep(self, int64_t now) noexcept
    cdef int hold(self, uint64_t number, facts) except -1
    cdef int letGo(self) except -1
