# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.slots}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.redis.endpoints import Place
from dnsguard.redis.replies import ErrorReply
from dnsguard.redis.slots import SLOTS, keyOfCommand, readRedirection, readSlots, slotOf

ASKED = Place("192.0.2.1", 7000)


class SlotTests(SynchronousTestCase):
    """
    Tests for L{slotOf} and L{keyOfCommand}.
    """

    def test_checksum(self) -> None:
        """
        The slots are those of the specification.
        """
        # 0x31C3 is the specification's check value.
        self.assertEqual(slotOf(b"123456789"), 0x31C3 % SLOTS)
        self.assertEqual(slotOf(b"foo"), 12182)
        self.assertEqual(slotOf(b""), 0)

    def test_tags(self) -> None:
        """
        What stands in the first braces counts alone, unless it is empty.
        """
        self.assertEqual(slotOf(b"{user1000}.a"), slotOf(b"user1000"))
        self.assertEqual(slotOf(b"x{a}{b}"), slotOf(b"a"))
        self.assertEqual(slotOf(b"{{a}}"), slotOf(b"{a"))
        self.assertNotEqual(slotOf(b"foo{}{bar}"), slotOf(b"bar"))
        self.assertNotEqual(slotOf(b"{a"), slotOf(b"a"))

    def test_commands(self) -> None:
        """
        A script's key stands behind its digest and their number.
        """
        self.assertEqual(keyOfCommand((b"GET", b"k")), b"k")
        self.assertEqual(keyOfCommand((b"EVALSHA", b"d", b"1", b"k", b"x")), b"k")


class ReadingTests(SynchronousTestCase):
    """
    What nodes say.
    """

    def test_slots(self) -> None:
        """
        Each range has its master, first in the list.
        """
        reply = [
            [0, 1, [b"192.0.2.2", 7001, b"id"], [b"192.0.2.9", 7009, b"id"]],
            [3, 3, [b"", 7002, b"id", []]],
        ]
        two, three = Place("192.0.2.2", 7001), Place("192.0.2.1", 7002)
        self.assertEqual(readSlots(reply, ASKED), [(0, 1, two), (3, 3, three)])

    def test_strange(self) -> None:
        """
        What can't be read is refused as a whole.
        """
        strange: list[Any] = [
            None,
            b"x",
            [1],
            [[0, 1]],
            [[0, 1, []]],
            [[0, 1, [b"a", b"b"]]],
            [[0, SLOTS, [b"a", 1]]],
            [[5, 2, [b"a", 1]]],
            [[0, 1, [b"a", 0]]],
            [[0, 1, [b"\xff", 7000]]],
        ]
        for reply in strange:
            self.assertRaises(ValueError, readSlots, reply, ASKED)

    def test_redirections(self) -> None:
        """
        A redirection names slot and node.
        """
        for text, where in [
            ("MOVED 3999 127.0.0.1:6381", (3999, Place("127.0.0.1", 6381))),
            ("ASK 1 2001:db8::1:6381", (1, Place("2001:db8::1", 6381))),
            ("MOVED 1 :6381", (1, Place("192.0.2.1", 6381))),
            ("MOVED 99999 127.0.0.1:6381", None),
            ("MOVED x 127.0.0.1:6381", None),
            ("MOVED 1 127.0.0.1:0", None),
            ("MOVED 1 127.0.0.1", None),
            ("MOVED", None),
        ]:
            self.assertEqual(readRedirection(ErrorReply("redis", text), ASKED), where, text)
