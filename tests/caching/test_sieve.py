# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.sieve}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from random import Random
from typing import Any
from unittest import skipIf
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching import sieve
from dnsguard.caching.key import Key
from dnsguard.caching.sieve import CompiledSieve, Sieve, newSieve

compiled: Any = sieve
if CompiledSieve is not None:
    from dnsguard.caching import _sieve as compiled


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


class Keyed:
    """
    A compiled sieve under the keys that the tests use.
    """

    def __init__(self, maxEntries: int, maxBytes: int) -> None:
        self.sieve: CompiledSieve[Any] = CompiledSieve(maxEntries, maxBytes)
        self.plain: dict[bytes, Any] = {}

    def keyOf(self, key: Any) -> Key:
        text = str(key).encode("ascii")
        name = bytes((len(text),)) + text + b"\0"
        self.plain[name] = key
        return name, 1, 1, 0

    def get(self, key: Any) -> Any:
        return self.sieve.get(self.keyOf(key))

    def peek(self, key: Any) -> Any:
        return self.sieve.peek(self.keyOf(key))

    def put(self, key: Any, *arguments: Any) -> bool:
        return self.sieve.put(self.keyOf(key), *arguments)

    def discard(self, key: Any) -> bool:
        return self.sieve.discard(self.keyOf(key))

    def keys(self) -> list[Any]:
        return [self.plain[name] for name, _, _, _ in self.sieve.keys()]  # noqa: SIM118

    def slices(self, most: int) -> Iterator[list[Any]]:
        for keys in self.sieve.slices(most):
            yield [self.plain[name] for name, _, _, _ in keys]

    def __contains__(self, key: Any) -> bool:
        return self.keyOf(key) in self.sieve

    def __len__(self) -> int:
        return len(self.sieve)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sieve, name)


class SieveTests(SynchronousTestCase):
    """
    Tests for L{Sieve}, and for its twin in a subclass.

    @cvar make: Makes one.
    @cvar module: Where its limits are.
    """

    make: Any = Sieve
    module: Any = sieve

    def test_slices(self) -> None:
        """
        Keys are given some at a time, each of them once.
        """
        cache = self.make(100, 1000)
        self.assertEqual(list(cache.slices(3)), [])
        for number in range(10):
            cache.put(number, "value", 1)
        cache.discard(4)
        given = list(cache.slices(3))
        self.assertLessEqual(max(map(len, given)), 3)
        self.assertEqual(
            sorted(key for keys in given for key in keys), [0, 1, 2, 3, 5, 6, 7, 8, 9]
        )

    def test_slicesOfWhatChanges(self) -> None:
        """
        What is there all the while is given, whatever comes and goes between.
        """
        cache = self.make(1000, 10_000)
        for number in range(100):
            cache.put(number, "value", 1)
        found: list[Any] = []
        for turn, keys in enumerate(cache.slices(7)):
            found += keys
            for number in range(turn, 100, 10):
                if number % 2:
                    cache.discard(number)
            for number in range(40):
                cache.put(1000 + 40 * turn + number, "value", 1)
            if turn > 200:
                break
        self.assertLessEqual(set(range(0, 100, 2)), set(found))
        self.assertEqual(len(found), len(set(found)))

    def follow(self, steps: list[tuple[object, ...]], maxEntries: int, limit: int) -> None:
        """
        Do the same to a sieve and to a slow reading of the policy.
        """
        with patch.object(sieve, "STEPS", limit), patch.object(self.module, "STEPS", limit):
            fast = self.make(maxEntries, 40)
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

    @settings(max_examples=300, deadline=None)
    @given(operations, st.integers(1, 8), st.integers(1, 6))
    def test_followsThePolicy(
        self, steps: list[tuple[object, ...]], maxEntries: int, limit: int
    ) -> None:
        """
        Over any sequence of operations it holds, gives and evicts what a slow
        reading of the policy does, in the same order, and keeps both bounds.
        """
        self.follow(steps, maxEntries, limit)

    def test_hitSavesFromEviction(self) -> None:
        """
        An entry that was hit survives one that wasn't, however old it is.
        """
        cache = self.make(3, 100)
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
        cache = self.make(2, 100)
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
        cache = self.make(100, 10)
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
        cache = self.make(100, 10)
        cache.put("a", 1, 2)
        cache.put("b", 1, 2)
        self.assertFalse(cache.put("a", 2, 11))
        self.assertEqual(cache.keys(), ["b"])
        self.assertEqual(cache.evictions, 0)

    def test_grownEntrySparesItself(self) -> None:
        """
        An entry that grows in place pushes out others, never itself.
        """
        cache = self.make(100, 10)
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
        with patch.object(self.module, "STEPS", 2):
            cache = self.make(5, 100)
            for key in range(5):
                cache.put(key, key, 1)
                cache.get(key)
            cache.put(5, 5, 1)
        self.assertEqual(cache.keys(), [0, 1, 3, 4, 5])

    def test_clear(self) -> None:
        """
        A cleared cache is empty, says how much it dropped, and can be used.
        """
        cache = self.make(2, 100)
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
        cache = self.make(100, 1000)
        for key in range(100):
            cache.put(key, key, 1)
        cache.resize(10, 1000)
        self.assertEqual(len(cache), 100)
        with patch.object(self.module, "EVICTIONS", 50):
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
        self.assertRaises(ValueError, self.make, 0, 1)
        self.assertRaises(ValueError, self.make, 1, 0)

    def test_untouched(self) -> None:
        """
        An entry replaced by something nobody asked for gets no mark by it.
        """
        cache = self.make(2, 100)
        for key in "ab":
            cache.put(key, 1, 1)
        cache.put("a", 2, 1, False)
        cache.put("c", 1, 1)
        self.assertEqual(cache.keys(), ["b", "c"])


class Message:
    """
    A value with a message, as entries have one.
    """

    def __init__(self, wire: bytes) -> None:
        self.wire = wire


@skipIf(CompiledSieve is None, "the compiled sieve isn't built")
class CompiledSieveTests(SieveTests):
    """
    Tests for L{CompiledSieve}.
    """

    make = Keyed
    module = compiled

    @settings(max_examples=300, deadline=None)
    @given(operations, st.integers(1, 8), st.integers(1, 6))
    def test_followsThePolicy(
        self, steps: list[tuple[object, ...]], maxEntries: int, limit: int
    ) -> None:
        """
        So does the compiled one.
        """
        self.follow(steps, maxEntries, limit)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 1 << 30), st.integers(1, 300), st.integers(5, 1000))
    def test_twins(self, seed: int, maxEntries: int, maxBytes: int) -> None:
        """
        Over long sequences of operations, with many names and a table that
        grows, it does what its twin does.
        """
        random = Random(seed)
        both: list[Any] = [CompiledSieve(maxEntries, maxBytes), Sieve(maxEntries, maxBytes)]
        for number in range(800):
            key = (b"\x03%03d\0" % random.randrange(400), random.choice((1, 28)), 1, 0)
            name = random.choice(("put", "put", "put", "get", "get", "discard", "__contains__"))
            arguments = (number, random.randrange(6)) if name == "put" else ()
            done = [getattr(each, name)(key, *arguments) for each in both]
            self.assertEqual(done[0], done[1])
        compiled, plain = both
        self.assertEqual(compiled.keys(), plain.keys())
        self.assertEqual(
            (len(compiled), compiled.bytes, compiled.evictions),
            (len(plain), plain.bytes, plain.evictions),
        )

    def test_allPartsOfAKeyCount(self) -> None:
        """
        Keys that differ in name, type, class or flags are different keys.
        """
        keys = [(b"\1a\0", 1, 1, 0), (b"\1b\0", 1, 1, 0), (b"\1a\0", 28, 1, 0)]
        keys += [(b"\1a\0", 1, 3, 0), (b"\1a\0", 1, 1, 3), (b"\0", 65535, 65535, 1)]
        cache: CompiledSieve[int] = CompiledSieve(100, 100)
        for number, key in enumerate(keys):
            cache.put(key, number, 1)
        self.assertEqual(list(map(cache.get, keys)), list(range(len(keys))))
        self.assertEqual(cache.keys(), keys)

    def test_nameInTheMessage(self) -> None:
        """
        A name that stands in the value's message isn't held again; one that
        doesn't is, and a value may take the place of the other kind.
        """
        name = b"\3www\7example\3org\0"
        key = (name, 1, 1, 0)
        with_, without = Message(bytes(12) + name), Message(bytes(12) + name.upper())
        cache: CompiledSieve[Message] = CompiledSieve(100, 100)
        held = sys.getrefcount(name)
        for value, more in [(with_, 0), (without, 1), (with_, 0), (Message(b"short"), 1)]:
            cache.put(key, value, 1)
            self.assertIs(cache.get(key), value)
            self.assertEqual(sys.getrefcount(name) - held, more)
            self.assertEqual(cache.keys(), [key])

    def test_letsGo(self) -> None:
        """
        Nothing is held of what was evicted, replaced, discarded or cleared, or
        was in a sieve that is gone.
        """
        value = Message(b"")
        held = sys.getrefcount(value)
        cache: CompiledSieve[Message] = CompiledSieve(2, 100)
        for letter in b"abcabc":
            cache.put((b"\1%c\0" % letter, 1, 1, 0), value, 1)
        self.assertEqual(sys.getrefcount(value) - held, 2)
        cache.discard(cache.keys()[0])
        self.assertEqual(sys.getrefcount(value) - held, 1)
        cache.clear()
        self.assertEqual(sys.getrefcount(value) - held, 0)
        cache.put((b"\0", 1, 1, 0), value, 1)
        del cache
        self.assertEqual(sys.getrefcount(value) - held, 0)

    def test_wrongKeys(self) -> None:
        """
        What can't be a key raises, and nothing is kept.
        """
        cache: CompiledSieve[int] = CompiledSieve(2, 100)
        self.assertRaises(TypeError, cache.put, "a", 1, 1)
        self.assertRaises(TypeError, cache.get, (1, 2, 3, 4))
        self.assertRaises(OverflowError, cache.put, (b"\0", 65536, 1, 0), 1, 1)
        self.assertRaises(ValueError, cache.put, (bytes(256), 1, 1, 0), 1, 1)
        self.assertRaises(ValueError, cache.get, (b"\0",))
        self.assertRaises(ValueError, cache.get, (None, 1, 1, 0))
        self.assertEqual(len(cache), 0)

    def test_sameLimits(self) -> None:
        """
        Both go by the same limits.
        """
        self.assertEqual((compiled.STEPS, compiled.EVICTIONS), (sieve.STEPS, sieve.EVICTIONS))

    def test_isChosen(self) -> None:
        """
        It is used where it is there.
        """
        self.assertIsInstance(newSieve(1, 1), CompiledSieve)
