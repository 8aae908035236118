# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: language_level=3
"""
L{dnsguard.caching.sieve.Sieve}, compiled: the same methods, and nodes that the
garbage collector needn't look at.

A node belongs to the mapping alone; the queue's links are bare pointers.
"""

cimport cython

__all__ = ["CompiledSieve"]

cdef enum:
    STEPS = 1000
    EVICTIONS = 256


@cython.no_gc
@cython.final
cdef class Node:
    """
    One entry, its place in the queue and its mark.
    """

    cdef object key, value
    cdef long long size
    cdef bint visited
    cdef void *newer
    cdef void *older


@cython.final
cdef class CompiledSieve:
    """
    A mapping that holds at most so many entries and so many octets.
    """

    cdef readonly long long maxEntries, maxBytes, bytes, evictions
    cdef dict nodes
    cdef void *newest
    cdef void *oldest
    cdef void *hand

    def __init__(self, maxEntries, maxBytes):
        self.resize(maxEntries, maxBytes)
        self.bytes = self.evictions = 0
        self.nodes = {}
        self.newest = self.oldest = self.hand = NULL

    def __len__(self):
        return len(self.nodes)

    def __contains__(self, key):
        return key in self.nodes

    def get(self, key):
        """
        Give the value for a key, and mark its entry; L{None} without one.
        """
        cdef Node node = self.nodes.get(key)
        if node is None:
            return None
        node.visited = True
        return node.value

    def peek(self, key):
        """
        Give the value for a key without marking its entry.
        """
        cdef Node node = self.nodes.get(key)
        return None if node is None else node.value

    def put(self, key, value, long long size, bint touch=True):
        """
        Keep a value. One for a key that is there takes its place and counts as
        a hit.

        @param touch: Does that count as a hit?
        @return: False when it is larger than the whole cache.
        """
        cdef Node node
        if size > self.maxBytes:
            self.discard(key)
            return False
        node = self.nodes.get(key)
        if node is not None:
            self.bytes += size - node.size
            node.value = value
            node.size = size
            node.visited = node.visited or touch
            self.makeRoom(0, 0, <void *>node)
            return True
        self.makeRoom(1, size, NULL)
        node = Node.__new__(Node)
        node.key = key
        node.value = value
        node.size = size
        node.older = self.newest
        self.nodes[key] = node
        self.bytes += size
        if self.newest == NULL:
            self.oldest = <void *>node
        else:
            (<Node>self.newest).newer = <void *>node
        self.newest = <void *>node
        return True

    def discard(self, key):
        """
        Drop a key. That doesn't count as an eviction.

        @return: Was it there?
        """
        cdef Node node = self.nodes.get(key)
        if node is None:
            return False
        self.remove(node)
        return True

    def clear(self):
        """
        Drop everything.

        @return: How many entries there were.
        """
        cdef dict nodes = self.nodes
        self.nodes = {}
        self.newest = self.oldest = self.hand = NULL
        self.bytes = 0
        return len(nodes)

    def keys(self):
        """
        Copy the keys of this moment.
        """
        return list(self.nodes)

    def resize(self, maxEntries, maxBytes):
        """
        Set other bounds.

        @raise ValueError: A bound below 1.
        """
        if maxEntries < 1 or maxBytes < 1:
            raise ValueError("a cache must have room for something")
        self.maxEntries = maxEntries
        self.maxBytes = maxBytes

    cdef makeRoom(self, int entries, long long size, void *spared):
        """
        Evict until so many more entries and octets fit.
        """
        cdef int number
        for number in range(EVICTIONS):
            if (
                len(self.nodes) + entries <= self.maxEntries
                and self.bytes + size <= self.maxBytes
            ):
                return
            self.evict(spared)

    cdef evict(self, void *spared):
        """
        Let the hand walk to the next victim.
        """
        cdef void *at = self.hand if self.hand != NULL else self.oldest
        cdef int steps = STEPS
        while at != NULL and (at == spared or ((<Node>at).visited and steps > 0)):
            if at != spared:
                (<Node>at).visited = False
                steps -= 1
            at = (<Node>at).newer
            if at == NULL:
                at = self.oldest
        if at != NULL:
            self.hand = at
            self.remove(<Node>at)
            self.evictions += 1

    cdef remove(self, Node node):
        if self.hand == <void *>node:
            # NULL stands for the oldest: the hand wraps.
            self.hand = node.newer
        if node.newer == NULL:
            self.newest = node.older
        else:
            (<Node>node.newer).older = node.older
        if node.older == NULL:
            self.oldest = node.newer
        else:
            (<Node>node.older).newer = node.newer
        node.older = node.newer = NULL
        self.bytes -= node.size
        del self.nodes[node.key]
