# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.encoding} and its compiled twin.
"""

from __future__ import annotations

import struct
from typing import Any
from unittest import SkipTest

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.querystore import encoding
from dnsguard.querystore.rows import PROTOCOLS, ROW, SKIP, fragment
from tests.support.storecontract import sampleBlock

try:
    from dnsguard.querystore import _facts, _rows
except ImportError:
    compiled: Any = None
    facts: Any = None
else:
    compiled, facts = _rows, _facts

RECORD = struct.Struct("=qQIHBB16s")

records = st.lists(
    st.builds(
        RECORD.pack,
        st.integers(-(2**63), 2**63 - 1),
        st.integers(0, 5).map(lambda number: number * 0x1000000000000001),
        st.integers(0, 2**32 - 1),
        st.just(100),
        st.integers(0, 1),
        st.sampled_from([4, 6]),
        st.sampled_from([bytes(16), b"\1" * 16, b"\2" + bytes(15)]),
    ),
    max_size=40,
).map(b"".join)


@attrs.frozen
class Entry:
    """
    What rows are made of.
    """

    row: bytes


class Batch:
    """
    A batch of any records; the queries of the entry 5 are left out.
    """

    def __init__(self, records: bytes) -> None:
        self.records = records
        self.hits: dict[int, int] = {}
        self.entries = {
            number * 0x1000000000000001: Entry(bytes((number,))) for number in range(5)
        }
        self.entries[5 * 0x1000000000000001] = Entry(b"")


class TranslateTests:
    """
    What both twins do.
    """

    module: Any

    def translate(
        self: Any,
        octets: bytes,
        room: int = 1000,
        threshold: int = SKIP,
        seed: int = 1,
        skipped: int | None = None,
    ) -> tuple[bytes, tuple[int, int], list[bytes], list[bytes]]:
        """
        Translate records, clients numbered as they come.
        """
        rows, asked = bytearray(b"before"), []
        known: dict[bytes, int] = {}

        def clientIndex(key: bytes) -> int:
            if key not in known:
                asked.append(key)
                known[key] = len(known)
            return SKIP if known[key] == skipped else known[key]

        made = self.module.ReplayedRows(lambda entry: entry.row)
        facts = [b"another"]
        made.begin(facts)
        batch = Batch(octets)
        counts = made.translate(batch, clientIndex, rows, room, threshold, seed)
        self.assertEqual(made.placed, len(facts) - 1)
        self.assertEqual(
            made.octets, sum(len(each) + encoding.SHARED_OVERHEAD for each in facts[1:])
        )
        return bytes(rows), counts, asked, facts

    def test_rows(self: Any) -> None:
        """
        A record becomes a row; earlier rows stay.
        """
        octets = RECORD.pack(
            1_700_000_000_123_999_999,
            0x1000000000000001,
            1500,
            60,
            1,
            4,
            b"\x7f\0\0\1" + bytes(12),
        )
        rows, counts, asked, facts = self.translate(octets)
        self.assertEqual(rows[:6], b"before")
        self.assertEqual(list(ROW.iter_unpack(rows[6:])), [(1_700_000_000_123, 0, 1, 2, 0, 0, 1)])
        self.assertEqual(counts, (0, 0))
        self.assertEqual(facts, [b"another", b"\1"])
        self.assertEqual(asked, [b"\x04\x7f\0\0\1" + bytes(12)])

    def test_nothing(self: Any) -> None:
        """
        No records make no rows.
        """
        self.assertEqual(self.translate(b""), (b"before", (0, 0), [], [b"another"]))

    def test_unknownEntry(self: Any) -> None:
        """
        A record of an entry nobody told of is an error.
        """
        octets = RECORD.pack(0, 77, 0, 0, 0, 4, bytes(16))
        self.assertRaises(KeyError, self.translate, octets)

    def test_failureLeavesNoRows(self: Any) -> None:
        """
        When a client or an entry can't be told, no row of the batch is made.
        """

        def broken(key: bytes) -> int:
            raise ZeroDivisionError()

        octets = RECORD.pack(0, 0x1000000000000001, 0, 0, 0, 4, bytes(16))
        unknown = RECORD.pack(0, 77, 0, 0, 0, 4, bytes(16))
        for records, clientIndex, error in (
            (octets, broken, ZeroDivisionError),
            (octets + unknown, lambda key: 0, KeyError),
        ):
            rows = bytearray(b"before")
            made = self.module.ReplayedRows(lambda entry: entry.row)
            self.assertRaises(error, made.translate, Batch(records), clientIndex, rows, 9, SKIP, 1)
            self.assertEqual(rows, b"before")

    def test_forgets(self: Any) -> None:
        """
        A new block has no facts; what was made of entries is known on, unless
        it is to be forgotten.
        """
        encoded: list[Any] = []

        def encode(entry: Any) -> bytes:
            encoded.append(entry)
            return entry.row  # type: ignore[no-any-return]

        made = self.module.ReplayedRows(encode)
        octets = RECORD.pack(0, 0x1000000000000001, 0, 0, 0, 4, bytes(16))
        for anew, expected in ((False, 1), (False, 1), (True, 2)):
            facts: list[bytes] = []
            made.begin(facts, anew)
            self.assertEqual((made.placed, made.octets), (0, 0))
            made.translate(Batch(octets), lambda key: 0, bytearray(), 9, SKIP, 1)
            self.assertEqual((facts, len(encoded)), ([b"\1"], expected))
            self.assertEqual((len(made), made.met, made.placed), (1, 1, 1))

    def test_meets(self: Any) -> None:
        """
        Entries, then clients, are got ready so many at a time, and make no row;
        all that is left to be asked then is nothing. Another block has clients
        of its own.
        """
        encoded: list[Any] = []
        asked: list[bytes] = []

        def encode(entry: Any) -> bytes:
            encoded.append(entry)
            return entry.row  # type: ignore[no-any-return]

        def clientIndex(key: bytes) -> int:
            asked.append(key)
            return len(asked) - 1

        octets = b"".join(
            RECORD.pack(0, entry * 0x1000000000000001, 0, 0, 0, 4, bytes((client,)) + bytes(15))
            for entry, client in ((1, 1), (2, 2), (5, 1), (1, 3))
        )
        made = self.module.ReplayedRows(encode)
        facts: list[bytes] = []
        made.begin(facts)
        batch = Batch(octets)
        batch.hits = {number * 0x1000000000000001: 1 for number in (1, 2, 5)}
        done = [made.meet(batch, clientIndex, 2) for _ in range(4)]
        self.assertEqual(done, [2, 2, 2, 0])
        self.assertEqual((facts, made.placed, made.octets), ([], 0, 0))
        self.assertEqual((len(encoded), len(asked)), (3, 3))
        rows = bytearray()
        self.assertEqual(made.translate(batch, clientIndex, rows, 9, SKIP, 1), (1, 0))
        self.assertEqual([row[1:3] for row in ROW.iter_unpack(rows)], [(0, 0), (1, 1), (2, 0)])
        self.assertEqual((len(encoded), len(asked)), (3, 3))
        made.begin([])
        self.assertEqual(made.meet(batch, clientIndex, 9), 3)
        self.assertEqual((len(encoded), len(asked)), (3, 6))

    def test_manyClients(self: Any) -> None:
        """
        Each client is asked for once in a block, however many there are.
        """
        asked: list[bytes] = []

        def clientIndex(key: bytes) -> int:
            asked.append(key)
            return len(asked) - 1

        octets = b"".join(
            RECORD.pack(0, 0x1000000000000001, 0, 0, 0, 6, number.to_bytes(16, "big"))
            for number in range(5000)
        )
        made = self.module.ReplayedRows(lambda entry: entry.row)
        made.begin([])
        for _ in range(2):
            rows = bytearray()
            made.translate(Batch(octets), clientIndex, rows, 5000, SKIP, 1)
            self.assertEqual([row[1] for row in ROW.iter_unpack(rows)], list(range(5000)))
        self.assertEqual(len(asked), 5000)

    def test_manyFragments(self: Any) -> None:
        """
        Equal fragments have one number, however many others there are.
        """
        made = self.module.ReplayedRows(lambda entry: entry.row)
        facts: list[bytes] = []
        made.begin(facts)
        batch = Batch(
            b"".join(RECORD.pack(0, number, 0, 0, 0, 4, bytes(16)) for number in range(3000))
        )
        batch.entries = {number: Entry(b"%d" % (number % 1000)) for number in range(3000)}
        rows = bytearray()
        made.translate(batch, lambda key: 0, rows, 3000, SKIP, 1)
        self.assertEqual(facts, [b"%d" % number for number in range(1000)])
        expected = [number % 1000 for number in range(3000)]
        self.assertEqual([row[2] for row in ROW.iter_unpack(rows)], expected)
        self.assertEqual((len(made), made.met), (1000, 3000))

    def test_rowBinary(self: Any) -> None:
        """
        RowBinary holds times little-endian and fragments as they are.
        """
        made = self.module.rowBinary(
            ROW.pack(-5, 1, 0, 1500, 250, 1, 2),
            (b"\1x", b"\2cc"),
            (b"\1f",),
            (b"a", b"b", b"c"),
            b"i",
        )
        self.assertEqual(
            made,
            struct.pack("<q", -5) + b"\2cc\1fc" + struct.pack("<ddd", 1.5, 0.25, 0.001) + b"i",
        )

    def test_danglingReference(self: Any) -> None:
        """
        A row that refers to nothing is an error.
        """
        for row in ((0, 1, 0, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 1)):
            self.assertRaises(
                IndexError,
                self.module.rowBinary,
                ROW.pack(*row),
                (b"c",),
                (b"f",),
                (b"p",),
                b"i",
            )


class PythonTests(TranslateTests, SynchronousTestCase):
    """
    The Python twin.
    """

    module = encoding


class CompiledTests(TranslateTests, SynchronousTestCase):
    """
    The compiled twin.
    """

    if compiled is None:
        skip = "not compiled here"
    module = compiled

    def test_oddRecords(self) -> None:
        """
        Half a record is an error, not read past.
        """
        self.assertRaises(ValueError, self.translate, bytes(39))
        made = self.module.ReplayedRows(lambda entry: entry.row)
        self.assertRaises(ValueError, made.meet, Batch(bytes(39)), lambda key: 0, 1)

    @settings(max_examples=150, deadline=None)
    @given(
        octets=records,
        room=st.integers(0, 30),
        threshold=st.sampled_from([SKIP, 0, 2**31]),
        seed=st.integers(0, 2**64 - 1),
        skipped=st.sampled_from([None, 0, 1]),
    )
    def test_twinsAgree(self, **arguments: Any) -> None:
        """
        Both twins make the same of anything.
        """
        python = PythonTests("translate")
        self.assertEqual(self.translate(**arguments), python.translate(**arguments))

    def test_twinsEncodeAlike(self) -> None:
        """
        Both twins make the same RowBinary.
        """
        block = sampleBlock()
        arguments = (
            block.rows,
            block.clients,
            block.facts,
            tuple(fragment((word,)) for word in PROTOCOLS),
            fragment((block.instance,)),
        )
        self.assertEqual(self.module.rowBinary(*arguments), encoding.rowBinary(*arguments))


class AppendRowTests(SynchronousTestCase):
    """
    One row more.
    """

    times = st.floats(-1, 1e6) | st.sampled_from([0.0, 4e-7, 5e-7, 4294.967295, 4295.0])

    def test_row(self) -> None:
        """
        A row has the time of arrival, and its times in microseconds, up to an
        hour or so.
        """
        rows = bytearray(b"before")
        encoding.appendRow(rows, 1000.5, 0.25, 0.0, 9999.0, 1, 2, 3)
        self.assertEqual(rows[:6], b"before")
        self.assertEqual(ROW.unpack(rows[6:]), (1000250, 1, 2, 250000, 0, 2**32 - 1, 3))

    @settings(max_examples=200, deadline=None)
    @given(st.floats(-1e9, 1e11), times, times, times)
    def test_compiled(self, finished: float, took: float, cache: float, write: float) -> None:
        """
        Compiled code appends what Python does.
        """
        if facts is None:
            raise SkipTest("there are no compiled twins here")
        made = []
        for module in (encoding, facts):
            rows = bytearray(b"before")
            module.appendRow(rows, finished, took, cache, write, 7, 2**32 - 2, 5)
            made.append(rows)
        self.assertEqual(*made)
