# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.notes} and its compiled twin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.notes import MOST_NOTED, SKIP, EntryNotes
from tests.support.events import entryFor
from tests.support.replaybatch import FakeReplayBatch

try:
    from dnsguard import _notes
except ImportError:
    _notes = None  # type: ignore[assignment]

if TYPE_CHECKING:
    Case = SynchronousTestCase
else:
    Case = object

ENTRIES = {number: entryFor(f"host{number}.example.org") for number in range(8)}


class NotesRules(Case):
    """
    What both twins do.
    """

    def make(self, note: Any, apart: bool = False) -> EntryNotes:
        """
        Make the notes to be tested.
        """
        raise NotImplementedError

    def batch(self, *numbers: int, transport: int = 0) -> FakeReplayBatch:
        """
        Make a batch of queries of some entries.
        """
        batch = FakeReplayBatch({n: ENTRIES[n & 7] for n in numbers})
        for number in numbers:
            batch.add(number, "192.0.2.1", transport=transport)
        return batch

    def taken(self, notes: EntryNotes) -> list[int]:
        """
        Take counts, but for zeros behind the others.
        """
        counts = notes.take()
        while counts and not counts[-1]:
            counts.pop()
        return counts

    def test_counts(self) -> None:
        """
        Queries are counted by the note of their entry, and counts are given
        once.
        """
        met: list[Any] = []

        def note(entry: Any) -> int:
            met.append(entry)
            return len(met) % 2

        notes = self.make(note)
        notes.count(self.batch(1, 2, 1, 3))
        notes.count(self.batch(1, 3))
        self.assertEqual(met, [ENTRIES[1], ENTRIES[2], ENTRIES[3]])
        self.assertEqual(self.taken(notes), [1, 5])
        self.assertEqual(self.taken(notes), [])
        self.assertEqual(len(notes), 3)

    def test_apart(self) -> None:
        """
        Those that came over TCP are counted apart, if that is wanted.
        """
        notes = self.make(lambda entry: 1, apart=True)
        notes.count(self.batch(1, 2))
        batch = self.batch(1, 2, 2, transport=1)
        batch.add(1, "192.0.2.1")
        notes.count(batch)
        self.assertEqual(self.taken(notes), [0, 0, 3, 3])

    def test_skips(self) -> None:
        """
        Entries that don't count aren't counted, and aren't asked about again.
        """
        met: list[Any] = []

        def note(entry: Any) -> int:
            met.append(entry)
            return SKIP

        for apart in (False, True):
            notes = self.make(note, apart)
            notes.count(self.batch(1, 1))
            notes.count(self.batch(1))
            self.assertEqual(self.taken(notes), [])
            self.assertEqual(notes.find(1, {}), SKIP)
        self.assertEqual(met, [ENTRIES[1], ENTRIES[1]])

    def test_clear(self) -> None:
        """
        Entries that were forgotten are asked about again; what was counted
        stays.
        """
        met: list[Any] = []

        def note(entry: Any) -> int:
            met.append(entry)
            return 0

        notes = self.make(note)
        notes.count(self.batch(1))
        notes.clear()
        self.assertEqual(len(notes), 0)
        notes.count(self.batch(1))
        self.assertEqual((len(met), self.taken(notes)), (2, [2]))

    def test_clearedWhileAsked(self) -> None:
        """
        Whoever is asked for a note may have all others forgotten.
        """

        def note(entry: Any) -> int:
            notes.clear()
            return 0

        notes = self.make(note)
        numbers = list(range(300))
        notes.count(self.batch(*numbers, *numbers))
        self.assertEqual(self.taken(notes), [600])

    def test_manyEntries(self) -> None:
        """
        Numbers that differ in any of their bits are told apart, however many
        there are.
        """
        numbers = [life << 32 | place for life in range(1, 20) for place in range(150)]
        made = {number: at for at, number in enumerate(numbers)}
        order = iter(range(len(numbers)))
        notes = self.make(lambda entry: next(order))
        notes.count(self.batch(*numbers))
        self.assertEqual(self.taken(notes), [1] * len(numbers))
        self.assertEqual([notes.find(number, {}) for number in numbers], list(made.values()))

    def test_meet(self) -> None:
        """
        Entries of a batch are noted so many at a time, and nothing is counted;
        a batch of which all is noted has none left.
        """
        met: list[Any] = []

        def note(entry: Any) -> int:
            met.append(entry)
            return 0

        notes = self.make(note)
        batch = self.batch(1, 2, 1, 3, 4, 2, 5)
        self.assertEqual([notes.meet(batch, 2) for _ in range(4)], [2, 2, 1, 0])
        self.assertEqual(met, [ENTRIES[number] for number in range(1, 6)])
        self.assertEqual((len(notes), self.taken(notes)), (5, []))
        notes.count(batch)
        self.assertEqual((len(met), self.taken(notes)), (5, [7]))
        self.assertEqual(notes.meet(self.batch(), 1), 0)
        self.assertEqual(notes.meet(self.batch(6), 0), 0)

    def test_meetSkipped(self) -> None:
        """
        Entries that don't count are met, too.
        """
        notes = self.make(lambda entry: SKIP)
        self.assertEqual([notes.meet(self.batch(1, 2), 9) for _ in range(2)], [2, 0])

    def test_unknownEntry(self) -> None:
        """
        A record of an entry nobody has facts of is an error.
        """
        batch = self.batch(1)
        batch.entries.clear()
        self.assertRaises(KeyError, self.make(lambda entry: 0).count, batch)

    def test_badNotes(self) -> None:
        """
        What is no note is refused.
        """
        for note in (-1, MOST_NOTED, SKIP + 1):
            notes = self.make(lambda entry, note=note: note)
            self.assertRaises(ValueError, notes.count, self.batch(1))
            self.assertEqual(len(notes), 0)

    def test_nothing(self) -> None:
        """
        An empty batch counts nothing.
        """
        notes = self.make(lambda entry: 0)
        notes.count(self.batch())
        self.assertEqual(self.taken(notes), [])


class PythonNotesTests(NotesRules, SynchronousTestCase):
    """
    They do in Python.
    """

    def make(self, note: Any, apart: bool = False) -> EntryNotes:
        return EntryNotes(note, apart)


class CompiledNotesTests(NotesRules, SynchronousTestCase):
    """
    They do in C.
    """

    def setUp(self) -> None:
        if _notes is None:
            raise SkipTest("the compiled twin isn't built")

    def make(self, note: Any, apart: bool = False) -> EntryNotes:
        return _notes.EntryNotes(note, apart)

    def test_brokenRecords(self) -> None:
        """
        Records that are cut short are refused.
        """
        batch = self.batch(1)
        del batch.records[-1]
        self.assertRaises(ValueError, self.make(lambda entry: 0).count, batch)
        self.assertRaises(ValueError, self.make(lambda entry: 0).meet, batch, 1)

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1)), max_size=60), max_size=6
        ),
        st.booleans(),
    )
    def test_twins(self, batches: list[list[tuple[int, int]]], apart: bool) -> None:
        """
        Both count alike.
        """
        order = iter(range(1000))
        noted: dict[Any, int] = {}

        def note(entry: Any) -> int:
            if entry not in noted:
                noted[entry] = next(order)
            return SKIP if noted[entry] % 5 == 4 else noted[entry]

        twins = [EntryNotes(note, apart), self.make(note, apart)]
        for queries in batches:
            batch = FakeReplayBatch({number: ENTRIES[number & 7] for number in range(41)})
            for number, transport in queries:
                batch.add(number, "192.0.2.1", transport=transport)
            taken = []
            for each in twins:
                each.count(batch)
                taken.append(self.taken(each))
            self.assertEqual(*taken)
