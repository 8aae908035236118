# -*- test-case-name: tests.integration.test_burst -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Many datagrams by one call of the system, without a compiler.

Linux takes and gives datagrams by the dozen, which spares most of what a system
call costs besides the network; Python's C{socket} has no such call. The C library
has, and C{ctypes} reaches it. All memory that the system is told of is
allocated once and lives as long as the burst; where it tells sizes, they are
those of the buffers it was given.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import socket
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

from dnsguard.server.source import Ancillary, Sources

__all__ = ["BURST", "Burst", "isAvailable"]

BURST = 64
"""Datagrams taken, and sent, by one call."""

_NEAR = 256
"""Octets of a datagram that lie close together: nearly all requests are shorter."""

_FAR = 3840
"""Octets beyond those. What is longer than both is no request, and cut."""

_ROOM = 4096
"""Octets of the largest reply to be sent."""

_NAME = 28
"""Octets of the longest socket address, IPv6's."""

_CONTROL = 64
"""Octets for ancillary data: one destination address of either family."""

_NEARS = range(0, BURST * _NEAR, _NEAR)
_NAMES = range(0, BURST * _NAME, _NAME)


class _Vector(ctypes.Structure):
    """
    C{struct iovec}.
    """

    _fields_ = (("base", ctypes.c_size_t), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """
    C{struct msghdr}.
    """

    _fields_ = (
        ("name", ctypes.c_size_t),
        ("nameSize", ctypes.c_uint),
        ("vectors", ctypes.c_size_t),
        ("vectorCount", ctypes.c_size_t),
        ("control", ctypes.c_size_t),
        ("controlSize", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """
    C{struct mmsghdr}: a header, and the octets received or sent.
    """

    _fields_ = (("header", _Header), ("size", ctypes.c_uint))


def _find() -> tuple[Any, Any] | None:
    """
    The two functions of the C library, or L{None} where they aren't or the
    structures may be laid out differently.
    """
    if sys.platform != "linux" or sys.byteorder != "little":
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        receive, send = library.recvmmsg, library.sendmmsg
    except (OSError, AttributeError):
        return None
    receive.argtypes = [
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    ]
    send.argtypes = receive.argtypes[:4]
    return receive, send


_CALLS = _find()


def isAvailable() -> bool:
    """
    Does the system have such calls?
    """
    return _CALLS is not None


class _Memory:
    """
    Octets that stay where they are.

    @ivar address: Where that is.
    @ivar octets: The octets.
    """

    def __init__(self, size: int) -> None:
        self.octets = bytearray(size)
        # Holds the bytearray, which can't be resized while it does.
        self._pin = (ctypes.c_char * size).from_buffer(self.octets)
        self.address = ctypes.addressof(self._pin)

    def column(self, offset: int, step: int, code: Literal["H", "I", "L"]) -> memoryview:
        """
        One field of all the structures in here, as numbers.
        """
        width = array.array(code).itemsize
        return memoryview(self.octets).cast(code)[offset // width :: step // width]


class _Messages:
    """
    Headers of messages, each with the same number of vectors.

    @ivar header: The L{_Memory} of the headers.
    """

    def __init__(self, vectors: int, nameSize: int, names: _Memory, control: _Memory | None):
        step = ctypes.sizeof(_Message)
        self.header = _Memory(BURST * step)
        self.vectors = _Memory(BURST * vectors * ctypes.sizeof(_Vector))
        self.sizes = self.header.column(_Message.size.offset, step, "I")
        self.names = self.header.column(_Header.name.offset, step, "L")
        self.controlSizes = self.header.column(_Header.controlSize.offset, step, "L")
        start = self.vectors.address
        for i, each in enumerate(range(0, BURST * step, step)):
            message = _Header.from_buffer(self.header.octets, each)
            message.name = names.address + i * _NAME
            message.nameSize = nameSize
            message.vectors = start + i * vectors * ctypes.sizeof(_Vector)
            message.vectorCount = vectors
            if control is not None:
                message.control = control.address + i * _CONTROL
                message.controlSize = _CONTROL

    def point(self, which: int, of: int, target: _Memory, size: int) -> None:
        """
        Let one vector of each message be C{size} octets of C{target}.
        """
        width = ctypes.sizeof(_Vector)
        for i in range(BURST):
            vector = _Vector.from_buffer(self.vectors.octets, (i * of + which) * width)
            vector.base, vector.size = target.address + i * size, size


class Burst:
    """
    Takes requests from one UDP socket, and sends replies to them, many at once.

    What L{receive} gave holds until it is called again.

    @ivar requests: The datagrams taken.
    @ivar addresses: Their senders' packed addresses, 4 or 16 octets, those of
        IPv4 clients of an IPv6 socket in their IPv4-mapped form.
    @ivar portless: How many more there were that came from port 0: nobody to
        answer.
    """

    def __init__(self, bound: socket.socket, sources: Sources | None = None) -> None:
        """
        @param bound: The socket; closing it is somebody else's affair.
        @param sources: For a socket on a wildcard address, set to tell where
            datagrams were sent to: what finds out where replies leave from.
        """
        if _CALLS is None:
            raise NotImplementedError("this system has no such calls")
        self.requests: list[bytes] = []
        self.addresses: list[bytes] = []
        self.portless = 0
        self._receive, self._transmit = _CALLS
        self._socket = bound
        self._sources = sources
        self._is4 = bound.family == socket.AF_INET
        self._places: Sequence[int] = ()
        self._near, self._far = _Memory(BURST * _NEAR), _Memory(BURST * _FAR)
        self._names = _Memory(BURST * _NAME)
        self._ports = self._names.column(2, _NAME, "H")
        self._controls = None if sources is None else _Memory(BURST * _CONTROL)
        self._in = _Messages(2, _NAME, self._names, self._controls)
        self._in.point(0, 2, self._near, _NEAR)
        self._in.point(1, 2, self._far, _FAR)
        # The system writes into headers what it found; this puts them right.
        self._blank = bytes(self._in.header.octets)
        self._out = _Memory(BURST * _ROOM)
        self._outControls = None if sources is None else _Memory(BURST * _CONTROL)
        self._outgoing = _Messages(1, 16 if self._is4 else _NAME, self._names, self._outControls)
        vectors = self._outgoing.vectors
        self._bases = vectors.column(_Vector.base.offset, ctypes.sizeof(_Vector), "L")
        self._lengths = vectors.column(_Vector.size.offset, ctypes.sizeof(_Vector), "L")
        self._nameAddresses = [self._names.address + at for at in _NAMES]

    # Requests.

    def receive(self) -> int:
        """
        Take what is there into L{requests} and L{addresses}, C{BURST} at most.

        @return: How many datagrams were taken; less than C{BURST}: no more
            were there.
        @raise BlockingIOError: There is none.
        @raise OSError: Such as the ICMP answer to an earlier reply.
        """
        self._in.header.octets[:] = self._blank
        count: int = self._receive(
            self._socket.fileno(), self._in.header.address, BURST, socket.MSG_DONTWAIT, None
        )
        if count < 0:
            reason = ctypes.get_errno()
            raise OSError(reason, os.strerror(reason))
        sizes = self._in.sizes[:count].tolist()
        octets = bytes(memoryview(self._near.octets)[: count * _NEAR])
        requests = [octets[at : at + size] for at, size in zip(_NEARS, sizes, strict=False)]
        names = bytes(memoryview(self._names.octets)[: count * _NAME])
        first, size = (4, 4) if self._is4 else (8, 16)
        addresses = [names[at : at + size] for at in range(first, len(names), _NAME)]
        self.requests, self.addresses = requests, addresses
        self._places = range(count)
        if max(sizes) > _NEAR:
            self._addFar(sizes)
        self.portless = 0
        if 0 in self._ports[:count].tolist():
            self._dropPortless()
        return count

    def _addFar(self, sizes: list[int]) -> None:
        """
        Put the long ones together.
        """
        for i, size in enumerate(sizes):
            if size > _NEAR:
                near = self._near.octets[i * _NEAR : (i + 1) * _NEAR]
                far = self._far.octets[i * _FAR : i * _FAR + size - _NEAR]
                self.requests[i] = bytes(near + far)

    def _dropPortless(self) -> None:
        """
        Leave out those that can't be answered.
        """
        places = [i for i in self._places if self._ports[i]]
        self.portless = len(self._places) - len(places)
        self.requests = [self.requests[i] for i in places]
        self.addresses = [self.addresses[i] for i in places]
        self._places = places

    def peer(self, which: int) -> tuple[Any, ...]:
        """
        The sender of one request, in the form that sockets of its family take.
        """
        start = self._places[which] * _NAME
        name = bytes(self._names.octets[start : start + _NAME])
        port = int.from_bytes(name[2:4], "big")
        if self._is4:
            return socket.inet_ntop(socket.AF_INET, name[4:8]), port
        flow = int.from_bytes(name[4:8], "big")
        scope = int.from_bytes(name[24:28], sys.byteorder)
        return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, flow, scope

    def source(self, which: int) -> Ancillary | None:
        """
        What lets the reply to one request leave from the address that was asked.
        """
        if self._sources is None or self._controls is None:
            return None
        place = self._places[which]
        start = place * _CONTROL
        size = min(self._in.controlSizes[place], _CONTROL)
        return self._sources.read(bytes(self._controls.octets[start : start + size]))

    # Replies.

    def send(self, which: Sequence[int], replies: list[bytes]) -> tuple[int, int]:
        """
        Send replies to some of the requests.

        @param which: The requests' places in L{requests}.
        @param replies: Their replies, 4096 octets at most each.
        @return: How many are done with, less than all when the socket's buffer
            is full; and how many of those the system refused to send.
        """
        count = len(replies)
        sizes = list(map(len, replies))
        blob = b"".join(replies)
        if len(blob) > BURST * _ROOM:
            raise ValueError("more than there is room for")
        self._out.octets[: len(blob)] = blob
        starts = accumulate(sizes[:-1], initial=self._out.address)
        self._bases[:count] = array.array("L", starts)
        self._lengths[:count] = array.array("L", sizes)
        addresses, places = self._nameAddresses, self._places
        names = array.array("L", [addresses[places[i]] for i in which])
        self._outgoing.names[:count] = names
        if self._outControls is not None:
            self._writeSources(which)
        return self._push(count)

    def _writeSources(self, which: Sequence[int]) -> None:
        """
        Say where replies leave from.
        """
        assert self._sources is not None
        assert self._outControls is not None
        sizes = []
        for place, i in enumerate(which):
            control = self._sources.write(self.source(i))
            start = place * _CONTROL
            self._outControls.octets[start : start + len(control)] = control
            sizes.append(len(control))
        self._outgoing.controlSizes[: len(sizes)] = array.array("L", sizes)

    def _push(self, count: int) -> tuple[int, int]:
        done = refused = 0
        while done < count:
            result = self._transmit(
                self._socket.fileno(),
                self._outgoing.header.address + done * ctypes.sizeof(_Message),
                count - done,
                socket.MSG_DONTWAIT,
            )
            if result > 0:
                done += result
                continue
            reason = ctypes.get_errno()
            if reason in (errno.EAGAIN, errno.EWOULDBLOCK):
                break
            if reason != errno.EINTR:
                refused += 1
                done += 1
        return done, refused
