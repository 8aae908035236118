# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.lookups}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.entry import Entry
from dnsguard.caching.key import Key
from dnsguard.caching.stored import toFields
from dnsguard.errors import StoreError
from dnsguard.redis.lookups import Lookups
from dnsguard.redis.replies import Command, ErrorReply, Reply
from tests.redis.entries import POLICY, entryFor, keyFor
from tests.redis.wires import FakeRedis

KEY = keyFor()
EPOCH = 1_700_000_000.0
FIELDS = (b"msg", b"soft_expiry", b"created_at", b"stored_ttl", b"auth_ttl")

WRONG = ErrorReply("redis", "WRONGTYPE Operation against a key")


class LookupsTests(SynchronousTestCase):
    """
    Tests for L{Lookups}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.redis = FakeRedis()
        self.renewed: list[tuple[Key, Entry]] = []
        self.lookups = Lookups(
            self.redis,
            self.clock,
            lambda: EPOCH,
            POLICY,
            lambda key, entry: self.renewed.append((key, entry)),
        )

    def fields(self, key: Key = KEY, **changes: bytes | None) -> list[bytes | None]:
        """
        What HMGET gives for an answer stored now.
        """
        fields: dict[bytes, Any] = dict(toFields(entryFor(key, self.clock.seconds()), EPOCH))
        fields.update({name.encode(): value for name, value in changes.items()})
        return [fields[name] for name in FIELDS]

    def look(self, reply: Reply, key: Key = KEY) -> Entry | None:
        """
        Look up what Redis gives a reply for.
        """
        self.redis.answer = lambda command: reply
        found: Entry | None = self.successResultOf(self.lookups.get(key))
        return found

    def counted(self) -> dict[str, int]:
        """
        The counters that aren't 0.
        """
        return {name: value for name, value in self.lookups.counters().items() if value}

    def test_oneRoundTrip(self) -> None:
        """
        One command finds all of an answer.
        """
        entry = self.look(self.fields())
        assert entry is not None
        self.assertEqual(self.redis.commands, [(b"HMGET", b"dns:www.example.org:1:1", *FIELDS)])
        self.assertEqual(entry.remaining(self.clock.seconds()), 300.0)
        self.assertEqual((entry.storedTTL, entry.createdAt), (300, 1000.0))
        self.assertEqual(self.counted(), {"hits": 1})

    def test_missing(self) -> None:
        """
        What isn't there is a miss.
        """
        self.assertIsNone(self.look([None] * 5))
        self.assertIsNone(self.look(self.fields(msg=None)))
        self.assertEqual(self.counted(), {"misses": 2})

    def test_stale(self) -> None:
        """
        What is no longer fresh is found as well, with its age.
        """
        fields = self.fields()
        self.clock.advance(400.0)
        entry = self.look(fields)
        assert entry is not None
        self.assertEqual(entry.remaining(self.clock.seconds()), -100.0)

    def test_corrupt(self) -> None:
        """
        What is no answer to the question is a miss.
        """
        other = self.fields(keyFor("other.example.org"))
        for fields in (
            other,
            self.fields(msg=b"\0" * 5),
            self.fields(soft_expiry=b"soon"),
            self.fields(soft_expiry=b"nan"),
            self.fields(stored_ttl=b"-1"),
            self.fields(stored_ttl=b"99999999999"),
        ):
            self.assertIsNone(self.look(fields), fields)
        self.assertEqual(self.counted(), {"misses": 6, "corrupt": 6})

    def test_strange(self) -> None:
        """
        So is a reply of another shape.
        """
        for reply in (None, 7, b"x", [], [b"x"] * 6, [[b"x"]] * 5, [1, 2, 3, 4, 5]):
            self.assertIsNone(self.look(reply), reply)

    @given(st.lists(st.none() | st.binary(max_size=80), min_size=5, max_size=5))
    @settings(max_examples=150, deadline=None)
    def test_anything(self, fields: list[bytes | None]) -> None:
        """
        Whatever octets are stored, looking them up gives nothing, or an answer
        to the question.
        """
        entry = self.look(fields)
        if entry is not None:
            self.assertEqual(entry.layout.name, KEY[0])

    def test_tooFarAhead(self) -> None:
        """
        A time that is too far ahead, because of another machine's clock, makes
        an answer fresh for no longer than if it had been stored now.
        """
        ahead = b"%d" % (EPOCH + 10**8)
        entry = self.look(self.fields(soft_expiry=ahead))
        assert entry is not None
        self.assertEqual(entry.remaining(self.clock.seconds()), 300.0)
        entry = self.look(self.fields(soft_expiry=ahead, stored_ttl=b"1000000"))
        assert entry is not None
        self.assertEqual(entry.remaining(self.clock.seconds()), POLICY.maxTTL)
        self.assertEqual(entry.expiry, entry.softExpiry + POLICY.retention(POLICY.maxTTL))

    def test_errorReply(self) -> None:
        """
        An error of Redis is one of the store.
        """
        self.redis.answer = lambda command: ErrorReply("redis", "NOPERM no")
        self.failureResultOf(self.lookups.get(KEY), StoreError)
        self.redis.available = False
        self.failureResultOf(self.lookups.get(KEY), StoreError)
        self.assertEqual(self.counted(), {"errors": 2})

    def test_peeked(self) -> None:
        """
        Who only wants to see what is there finds the same, and changes no
        number.
        """
        self.redis.answer = lambda command: self.fields()
        entry = self.successResultOf(self.lookups.get(KEY))
        before = self.counted()
        peeked = self.successResultOf(self.lookups.peek(KEY))
        assert entry is not None
        assert peeked is not None
        self.assertEqual(peeked.wire, entry.wire)
        for reply in ([None] * len(FIELDS), [b"x"] * len(FIELDS), b"no fields", WRONG):
            self.redis.answer = lambda command, reply=reply: {  # type: ignore[misc]
                b"HMGET": reply,
                b"GET": None,
                b"PTTL": -2,
            }[command[0]]
            self.assertIsNone(self.successResultOf(self.lookups.peek(KEY)))
        self.redis.available = False
        self.failureResultOf(self.lookups.peek(KEY), StoreError)
        self.assertEqual(self.counted(), before)

    def test_oldest(self) -> None:
        """
        A bare message is read, and brought up to date.
        """
        wire = entryFor(KEY, 0.0).wire

        def answer(command: Command) -> Reply:
            return {b"HMGET": WRONG, b"GET": wire, b"PTTL": 120_000}[command[0]]

        self.redis.answer = answer
        entry = self.successResultOf(self.lookups.get(KEY))
        assert entry is not None
        self.assertEqual(entry.remaining(self.clock.seconds()), 120.0)
        self.assertEqual(self.renewed, [(KEY, entry)])
        self.assertEqual(self.counted(), {"hits": 1, "legacy": 1})

    def test_oldestUnusable(self) -> None:
        """
        One that has no time left, or is none, is a miss.
        """
        for wire, left in [(b"x", 120_000), (None, -2), (entryFor(KEY, 0.0).wire, -1)]:
            self.redis.answer = lambda command, wire=wire, left=left: {  # type: ignore[misc]
                b"HMGET": WRONG,
                b"GET": wire,
                b"PTTL": left,
            }[command[0]]
            self.assertIsNone(self.successResultOf(self.lookups.get(KEY)))
        self.assertEqual((self.lookups.counted.misses, self.renewed), (3, []))

    def test_anotherType(self) -> None:
        """
        Something else under an answer's name is deleted.
        """
        self.redis.answer = lambda command: WRONG if command[0] != b"PTTL" else 5
        self.assertIsNone(self.successResultOf(self.lookups.get(KEY)))
        self.assertEqual(self.redis.commands[-1], (b"UNLINK", b"dns:www.example.org:1:1"))
        self.assertEqual(self.counted(), {"misses": 1, "corrupt": 1})

    def test_overtaken(self) -> None:
        """
        What a clearing overtook is a miss.
        """
        fields = self.fields()
        self.redis.answer = lambda command: fields
        self.redis.held = True
        found = self.lookups.get(KEY)
        self.lookups.overtake()
        self.redis.release()
        self.assertIsNone(self.successResultOf(found))
        self.assertEqual(self.counted(), {"overtaken": 1})
