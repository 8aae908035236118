# cython: language_level=3, boundscheck=False, wraparound=False
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What many entries of the compiled replay store have in common, held once.

An entry has the place of its circumstances in four octets, where a reference to
them takes eight. A place is free again when the last entry that has it is gone.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc

__all__ = ["Circumstances"]


cdef class Circumstances:
    """
    Any objects, each told apart by its identity, and how many entries have it.
    """

    def __cinit__(self):
        self.held = []
        self.vacant = []
        self.places = {}

    def __dealloc__(self):
        free(self.uses)

    cdef uint32_t use(self, object circumstances) except 0:
        """
        Note that one more entry has these circumstances; their place, plus 1.
        """
        cdef uint32_t place
        cdef size_t room
        cdef uint32_t *uses
        # By identity: they are held here, so nothing else has their id.
        known = self.places.get(<size_t><void *>circumstances)
        if known is not None:
            place = known
            self.uses[place] += 1
            return place + 1
        if self.vacant:
            place = self.vacant.pop()
            self.held[place] = circumstances
        else:
            place = len(self.held)
            if place >= self.room:
                room = 2 * self.room or 64
                uses = <uint32_t *>realloc(self.uses, room * sizeof(uint32_t))
                if uses == NULL:
                    raise MemoryError
                self.uses = uses
                self.room = room
            self.held.append(circumstances)
        self.places[<size_t><void *>circumstances] = place
        self.uses[place] = 1
        return place + 1

    cdef object at(self, uint32_t place):
        """
        Give the circumstances at a place that is in use.
        """
        return self.held[place]

    cdef int unuse(self, uint32_t place) except -1:
        """
        Note that an entry is gone.
        """
        self.uses[place] -= 1
        if not self.uses[place]:
            circumstances = self.held[place]
            self.held[place] = None
            del self.places[<size_t><void *>circumstances]
            self.vacant.append(place)
        return 0
