# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.key} and for its twin in C.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.replay.key import KeyFlag, RequestKey, requestKey
from dnsguard.wire.edns import InvalidOPT
from dnsguard.wire.layout import MalformedMessage, scan
from tests.support.replay import compiled, questionEnd, reply, request

_store = compiled("_store")

if TYPE_CHECKING:
    Case = SynchronousTestCase
else:
    Case = object

Read = Callable[[bytes, int], RequestKey | None]

ROOT = b"\0"
LONGEST = b"".join(b"\x3f" + b"a" * 63 for _ in range(3)) + b"\x3d" + b"a" * 61 + b"\0"


def compiledRequestKey(datagram: bytes, payloadLimit: int) -> RequestKey | None:
    """
    What the compiled parser finds, in the form of the other one.
    """
    found = _store.readRequest(datagram, payloadLimit)
    return None if found is None else RequestKey(*found)


class RequestKeyRules(Case):
    """
    The rules, for whatever reads requests.
    """

    read: Read

    def key(self, datagram: bytes) -> RequestKey | None:
        """
        Read one request for a server that sends 1232 octets at most.
        """
        return self.read(datagram, 1232)

    def test_plainRequest(self) -> None:
        """
        A plain request's key is its lower-cased question and its RD bit.
        """
        key = self.key(request(b"\3WwW\7eXample\3ORG\0", 28))
        self.assertEqual(key, RequestKey(b"\3www\7example\3org\0\0\x1c\0\1", KeyFlag.RD, 512))

    def test_headerBits(self) -> None:
        """
        RD, AD and CD are in the key.
        """
        seen = set()
        for flags in (0, 0x0100, 0x0120, 0x0110, 0x0130):
            key = self.key(request(flags=flags))
            assert key is not None
            seen.add(key.octets)
        self.assertEqual(len(seen), 5)

    def test_otherHeaderBits(self) -> None:
        """
        A response, another opcode, AA, TC, RA, Z or a response code makes a
        request one for the ordinary road.
        """
        for flags in (0x8000, 0x0800, 0x2000, 0x0400, 0x0200, 0x0080, 0x0040, 0x0005):
            self.assertIsNone(self.key(request(flags=flags)), hex(flags))

    def test_counts(self) -> None:
        """
        Any count but one question and at most one additional record takes the
        ordinary road.
        """
        plain = request()
        for place in range(4, 12):
            for value in (1, 2, 0x80):
                odd = plain[:place] + bytes((plain[place] ^ value,)) + plain[place + 1 :]
                self.assertIsNone(self.key(odd), (place, value))

    def test_sizeClasses(self) -> None:
        """
        The payload size counts as at most 512, between, or all that this
        server sends; what is over that is clamped.
        """
        for size, flag, limit in [
            (0, 0, 512),
            (512, 0, 512),
            (513, KeyFlag.SIZE_BETWEEN, 513),
            (1231, KeyFlag.SIZE_BETWEEN, 1231),
            (1232, KeyFlag.SIZE_FULL, 1232),
            (65535, KeyFlag.SIZE_FULL, 1232),
        ]:
            key = self.key(request(edns=size))
            assert key is not None
            self.assertEqual(key.flags, KeyFlag.RD | KeyFlag.EDNS | flag)
            self.assertEqual(key.limit, limit)

    def test_dnssecOK(self) -> None:
        """
        The DO bit is in the key.
        """
        key = self.key(request(edns=1232, dnssecOK=True))
        assert key is not None
        self.assertTrue(key.flags & KeyFlag.DO)

    def test_oddOPT(self) -> None:
        """
        An OPT record with options, another version, an extended code, other
        flags, another owner or another type takes the ordinary road.
        """
        plain = request(edns=1232)
        opt = plain[-11:]
        for odd in [
            opt[:9] + b"\0\4\0\x0a\0\0",
            opt[:6] + b"\1" + opt[7:],
            opt[:5] + b"\1" + opt[6:],
            opt[:7] + b"\x40\0" + opt[9:],
            opt[:7] + b"\0\1" + opt[9:],
            b"\1a" + opt,
            opt[:2] + b"\x2a" + opt[3:],
            opt[:-1],
            opt + b"\0",
        ]:
            self.assertIsNone(self.key(plain[:-11] + odd), odd)

    def test_types(self) -> None:
        """
        Meta-types and QTYPEs, OPT and 0 take the ordinary road, and so do all
        classes but IN.
        """
        for type in (0, 41, 128, 249, 250, 251, 252, 255):
            self.assertIsNone(self.key(request(type=type)), type)
        for cls in (0, 3, 254, 255, 0x0101):
            self.assertIsNone(self.key(request(cls=cls)), cls)
        for type in (1, 2, 5, 64, 65, 127, 256, 257, 65535):
            self.assertIsNotNone(self.key(request(type=type)), type)

    def test_names(self) -> None:
        """
        The root and a name of 255 octets are eligible; one of 256, a
        compressed one and one that runs over the end are not.
        """
        self.assertIsNotNone(self.key(request(ROOT)))
        self.assertEqual(len(LONGEST), 255)
        self.assertIsNotNone(self.key(request(LONGEST)))
        self.assertIsNone(self.key(request(b"\1a" + LONGEST)))
        self.assertIsNone(self.key(request(b"\xc0\x0c")))
        self.assertIsNone(self.key(request(b"\x40" + b"a" * 64 + b"\0")))
        self.assertIsNone(self.key(request(b"\x3fabc")))

    def test_everyCut(self) -> None:
        """
        A request that lacks its end, or has octets behind it, isn't eligible.
        """
        for whole in (request(), request(edns=1232)):
            for end in range(len(whole)):
                self.assertIsNone(self.key(whole[:end]), end)
            self.assertIsNone(self.key(whole + b"\0"))


class PythonKeyTests(RequestKeyRules, SynchronousTestCase):
    """
    The rules hold in Python.
    """

    read = staticmethod(requestKey)


class CompiledKeyTests(RequestKeyRules, SynchronousTestCase):
    """
    The rules hold in C.
    """

    read = staticmethod(compiledRequestKey)
    if _store is None:
        skip = "the compiled twin isn't built"


@st.composite
def nearlyRequests(draw: st.DrawFn) -> bytes:
    """
    Requests, most of them with a few octets changed, cut or added.
    """
    labels = draw(st.lists(st.binary(min_size=1, max_size=63), max_size=4))
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    whole = bytearray(
        request(
            name,
            draw(st.sampled_from([1, 28, 65, 97, 41, 255, 257])),
            flags=draw(st.sampled_from([0, 0x0100, 0x0120, 0x0130, 0x8100, 0x2800])),
            edns=draw(st.none() | st.sampled_from([0, 512, 600, 1232, 4096])),
            dnssecOK=draw(st.booleans()),
        )
    )
    for _ in range(draw(st.integers(0, 3))):
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(-3, len(whole)))
    return bytes(whole) + bytes(-cut) if cut < 0 else bytes(whole[: len(whole) - cut // 8])


class KeyPropertyTests(SynchronousTestCase):
    """
    What holds for any octets.
    """

    @settings(max_examples=600, deadline=None)
    @given(st.binary(max_size=80) | nearlyRequests(), st.sampled_from([512, 513, 1232, 4096]))
    def test_twinsAgree(self, datagram: bytes, limit: int) -> None:
        """
        Python and C find the same key, or none, in any octets.
        """
        if _store is None:
            return
        self.assertEqual(requestKey(datagram, limit), compiledRequestKey(datagram, limit))

    @settings(max_examples=600, deadline=None)
    @given(nearlyRequests())
    def test_eligibleIsWellFormed(self, datagram: bytes) -> None:
        """
        An eligible request is a well-formed message, and its key says what
        the scan says of it.
        """
        key = requestKey(datagram, 1232)
        if key is None:
            return
        layout = scan(datagram)
        self.assertEqual(key.question, layout.name + struct.pack("!HH", layout.type, layout.cls))
        self.assertEqual(bool(key.flags & KeyFlag.EDNS), layout.edns is not None)
        self.assertEqual(layout.flags & ~0x0130, 0)
        if layout.edns is not None:
            self.assertEqual(bool(key.flags & KeyFlag.DO), layout.edns.dnssecOK)
            self.assertEqual(key.limit, min(max(layout.edns.payloadSize, 512), 1232))

    @settings(max_examples=600, deadline=None)
    @given(
        st.lists(st.integers(0, 0xFFFFFFFF), max_size=4),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
        st.booleans(),
    )
    def test_repliesAreReadAlike(
        self, ttls: list[int], changes: list[tuple[int, int]], edns: bool
    ) -> None:
        """
        C finds the TTLs that the scan finds, and refuses what the scan refuses.
        """
        if _store is None:
            return
        asked = request(edns=1232 if edns else None)
        end = questionEnd(asked)
        whole = bytearray(reply(asked, *ttls))
        for place, value in changes:
            # Header and question are compared, not scanned: leave them alone.
            at = end + place
            if at < len(whole):
                whole[at] = value
        found = _store.readReply(bytes(whole), asked, end)
        try:
            layout = scan(bytes(whole))
        except (MalformedMessage, InvalidOPT):
            self.assertIsNone(found)
            return
        expected = []
        for offset in layout.ttls:
            (seconds,) = struct.unpack_from("!I", whole, offset)
            expected.append((offset, 0 if seconds >> 31 else seconds))
        self.assertEqual(found, expected)


class HashTests(SynchronousTestCase):
    """
    Tests for the keyed hash.
    """

    if _store is None:
        skip = "the compiled twin isn't built"

    def test_isSipHash(self) -> None:
        """
        It is SipHash-1-3 of any length: the one that Python hashes octets
        with, here with the key of all zeros.
        """
        if sys.hash_info.algorithm != "siphash13":
            self.skipTest("this Python hashes by another function")
        code = "for n in range(1, 40): print(hash(bytes(range(n))))"
        printed = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            check=True,
        ).stdout.split()
        expected = [int(number) & 0xFFFFFFFFFFFFFFFF for number in printed]
        self.assertEqual(
            [_store.siphash(bytes(range(n)), bytes(16)) for n in range(1, 40)], expected
        )
