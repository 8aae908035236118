# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
Datagrams of many connected sockets, sent and received in one go.

Each query upstream leaves from a socket of its own, so that no system call takes
several of them; but it needn't take and give the interpreter's lock for each,
and an upstream on the same machine is woken once, not once a query.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EINTR, errno

__all__ = ["receiveAll", "sendAll"]


cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
    ssize_t send(int, const void *, size_t, int)
    ssize_t recv(int, void *, size_t, int)


cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        unsigned int events
        epoll_data_t data
    int epoll_wait(int, epoll_event *, int, int)


cdef enum:
    BATCH = 64
    ROOM = 4096  # more than any reply to a query that announces 1232 octets


def sendAll(list outbox not None):
    """
    Send datagrams.

    @param outbox: At most 64 tuples of a L{dnsguard.upstream.ports.Port} and
        octets.
    @return: For each that couldn't be sent: its place and the C{errno}.
    """
    cdef int numbers[BATCH]
    cdef const char *octets[BATCH]
    cdef Py_ssize_t sizes[BATCH]
    cdef int failures[BATCH]
    cdef int at, count = len(outbox)
    if count > BATCH:
        raise ValueError("too many at once")
    for at in range(count):
        port, message = <tuple?>outbox[at]
        numbers[at] = port.number
        octets[at] = PyBytes_AS_STRING(<bytes?>message)
        sizes[at] = PyBytes_GET_SIZE(message)
    with nogil:
        for at in range(count):
            failures[at] = 0
            if send(numbers[at], octets[at], sizes[at], MSG_DONTWAIT) < 0:
                failures[at] = errno
    return [(at, failures[at]) for at in range(count) if failures[at]]


def receiveAll(int epoll, dict ports not None):
    """
    Receive one datagram from each of some sockets that have one.

    @param epoll: The descriptor of the epoll that watches them.
    @param ports: By descriptor: their L{dnsguard.upstream.ports.Port}.
    @return: Tuples of a port and octets, or an C{errno}.
    """
    cdef epoll_event events[BATCH]
    cdef char room[BATCH][ROOM]
    cdef ssize_t sizes[BATCH]
    cdef int at, count
    with nogil:
        count = epoll_wait(epoll, events, BATCH, 0)
        for at in range(count):
            sizes[at] = recv(events[at].data.fd, room[at], ROOM, MSG_DONTWAIT)
            if sizes[at] < 0:
                sizes[at] = -errno
    if count < 0:
        if errno != EINTR:
            raise OSError(errno, "epoll_wait")
        count = 0
    received = []
    for at in range(count):
        port = ports.get(events[at].data.fd)
        if port is not None:
            if sizes[at] < 0:
                received.append((port, -sizes[at]))
            else:
                received.append((port, PyBytes_FromStringAndSize(room[at], sizes[at])))
    return received
