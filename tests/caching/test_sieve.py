# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.sieve}.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching import sieve
from dnsguard.caching.sieve import CompiledSieve, Sieve, newSieve


class SlowSieve:
    """
    The same policy over one plain list, oldest entry first: each step as the
    paper words it, at any price.
    """

    def __init__(self, maxEntries: int, maxBytes: int) -> None:
        self.maxEntries = maxEntries
        self.maxBytes = maxBytes
        self.queue: list[list[int]] = []  # [key, value, size, visited]
        self.hand: int | None = None  # a key

    def find(self, key: int) -> list[int] | None:
        return next((entry for entry in self.queue if entry[0] == key), None)

    @property
    def bytes(self) -> int:
        return sum(entry[2] for entry in self.queue)

    def get(self, key: int) -> int | None:
        entry = self.find(key)
        if entry is None:
            return None
        entry[3] = 1
        return entry[1]

    def put(self, key: int, value: int, size: int) -> bool:
        if size > self.maxBytes:
            self.discard(key)
            return False
        entry = self.find(key)
        if entry is not None:
            entry[1:] = [value, size, 1]
            while self.bytes > self.maxBytes:
                self.evict(key)
            return True
        while len(self.queue) >= self.maxEntries or self.bytes + size > self.maxBytes:
            self.evict(None)
        self.queue.append([key, value, size, 0])
        return True

    def discard(self, key: int) -> bool:
        entry = self.find(key)
        if entry is None:
            return False
        place = self.queue.index(entry)
        if self.hand == key:
            self.hand = self.queue[place + 1][0] if place + 1 < len(self.queue) else None
        del self.queue[place]
        return True

    def evict(self, spared: int | None) -> None:
        hand = None if self.hand is None else self.find(self.hand)
        place = 0 if hand is None else self.queue.index(hand)
        steps = sieve.STEPS
        while True:
            entry = self.queue[place]
            if entry[0] != spared:
                if not entry[3] or steps == 0:
                    break
                entry[3] = 0
                steps -= 1
            place = (place + 1) % len(self.queue)
        self.hand = entry[0]
        self.discard(entry[0])


operations = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.integers(0, 12)),
        st.tuples(st.just("put"), st.integers(0, 12), st.integers(0, 45)),
        st.tuples(st.just("discard"), st.integers(0, 12)),
    ),
    max_size=120,
)


class SieveTests(SynchronousTestCase):
    """
    Tests for L{Sieve}.
    """

    @settings(max_examples=300, deadline=None)
    @given(operations, st.integers(1, 8), st.integers(1, 6))
    def test_followsThePolicy(
        self, steps: list[tuple[object, ...]], maxEntries: int, limit: int
    ) -> None:
        """
        Over any sequence of operations it holds, gives and evicts what a slow
        reading of the policy does, in the same order, and keeps both bounds.
        """
        with patch.object(sieve, "STEPS", limit):
            fast: Sieve[int, int] = Sieve(maxEntries, 40)
            slow = SlowSieve(maxEntries, 40)
            for number, (name, *arguments) in enumerate(steps):
                if name == "put":
                    arguments.insert(1, number)
                given = getattr(fast, str(name))(*arguments)
                self.assertEqual(given, getattr(slow, str(name))(*arguments))
                self.assertEqual(fast.keys(), [entry[0] for entry in slow.queue])
                self.assertEqual(fast.bytes, slow.bytes)
                self.assertLessEqual(len(fast), maxEntries)
                self.assertLessEqual(fast.bytes, 40)

    def test_hitSavesFromEviction(self) -> None:
        """
        An entry that was hit survives one that wasn't, however old it is.
        """
        cache: Sieve[str, int] = Sieve(3, 100)
        for key in "abc":
            cache.put(key, 1, 1)
        cache.get("a")
        cache.put("d", 1, 1)
        self.assertEqual(cache.keys(), ["a", "c", "d"])
        self.assertEqual(cache.evictions, 1)

    def test_peekLeavesNoMark(self) -> None:
        """
        Looking at an entry without asking for it doesn't save it.
        """
        cache: Sieve[str, int] = Sieve(2, 100)
        cache.put("a", 1, 1)
        cache.put("b", 2, 1)
        self.assertEqual(cache.peek("a"), 1)
        self.assertIsNone(cache.peek("x"))
        cache.put("c", 3, 1)
        self.assertNotIn("a", cache)

    def test_largeEntryPushesOutSeveral(self) -> None:
        """
        The bound in octets holds: one large entry takes the place of several.
        """
        cache: Sieve[str, int] = Sieve(100, 10)
        for key in "abcde":
            cache.put(key, 1, 2)
        self.assertTrue(cache.put("f", 1, 7))
        self.assertEqual(cache.keys(), ["e", "f"])
        self.assertEqual((cache.bytes, cache.evictions), (9, 4))

    def test_tooLargeEntryIsRefused(self) -> None:
        """
        An entry larger than the cache isn't kept and pushes nothing out, but
        the outdated one for its key goes.
        """
        cache: Sieve[str, int] = Sieve(100, 10)
        cache.put("a", 1, 2)
        cache.put("b", 1, 2)
        self.assertFalse(cache.put("a", 2, 11))
        self.assertEqual(cache.keys(), ["b"])
        self.assertEqual(cache.evictions, 0)

    def test_grownEntrySparesItself(self) -> None:
        """
        An entry that grows in place pushes out others, never itself.
        """
        cache: Sieve[str, int] = Sieve(100, 10)
        for key in "abc":
            cache.put(key, 1, 3)
        cache.put("a", 2, 10)
        self.assertEqual(cache.keys(), ["a"])
        self.assertEqual(cache.get("a"), 2)

    def test_handStopsAfterItsSteps(self) -> None:
        """
        However many entries were hit, one eviction takes away no more than so
        many marks.
        """
        with patch.object(sieve, "STEPS", 2):
            cache: Sieve[int, int] = Sieve(5, 100)
            for key in range(5):
                cache.put(key, key, 1)
                cache.get(key)
            cache.put(5, 5, 1)
        self.assertEqual(cache.keys(), [0, 1, 3, 4, 5])

    def test_clear(self) -> None:
        """
        A cleared cache is empty, says how much it dropped, and can be used.
        """
        cache: Sieve[str, int] = Sieve(2, 100)
        for key in "abc":
            cache.put(key, 1, 5)
        self.assertEqual(cache.clear(), 2)
        self.assertEqual((len(cache), cache.bytes, cache.keys()), (0, 0, []))
        for key in "abc":
            cache.put(key, 1, 5)
        self.assertEqual(cache.keys(), ["b", "c"])

    def test_resize(self) -> None:
        """
        A cache made smaller comes down to its bounds with the next insertions,
        so many entries at a time; one made larger has room at once.
        """
        cache: Sieve[int, int] = Sieve(100, 1000)
        for key in range(100):
            cache.put(key, key, 1)
        cache.resize(10, 1000)
        self.assertEqual(len(cache), 100)
        with patch.object(sieve, "EVICTIONS", 50):
            cache.put(100, 1, 1)
            self.assertEqual(len(cache), 51)
            cache.put(100, 1, 1)
            self.assertEqual(cache.keys(), list(range(91, 101)))
        cache.resize(12, 1000)
        for key in range(101, 103):
            cache.put(key, key, 1)
        self.assertEqual(cache.keys(), list(range(91, 103)))
        self.assertRaises(ValueError, cache.resize, 0, 1)

    def test_boundsMustBePositive(self) -> None:
        """
        A cache without room is a mistake.
        """
        self.assertRaises(ValueError, Sieve, 0, 1)
        self.assertRaises(ValueError, Sieve, 1, 0)


class CompiledSieveTests(SynchronousTestCase):
    """
    Tests for L{dnsguard.caching._sieve.CompiledSieve}.
    """

    if CompiledSieve is None:
        skip = "there are no compiled twins here"

    def state(self, held: Any) -> tuple[object, ...]:
        """
        All that can be seen of a cache.
        """
        keys = held.keys()
        return (
            len(held),
            held.bytes,
            held.evictions,
            sorted(keys),
            [held.peek(key) for key in sorted(keys)],
        )

    @settings(max_examples=300, deadline=None)
    @given(
        st.integers(1, 6),
        st.integers(1, 60),
        st.lists(
            st.tuples(
                st.sampled_from(["get", "peek", "put", "put", "discard", "clear", "resize"]),
                st.integers(0, 9),
                st.integers(0, 30),
            ),
            max_size=60,
        ),
    )
    def test_likeTheOther(
        self, maxEntries: int, maxBytes: int, steps: list[tuple[str, int, int]]
    ) -> None:
        """
        Whatever is done to it, it holds, gives and pushes out what one in
        Python does.
        """
        one: Any = Sieve(maxEntries, maxBytes)
        other: Any = CompiledSieve(maxEntries, maxBytes)
        for number, (step, key, size) in enumerate(steps):
            arguments = {
                "put": (key, number, size, bool(number % 3)),
                "clear": (),
                "resize": (key + 1, size + 1),
            }.get(step, (key,))
            self.assertEqual(
                getattr(one, step)(*arguments), getattr(other, step)(*arguments), step
            )
            self.assertEqual(self.state(one), self.state(other))
            self.assertEqual(key in one, key in other)

    def test_handStopsAfterItsSteps(self) -> None:
        """
        The hand takes away no more marks than it may, and a smaller cache
        comes down by no more at a time.
        """
        states = []
        makers: list[Any] = [Sieve, CompiledSieve]
        for make in makers:
            held = make(3000, 3000)
            for key in range(3000):
                held.put(key, key, 1)
                held.get(key)
            held.put(-1, 0, 1)
            held.resize(1000, 1000)
            held.put(-2, 0, 1)
            states.append(self.state(held))
        self.assertEqual(*states)

    def test_bounds(self) -> None:
        """
        One without room can't be made.
        """
        self.assertRaises(ValueError, CompiledSieve, 0, 1)
        self.assertRaises(ValueError, CompiledSieve, 1, 0)

    def test_isChosen(self) -> None:
        """
        It is used where it is there.
        """
        self.assertIsInstance(newSieve(1, 1), CompiledSieve)
