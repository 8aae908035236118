# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
L{dnsguard.caching.entry.Entry}, compiled.

Besides the message an entry is ten numbers and two references. It can't be part
of a cycle, so the garbage collector isn't shown it: one look at a hundred
thousand entries made of Python objects stops the server for a tenth of a second.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from dnsguard.wire._scan cimport DG_HEADER, dg_four, dg_putFour, dg_scan, dg_scanMessage, dg_two
from dnsguard.wire.layout import scan

__all__ = ["CompiledEntry"]


cdef enum:
    OVERHEAD = 200
    OK = 0
    NXDOMAIN = 3
    ANY = 255
    TC = 0x0200
    AD = 0x0020
    RESPONSE = 0x8180
    TTL_LIMIT = 0x7FFFFFFF


cdef struct Times:
    int64_t true, stored, retention


cdef enum:
    TIMES = 64

cdef object knownPolicy = None
cdef Times knownTimes[TIMES]
"""What a policy says of some TTLs: names share few. Those of hot keys aren't here."""


cdef int timesOf(object policy, int64_t true, bint hot, Times *times) except -1:
    """
    Ask a policy for how long to keep an answer.
    """
    global knownPolicy
    cdef Times *known = &knownTimes[true & (TIMES - 1)]
    cdef int at
    if policy is not knownPolicy:
        for at in range(TIMES):
            knownTimes[at].true = -1
        knownPolicy = policy
    if hot or known.true != true:
        times.true = true
        times.stored = policy.storedTTL(true, hot)
        times.retention = policy.retention(times.stored)
        if not hot and knownPolicy is policy:
            known[0] = times[0]
        return 0
    times[0] = known[0]
    return 0


cdef int64_t authTTL(
    const uint8_t *wire, const dg_scan *found, int rCode, object policy
) except? -1:
    """
    See L{dnsguard.caching.ttl.authTTL}.
    """
    cdef uint32_t number
    cdef bint hasData = found.type == ANY and found.counts[1] > 0
    cdef int64_t negative
    if dg_two(wire + 2) & TC:
        return 0
    if rCode != NXDOMAIN and found.least >= 0:
        for number in range(found.counts[1]):
            if dg_two(wire + found.ttls[number] - 4) == found.type:
                hasData = True
                break
        if hasData:
            return found.least
    negative = found.negative if found.negative >= 0 else policy.negativeTTL
    return negative if found.least < 0 or negative < found.least else found.least


cdef bytes normalised(bytes message, const dg_scan *found, int rCode, bint authenticData):
    """
    Give an answer its one form, or L{None} if it can't be given.
    """
    cdef const uint8_t *wire = <const uint8_t *>PyBytes_AS_STRING(message)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef uint32_t flags = RESPONSE | (AD if authenticData else 0) | rCode
    cdef uint32_t additional = found.counts[3]
    cdef bytes normal
    cdef uint8_t *out
    cdef size_t at
    if found.optEnd:
        if <Py_ssize_t>found.optEnd != size:
            return None
        size = found.optStart
        additional -= 1
    elif dg_two(wire) == 0 and dg_two(wire + 2) == flags and isLower(wire, found.nameEnd):
        return message
    normal = PyBytes_FromStringAndSize(<const char *>wire, size)
    out = <uint8_t *>PyBytes_AS_STRING(normal)
    out[0] = out[1] = 0
    out[2] = flags >> 8
    out[3] = flags & 0xFF
    out[10] = additional >> 8
    out[11] = additional & 0xFF
    for at in range(DG_HEADER, found.nameEnd):
        # Lengths of labels are below the letters.
        if 65 <= out[at] <= 90:
            out[at] += 32
    return normal


cdef bint isLower(const uint8_t *wire, size_t nameEnd) noexcept:
    """
    Is a message's question in lower case?
    """
    cdef size_t at
    for at in range(DG_HEADER, nameEnd):
        if 65 <= wire[at] <= 90:
            return False
    return True


cdef int64_t digits(object text) noexcept:
    """
    Read up to twelve digits; -1 if it is anything else.
    """
    cdef int64_t number = 0
    cdef const uint8_t *at
    cdef Py_ssize_t size, place
    if not PyBytes_CheckExact(text):
        return -1
    size = PyBytes_GET_SIZE(text)
    at = <const uint8_t *>PyBytes_AS_STRING(text)
    if not 0 < size <= 12:
        return -1
    for place in range(size):
        if not 48 <= at[place] <= 57:
            return -1
        number = 10 * number + at[place] - 48
    return number


@cython.no_gc
@cython.final
cdef class CompiledEntry:
    """
    One cached answer, of the usual kind.
    """

    cdef readonly bytes wire
    cdef readonly object extendedError
    cdef readonly str upstream
    cdef readonly double createdAt, softExpiry, expiry
    # TTLs are no more than TTL_LIMIT. All in all an entry is 80 octets.
    cdef readonly int32_t storedTTL, authTTL
    cdef readonly uint8_t rCode
    cdef uint8_t secure

    @staticmethod
    def make(
        bytes wire not None, int rCode, double now, policy, bint hot=False, createdAt=None,
        bint authenticData=False, extendedError=None, str upstream="",
    ):
        """
        Make an entry of an answer that has just come.

        @return: L{None} if it isn't to be kept, and C{NotImplemented} if its
            message isn't of the usual kind.
        """
        cdef dg_scan found
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(wire)
        cdef Times times
        if rCode != OK and rCode != NXDOMAIN:
            return None
        if not dg_scanMessage(octets, PyBytes_GET_SIZE(wire), &found):
            return NotImplemented
        timesOf(policy, authTTL(octets, &found, rCode, policy), hot, &times)
        if times.stored <= 0:
            return None
        if times.stored > TTL_LIMIT or times.true > TTL_LIMIT:
            return NotImplemented
        return build(
            wire, &found, rCode, &times, now if createdAt is None else createdAt,
            now + times.stored, authenticData, extendedError, upstream,
        )

    @staticmethod
    def restore(
        bytes wire not None, int rCode, policy, *, long storedTTL, long authTTL, double createdAt,
        double softExpiry, bint authenticData=False, extendedError=None, str upstream="",
    ):
        """
        Make an entry whose times are known already; as L{make}.
        """
        cdef dg_scan found
        cdef Times times
        if rCode != OK and rCode != NXDOMAIN:
            return None
        if not dg_scanMessage(
            <const uint8_t *>PyBytes_AS_STRING(wire), PyBytes_GET_SIZE(wire), &found
        ):
            return NotImplemented
        if abs(storedTTL) > TTL_LIMIT or abs(authTTL) > TTL_LIMIT:
            return NotImplemented
        times.true = authTTL
        times.stored = storedTTL
        times.retention = policy.retention(storedTTL)
        return build(
            wire, &found, rCode, &times, createdAt, softExpiry, authenticData, extendedError,
            upstream,
        )

    @staticmethod
    def stored(list values not None, bytes qname not None, int qtype, int qclass, double epoch, policy):
        """
        Read what a shared store holds, as
        L{dnsguard.caching.stored.fromValues}: one scan where that takes three.

        @param values: C{msg}, C{soft_expiry}, C{created_at}, C{stored_ttl} and
            C{auth_ttl}.
        @return: C{NotImplemented} unless all are there and of the usual kind.
        """
        cdef dg_scan found
        cdef Times times
        cdef const uint8_t *octets
        cdef int64_t numbers[4]
        cdef int number, rCode
        cdef size_t size = PyBytes_GET_SIZE(qname)
        cdef CompiledEntry entry
        if len(values) != 5 or not PyBytes_CheckExact(values[0]):
            return NotImplemented
        for number in range(4):
            numbers[number] = digits(values[number + 1])
            if numbers[number] < 0:
                return NotImplemented
        octets = <const uint8_t *>PyBytes_AS_STRING(values[0])
        if not dg_scanMessage(octets, PyBytes_GET_SIZE(values[0]), &found) or found.optEnd:
            return NotImplemented
        rCode = octets[3] & 15
        if (
            octets[2] & 0x82 != 0x80  # A response, and not a truncated one.
            or (rCode != OK and rCode != NXDOMAIN)
            or found.type != <uint32_t>qtype
            or found.cls != <uint32_t>qclass
            or found.nameEnd != DG_HEADER + size
            or not isLower(octets, found.nameEnd)
            or memcmp(octets + DG_HEADER, PyBytes_AS_STRING(qname), size)
            or numbers[2] > TTL_LIMIT
            or not 0 < numbers[3] <= TTL_LIMIT
        ):
            return NotImplemented
        times.true = numbers[3]
        times.stored = numbers[2]
        times.retention = policy.retention(times.stored)
        entry = build(
            values[0], &found, rCode, &times, numbers[1] - epoch, numbers[0] - epoch,
            octets[3] & AD, None, "",
        )
        return NotImplemented if entry is None else entry

    @property
    def authenticData(self):
        """
        Has somebody validated it?
        """
        return bool(self.secure)

    @property
    def layout(self):
        """
        The scan of C{wire}.
        """
        return scan(self.wire)

    @property
    def size(self):
        """
        The octets it takes in memory, as good as they can be told.
        """
        return PyBytes_GET_SIZE(self.wire) + OVERHEAD

    def remaining(self, double now):
        """
        For how many seconds it is still fresh.
        """
        return self.softExpiry - now

    def wireWith(self, long ttl, bint stale=False):
        """
        Give the message with its TTLs counted down.
        """
        cdef dg_scan found
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.wire)
        cdef bytes message = PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.wire), size)
        cdef uint8_t *octets = <uint8_t *>PyBytes_AS_STRING(message)
        cdef unsigned int number
        cdef long own, left
        # It could be scanned when it was made.
        dg_scanMessage(octets, size, &found)
        for number in range(found.ttlCount):
            left = ttl
            if not stale and self.storedTTL <= self.authTTL:
                own = dg_four(octets + found.ttls[number])
                if own > TTL_LIMIT:
                    own = 0
                if own < self.storedTTL:
                    if ttl < self.storedTTL:
                        own -= self.storedTTL - ttl
                    left = min(max(own, 0), ttl)
            dg_putFour(octets + found.ttls[number], left)
        return message


cdef CompiledEntry build(
    bytes wire, const dg_scan *found, int rCode, const Times *times, double createdAt,
    double softExpiry, bint authenticData, object extendedError, str upstream,
):
    """
    Make an entry, or L{None} if the message can't be kept.
    """
    cdef bytes normal = normalised(wire, found, rCode, authenticData)
    cdef CompiledEntry entry
    if normal is None:
        return None
    entry = CompiledEntry.__new__(CompiledEntry)
    entry.wire = normal
    entry.extendedError = extendedError
    entry.upstream = upstream
    entry.rCode = rCode
    entry.secure = authenticData
    entry.storedTTL = times.stored
    entry.authTTL = times.true
    entry.createdAt = createdAt
    entry.softExpiry = softExpiry
    entry.expiry = softExpiry + <double>times.retention
    return entry
