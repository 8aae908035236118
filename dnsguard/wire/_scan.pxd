# Copyright (c) The dnsguard developers. See LICENSE for details.
#
# What compiled twins use of scan.h: where everything stands in a message.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t


cdef extern from "scan.h" nogil:
    ctypedef struct dg_scan:
        uint32_t counts[4]
        uint32_t type, cls
        size_t nameEnd, questionEnd
        size_t sections[3]
        int64_t least, negative
        size_t optStart, optEnd
        unsigned int ttlCount
        uint16_t ttls[256]

    enum:
        DG_HEADER

    uint32_t dg_two(const uint8_t *)
    uint32_t dg_four(const uint8_t *)
    void dg_putFour(uint8_t *, uint32_t)
    int dg_scanMessage(const uint8_t *, size_t, dg_scan *)
