# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
L{dnsguard.cli.perf.load}, compiled: the same classes, in batches.

Datagrams go to the kernel and come from it up to 64 with one call. A step runs
without Python's lock; whoever calls it decides how long it takes, and so how
soon an interrupt is seen.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, ENOBUFS, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from dnsguard.cli.perf import tally as _tally

__all__ = ["DatagramLoad", "StreamLoad"]

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <poll.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <unistd.h>

    static int64_t dg_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }

    /* The last moments are spent spinning: a question sent late would be
       counted as a slow one. */
    static int dg_poll(struct pollfd *places, int count, int64_t wait) {
        struct timespec t = {0, 0};
        wait -= 100000;
        if (wait > 0) {
            t.tv_sec = wait / 1000000000;
            t.tv_nsec = wait % 1000000000;
        }
        return ppoll(places, count, &t, NULL);
    }
    """
    int64_t dg_now()
    cdef struct pollfd:
        int fd
        short events
        short revents
    int dg_poll(pollfd *places, int count, int64_t wait)
    short POLLIN

    cdef struct iovec:
        void *iov_base
        size_t iov_len
    cdef struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *wait)
    ssize_t send(int fd, const void *octets, size_t size, int flags)
    ssize_t recv(int fd, void *octets, size_t size, int flags)
    int MSG_DONTWAIT, MSG_NOSIGNAL

    ctypedef union epoll_data_t:
        uint32_t u32
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int what, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count, int milliseconds)
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    uint32_t EPOLLIN, EPOLLOUT
    int close(int fd)

cdef enum:
    BATCH = 64
    ROOM = 1536
    QUESTION = 288
    HEADER = 12
    IDS = 65536
    SENT = 0
    ANSWERED = 1
    TIMEOUTS = 2
    WRONG = 3
    REFUSED = 4
    UNEXPECTED = 5
    TRUNCATED = 6
    EVENTS = 256
    PIECE = 4096

cdef int64_t LOOK = 2000000
"""How often slots are searched for questions that have waited too long, in ns."""

cdef int EXACT_BITS = _tally.EXACT_BITS
cdef uint64_t HALF = _tally.HALF
cdef uint64_t MOST = _tally.MOST_MICROSECONDS

assert _tally.COUNTS == (
    "sent", "answered", "timeouts", "wrong", "refused", "unexpected", "truncated"
)


ctypedef struct Slot:
    int64_t sent  # 0: free
    int64_t due
    uint16_t uses
    uint16_t size
    uint8_t octets[QUESTION + 2]  # a stream's length, then the question


cdef class _Load:
    """
    Slots, due times and judgement.
    """

    cdef readonly uint64_t sent
    cdef readonly uint64_t over
    cdef uint64_t _queries
    cdef int _concurrency
    cdef int64_t _timeout, _begun, _looked
    cdef double _interval
    cdef Slot *_slots
    cdef int *_free
    cdef int _frees
    cdef object _questions, _tally, _octets
    cdef const uint8_t *_blob
    cdef uint64_t[::1] _offsets
    cdef uint64_t _names
    cdef uint32_t[::1] _histogram
    cdef uint64_t[::1] _rCodes, _counts, _extremes

    def __cinit__(self, *arguments, **options):
        self._slots = NULL
        self._free = NULL

    cdef _prepare(self, questions, tally, queries, concurrency, timeout, rate):
        cdef int slot
        if not 0 < concurrency <= 16384:
            raise ValueError("concurrency from 1 to 16384")
        self._queries = queries
        self._concurrency = concurrency
        self._timeout = int(timeout * 1e9)
        self._interval = 1e9 / rate if rate else 0.0
        self._questions = questions
        self._octets = questions.octets
        self._blob = <const uint8_t *>PyBytes_AS_STRING(self._octets)
        self._offsets = questions.offsets
        self._names = len(questions)
        self._tally = tally
        self._histogram = tally.histogram
        self._rCodes = tally.rCodes
        self._counts = tally.counts
        self._extremes = tally.extremes
        for place in range(len(questions)):
            if questions.offsets[place + 1] - questions.offsets[place] > QUESTION:
                raise ValueError("a question is too long")
        self._slots = <Slot *>calloc(concurrency, sizeof(Slot))
        self._free = <int *>calloc(concurrency, sizeof(int))
        if self._slots == NULL or self._free == NULL:
            raise MemoryError
        for slot in range(concurrency):
            self._free[slot] = concurrency - 1 - slot
        self._frees = concurrency
        self._begun = self._looked = dg_now()

    def __dealloc__(self):
        free(self._slots)
        free(self._free)

    cdef bint _isDue(self, int64_t now) noexcept nogil:
        if self.sent >= self._queries:
            return False
        return self._interval == 0.0 or self._begun + self.sent * self._interval <= now

    cdef void _take(self, int slot, int64_t now) noexcept nogil:
        cdef Slot *it = &self._slots[slot]
        cdef uint64_t place = self.sent % self._names
        cdef uint64_t begin = self._offsets[place]
        cdef uint16_t size = <uint16_t>(self._offsets[place + 1] - begin)
        cdef uint16_t id
        it.uses = <uint16_t>((it.uses + 1) % (IDS / self._concurrency))
        id = <uint16_t>(slot + self._concurrency * it.uses)
        it.size = size
        it.octets[0] = size >> 8
        it.octets[1] = size & 255
        memcpy(it.octets + 2, self._blob + begin, size)
        it.octets[2] = id >> 8
        it.octets[3] = id & 255
        it.sent = now
        it.due = now if self._interval == 0.0 else <int64_t>(
            self._begun + self.sent * self._interval
        )
        self.sent += 1
        self._counts[SENT] += 1

    cdef void _end(self, int slot, int64_t now) noexcept nogil:
        cdef int64_t waited = (now - self._slots[slot].due) / 1000
        cdef uint64_t us = <uint64_t>waited if waited > 0 else 0
        cdef uint64_t bucket = us
        cdef int shift
        self._slots[slot].sent = 0
        self._free[self._frees] = slot
        self._frees += 1
        self.over += 1
        if us >> EXACT_BITS:
            if bucket > MOST:
                bucket = MOST
            shift = 1
            while bucket >> (EXACT_BITS + shift):
                shift += 1
            bucket = (<uint64_t>1 << EXACT_BITS) + (shift - 1) * HALF + (bucket >> shift) - HALF
        self._histogram[bucket] += 1
        if us < self._extremes[0]:
            self._extremes[0] = us
        if us > self._extremes[1]:
            self._extremes[1] = us
        self._extremes[2] += us

    cdef void _fail(self, int slot, int why, int64_t now) noexcept nogil:
        self._counts[why] += 1
        self._end(slot, now)

    cdef int _judge(self, const uint8_t *reply, size_t kept, size_t size, int only,
                    int64_t now) noexcept nogil:
        """
        Judge a reply: its first octets, and how many it has. Gives its slot,
        or -1 if it was none that is waited for.
        """
        cdef int slot
        cdef Slot *it
        cdef bint right
        if kept < HEADER:
            self._counts[UNEXPECTED] += 1
            return -1
        slot = (reply[0] << 8 | reply[1]) % self._concurrency
        it = &self._slots[slot]
        if (only >= 0 and slot != only) or it.sent == 0 or memcmp(it.octets + 2, reply, 2):
            self._counts[UNEXPECTED] += 1
            return -1
        right = reply[4] == 0 and reply[5] == 1 and kept >= it.size and memcmp(
            it.octets + 2 + HEADER, reply + HEADER, it.size - HEADER) == 0
        if not right:
            # Who can't read a question has none to repeat.
            right = (reply[4] | reply[5]) == 0 and (reply[3] & 15) != 0 and size == HEADER
        if not right or not reply[2] & 0x80:
            self._fail(slot, WRONG, now)
            return slot
        self._counts[ANSWERED] += 1
        self._rCodes[reply[3] & 15] += 1
        if reply[2] & 2:
            self._counts[TRUNCATED] += 1
        self._end(slot, now)
        return slot

    cdef int64_t _patience(self, int64_t now, int64_t until) noexcept nogil:
        """
        How long there may be nothing to do.
        """
        cdef int64_t least = until, due
        # Questions that waited for too long are searched for now and then.
        if self._frees < self._concurrency and self._looked + LOOK < least:
            least = self._looked + LOOK
        if self._interval != 0.0 and self._frees and self.sent < self._queries:
            due = <int64_t>(self._begun + self.sent * self._interval)
            if due < least:
                least = due
        return least - now if least > now else 0


cdef class DatagramLoad(_Load):
    """
    Load over UDP.
    """

    cdef int _sockets
    cdef pollfd *_polled
    cdef uint8_t *_room
    cdef mmsghdr *_in
    cdef iovec *_inPlaces
    cdef mmsghdr *_out
    cdef iovec *_outPlaces
    cdef int *_outSlots
    cdef int *_waiting
    cdef object _kept

    def __cinit__(self, *arguments, **options):
        self._polled = NULL
        self._room = NULL
        self._in = self._out = NULL
        self._inPlaces = self._outPlaces = NULL
        self._outSlots = self._waiting = NULL

    def __init__(self, sockets, questions, tally, *, queries, concurrency, timeout, rate=0.0):
        cdef int place
        self._prepare(questions, tally, queries, concurrency, timeout, rate)
        self._kept = sockets
        self._sockets = len(sockets)
        if not 0 < self._sockets <= concurrency:
            raise ValueError("sockets from 1 to the concurrency")
        self._polled = <pollfd *>calloc(self._sockets, sizeof(pollfd))
        self._waiting = <int *>calloc(self._sockets, sizeof(int))
        self._out = <mmsghdr *>calloc(self._sockets * BATCH, sizeof(mmsghdr))
        self._outPlaces = <iovec *>calloc(self._sockets * BATCH, sizeof(iovec))
        self._outSlots = <int *>calloc(self._sockets * BATCH, sizeof(int))
        self._in = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self._inPlaces = <iovec *>calloc(BATCH, sizeof(iovec))
        self._room = <uint8_t *>calloc(BATCH, ROOM)
        if (
            self._polled == NULL or self._waiting == NULL or self._out == NULL
            or self._outPlaces == NULL or self._outSlots == NULL or self._in == NULL
            or self._inPlaces == NULL or self._room == NULL
        ):
            raise MemoryError
        for place in range(self._sockets):
            self._polled[place].fd = sockets[place].fileno()
            self._polled[place].events = POLLIN
        for place in range(self._sockets * BATCH):
            self._out[place].msg_hdr.msg_iov = &self._outPlaces[place]
            self._out[place].msg_hdr.msg_iovlen = 1
        for place in range(BATCH):
            self._inPlaces[place].iov_base = self._room + place * ROOM
            self._inPlaces[place].iov_len = ROOM
            self._in[place].msg_hdr.msg_iov = &self._inPlaces[place]
            self._in[place].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self._polled)
        free(self._waiting)
        free(self._out)
        free(self._outPlaces)
        free(self._outSlots)
        free(self._in)
        free(self._inPlaces)
        free(self._room)

    def step(self, double seconds):
        """
        Go on for some time.

        @return: Is there more to do?
        """
        cdef int64_t until = dg_now() + <int64_t>(seconds * 1e9)
        with nogil:
            self._run(until)
        return self.over < self._queries

    cdef void _run(self, int64_t until) noexcept nogil:
        cdef int64_t now = dg_now(), again
        cdef int place
        cdef bint taken
        while self.over < self._queries and now < until:
            self._expire(now)
            taken = self._send(now)
            now = dg_now()
            # The system takes no more for now: look again soon.
            again = until if taken or until < now + LOOK else now + LOOK
            if dg_poll(self._polled, self._sockets, self._patience(now, again)) > 0:
                for place in range(self._sockets):
                    if self._polled[place].revents:
                        self._receive(place)
            now = dg_now()

    cdef void _expire(self, int64_t now) noexcept nogil:
        cdef int slot
        if now - self._looked < LOOK:
            return
        self._looked = now
        for slot in range(self._concurrency):
            if self._slots[slot].sent and now - self._slots[slot].sent >= self._timeout:
                self._fail(slot, TIMEOUTS, now)

    cdef bint _send(self, int64_t now) noexcept nogil:
        """
        Send what is due; gives false if it couldn't be sent.
        """
        cdef int slot, place, at
        cdef bint taken = True
        while self._frees and self._isDue(now):
            self._frees -= 1
            slot = self._free[self._frees]
            place = slot % self._sockets
            self._take(slot, now)
            at = place * BATCH + self._waiting[place]
            self._outSlots[at] = slot
            self._outPlaces[at].iov_base = self._slots[slot].octets + 2
            self._outPlaces[at].iov_len = self._slots[slot].size
            self._waiting[place] += 1
            if self._waiting[place] == BATCH and not self._flush(place):
                taken = False
                break
        for place in range(self._sockets):
            if self._waiting[place] and not self._flush(place):
                taken = False
        return taken

    cdef bint _flush(self, int place) noexcept nogil:
        """
        Send what waits for a socket; what the system doesn't take is given
        back, to be sent later.
        """
        cdef int begin = place * BATCH, count = self._waiting[place], done = 0, sent, at
        cdef int64_t now
        self._waiting[place] = 0
        while done < count:
            sent = sendmmsg(
                self._polled[place].fd, self._out + begin + done, count - done, MSG_DONTWAIT
            )
            if sent > 0:
                done += sent
                continue
            if errno == EINTR:
                continue
            now = dg_now()
            if errno == EAGAIN or errno == ENOBUFS:
                # As if they had never been taken. At a rate they keep the time
                # at which they were due: that is counted by number.
                for at in range(begin + done, begin + count):
                    self._slots[self._outSlots[at]].sent = 0
                    self._free[self._frees] = self._outSlots[at]
                    self._frees += 1
                    self.sent -= 1
                    self._counts[SENT] -= 1
                return False
            self._lost(place, now)
            return True
        return True

    cdef void _receive(self, int place) noexcept nogil:
        cdef int count, at
        cdef int64_t now
        while True:
            count = recvmmsg(self._polled[place].fd, self._in, BATCH, MSG_DONTWAIT, NULL)
            now = dg_now()
            if count < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    self._lost(place, now)
                return
            for at in range(count):
                self._judge(
                    self._room + at * ROOM, self._in[at].msg_len, self._in[at].msg_len, -1, now
                )
            if count < BATCH:
                return

    cdef void _lost(self, int place, int64_t now) noexcept nogil:
        """
        End all that is under way on a socket: nobody listens there.
        """
        cdef int slot = place
        while slot < self._concurrency:
            if self._slots[slot].sent:
                self._fail(slot, REFUSED, now)
            slot += self._sockets


ctypedef struct Connection:
    int fd  # -1: none
    int left  # octets of the question still to be sent
    bint writing  # is it waited for that some can be?
    uint32_t have  # octets of the reply that have come, its length's included
    uint8_t octets[QUESTION + 2]  # the first of them


cdef class StreamLoad(_Load):
    """
    Load over TCP: a connection for each slot.
    """

    cdef object _connect
    cdef dict _open
    cdef Connection *_connections
    cdef int _epoll
    cdef epoll_event _events[EVENTS]
    cdef int *_ready
    cdef int _readies
    cdef uint8_t _piece[PIECE]

    def __cinit__(self, *arguments, **options):
        self._connections = NULL
        self._ready = NULL
        self._epoll = -1

    def __init__(self, connect, questions, tally, *, queries, concurrency, timeout, rate=0.0):
        cdef int slot
        self._prepare(questions, tally, queries, concurrency, timeout, rate)
        self._connect = connect
        self._open = {}
        self._connections = <Connection *>calloc(concurrency, sizeof(Connection))
        self._ready = <int *>calloc(concurrency, sizeof(int))
        if self._connections == NULL or self._ready == NULL:
            raise MemoryError
        for slot in range(concurrency):
            self._connections[slot].fd = -1
        self._epoll = epoll_create1(0)
        if self._epoll < 0:
            raise OSError("no epoll to be had")

    def __dealloc__(self):
        if self._epoll >= 0:
            close(self._epoll)
        free(self._connections)
        free(self._ready)

    def close(self):
        """
        Close all connections.
        """
        cdef int slot
        for slot in range(self._concurrency):
            self._connections[slot].fd = -1
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def step(self, double seconds):
        """
        Go on for some time.

        @return: Is there more to do?
        """
        cdef int64_t now = dg_now()
        cdef int64_t until = now + <int64_t>(seconds * 1e9)
        cdef int at
        while self.over < self._queries and now < until:
            self._readies = 0
            with nogil:
                self._run(until)
            # Connections are made here, a batch at a time.
            for at in range(self._readies):
                self._begin(self._ready[at])
            now = dg_now()
        if self.over >= self._queries:
            self.close()
            return False
        return True

    cdef _begin(self, int slot):
        """
        Connect for a question that has been taken.
        """
        cdef epoll_event event
        cdef Connection *it = &self._connections[slot]
        old = self._open.pop(slot, None)
        if old is not None:
            old.close()
        try:
            connection = self._connect()
        except OSError:
            self._fail(slot, REFUSED, dg_now())
            return
        self._open[slot] = connection
        it.fd = connection.fileno()
        it.have = 0
        it.writing = True
        event.events = EPOLLOUT
        event.data.u32 = slot
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD, it.fd, &event):
            self._break(slot, REFUSED, dg_now())

    cdef void _run(self, int64_t until) noexcept nogil:
        """
        Go on, until connections are to be made.
        """
        cdef int64_t now = dg_now(), wait
        cdef int count, at, slot
        while self.over < self._queries and now < until:
            self._expire(now)
            while self._frees and self._isDue(now):
                self._frees -= 1
                slot = self._free[self._frees]
                self._take(slot, now)
                self._connections[slot].left = self._slots[slot].size + 2
                if self._connections[slot].fd < 0:
                    self._ready[self._readies] = slot
                    self._readies += 1
                else:
                    self._write(slot, now)
            if self._readies:
                return
            now = dg_now()
            wait = self._patience(now, until)
            count = epoll_wait(self._epoll, self._events, EVENTS, <int>(wait / 1000000))
            now = dg_now()
            for at in range(count):
                slot = <int>self._events[at].data.u32
                if self._connections[slot].fd < 0:
                    continue
                if self._connections[slot].writing:
                    self._write(slot, now)
                else:
                    self._read(slot, now)

    cdef void _expire(self, int64_t now) noexcept nogil:
        cdef int slot
        if now - self._looked < LOOK:
            return
        self._looked = now
        for slot in range(self._concurrency):
            if self._slots[slot].sent and now - self._slots[slot].sent >= self._timeout:
                self._break(slot, TIMEOUTS, now)

    cdef void _want(self, int slot, bint writing) noexcept nogil:
        """
        Say what is waited for.
        """
        cdef epoll_event event
        cdef Connection *it = &self._connections[slot]
        if it.writing == writing:
            return
        it.writing = writing
        event.events = EPOLLOUT if writing else EPOLLIN
        event.data.u32 = slot
        epoll_ctl(self._epoll, EPOLL_CTL_MOD, it.fd, &event)

    cdef void _write(self, int slot, int64_t now) noexcept nogil:
        cdef Connection *it = &self._connections[slot]
        cdef Slot *question = &self._slots[slot]
        cdef ssize_t sent
        while it.left:
            sent = send(
                it.fd, question.octets + 2 + question.size - it.left, it.left, MSG_NOSIGNAL
            )
            if sent >= 0:
                it.left -= <int>sent
            elif errno == EINTR:
                continue
            elif errno == EAGAIN or errno == EINPROGRESS:
                self._want(slot, True)
                return
            else:
                self._break(slot, REFUSED, now)
                return
        self._want(slot, False)

    cdef void _read(self, int slot, int64_t now) noexcept nogil:
        cdef Connection *it = &self._connections[slot]
        cdef ssize_t came
        cdef uint32_t done, use, frame
        came = recv(it.fd, self._piece, PIECE, MSG_DONTWAIT)
        if came < 0 and (errno == EAGAIN or errno == EINTR):
            return
        if came <= 0:
            # A server may close a connection that has nothing under way.
            self._break(slot, REFUSED, now)
            return
        done = 0
        while done < <uint32_t>came:
            # What is kept is the beginning; of the rest, only how much came.
            if it.have < 2:
                it.octets[it.have] = self._piece[done]
                it.have += 1
                done += 1
                if it.have < 2:
                    continue
            frame = 2 + (<uint32_t>it.octets[0] << 8 | it.octets[1])
            use = frame - it.have
            if use > <uint32_t>came - done:
                use = <uint32_t>came - done
            if it.have < QUESTION + 2:
                memcpy(
                    it.octets + it.have,
                    self._piece + done,
                    use if use < QUESTION + 2 - it.have else QUESTION + 2 - it.have,
                )
            it.have += use
            done += use
            if it.have == frame:
                it.have = 0
                self._judge(
                    it.octets + 2,
                    frame - 2 if frame < QUESTION + 2 else QUESTION,
                    frame - 2,
                    slot,
                    now,
                )

    cdef void _break(self, int slot, int why, int64_t now) noexcept nogil:
        """
        Give a connection up, and end what is under way on it. It is closed
        when another one takes its place.
        """
        cdef epoll_event event
        cdef Connection *it = &self._connections[slot]
        if it.fd >= 0:
            epoll_ctl(self._epoll, EPOLL_CTL_DEL, it.fd, &event)
            it.fd = -1
        it.have = 0
        if self._slots[slot].sent:
            self._fail(slot, why, now)
