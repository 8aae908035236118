# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the C library is told of its heap; see L{dnsguard.services.heap}.
"""

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    static int dg_tuneHeap(int arenas, int octets) {
        return mallopt(M_ARENA_MAX, arenas) && mallopt(M_MMAP_THRESHOLD, octets)
            && mallopt(M_TRIM_THRESHOLD, octets);
    }
    #else
    static int dg_tuneHeap(int arenas, int octets) { return 0; }
    #endif
    """
    int dg_tuneHeap(int, int)


def setHeap(int arenas, int octets):
    """
    Set the most arenas, and the octets from which on a piece is given back to
    the system at once.

    @return: Was it done? Only glibc can be told.
    """
    return bool(dg_tuneHeap(arenas, octets))
