# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.stored}.
"""

from __future__ import annotations

import unittest.mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.entry import CompiledEntry, Entry
from dnsguard.caching.key import Key
from dnsguard.caching.stored import (
    InvalidEntry,
    fromFields,
    fromPacked,
    fromValues,
    fromWire,
    toFields,
    toPacked,
)
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import QR, TC
from tests.caching.messages import AAAA, CNAME, WWW, A, facts, message, record, soa

POLICY = TTLPolicy(minTTL=300)
KEY: Key = (WWW, A, 1, 0)
EPOCH = 1_700_000_000.0


def entry(**facts: object) -> Entry:
    """
    An entry made at the time 1000.
    """
    found = message([record(A, 20)])
    made = Entry.make(*found, 0, 1000.0, POLICY, **facts)  # type: ignore[arg-type]
    assert made is not None
    return made


class FieldsTests(SynchronousTestCase):
    """
    Tests for L{toFields} and L{fromFields}.
    """

    def test_documentedFields(self) -> None:
        """
        The fields have the documented names, and whole seconds since the
        epoch.
        """
        made = entry(createdAt=900.7)
        self.assertEqual(
            toFields(made, EPOCH),
            {
                b"msg": made.wire,
                b"soft_expiry": b"1700001300",
                b"created_at": b"1700000900",
                b"stored_ttl": b"300",
                b"auth_ttl": b"20",
            },
        )

    def test_readsWhatItWrites(self) -> None:
        """
        An entry comes back the same, up to whole seconds, also with another
        clock.
        """
        made = entry(authenticData=True)
        back = fromFields(toFields(made, EPOCH), KEY, 1000.0, EPOCH, POLICY)
        self.assertEqual(facts(back), facts(made))
        other = fromFields(toFields(made, EPOCH), KEY, 50.0, EPOCH + 950.0, POLICY)
        self.assertEqual((other.createdAt, other.softExpiry), (50.0, 350.0))

    def test_readsAForeignMessage(self) -> None:
        """
        A message stored by another program may have an OPT record and an id.
        """
        wire, _ = message([record(A, 60)], edns=EDNS())
        back = fromFields(
            {b"msg": wire, b"soft_expiry": b"1700001030", b"stored_ttl": b"60"},
            KEY,
            1000.0,
            EPOCH,
            POLICY,
        )
        self.assertIsNone(back.layout.opt)
        self.assertEqual((back.remaining(1000.0), back.authTTL), (30.0, 60))

    def test_missingFields(self) -> None:
        """
        Without C{soft_expiry} an entry has just stopped being fresh; other
        missing fields are worked out.
        """
        wire, _ = message([record(A, 60)])
        back = fromFields({b"msg": wire}, KEY, 1000.0, EPOCH, POLICY)
        self.assertEqual(back.remaining(1000.0), 0.0)
        self.assertEqual((back.createdAt, back.authTTL), (1000.0, 60))

    def test_corruptFields(self) -> None:
        """
        Anything that isn't an answer to the key's question, or no number, is
        an error and nothing else.
        """
        good = toFields(entry(), EPOCH)
        other, _ = message([record(AAAA, 60)], type=AAAA)
        changes: list[dict[bytes, bytes | None]] = [
            {b"msg": None},
            {b"msg": b""},
            {b"msg": b"x" * 40},
            {b"msg": good[b"msg"][:-1]},
            {b"msg": other},
            {b"msg": message([record(A, 60)], flags=0)[0]},
            {b"msg": message([record(A, 60)], flags=QR | TC)[0]},
            {b"msg": message(rCode=2)[0]},
            {b"soft_expiry": b""},
            {b"soft_expiry": b"nan"},
            {b"soft_expiry": b"inf"},
            {b"soft_expiry": b"-1"},
            {b"stored_ttl": b"soon"},
            {b"stored_ttl": b"99999999999"},
            {b"auth_ttl": b"\xff"},
            {b"created_at": b"1e99"},
        ]
        for change in changes:
            with self.assertRaises(InvalidEntry, msg=change):
                fromFields({**good, **change}, KEY, 1000.0, EPOCH, POLICY)


class CompiledTests(SynchronousTestCase):
    """
    What a compiler makes of L{fromValues}.
    """

    if CompiledEntry is None:
        skip = "not compiled"

    @staticmethod
    def read(values: list[bytes | None], key: Key) -> dict[str, object] | str:
        """
        What is read, or that it is nothing.
        """
        try:
            return facts(fromValues(values, key, 1000.0, EPOCH, POLICY))
        except InvalidEntry:
            return "invalid"

    def test_usual(self) -> None:
        """
        What instances write is read by compiled code alone.
        """
        for made in (entry(), entry(authenticData=True)):
            values = list(toFields(made, EPOCH).values())
            found = CompiledEntry.stored(values, *KEY[:3], EPOCH, POLICY)
            self.assertEqual(facts(found)["wire"], made.wire)

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_same(self, data: st.DataObject) -> None:
        """
        Whatever is in the store, it reads the same, or is as wrong.
        """
        records = [record(A, data.draw(st.sampled_from([0, 20, 2**31]))), record(CNAME, 9)]
        edns = data.draw(st.sampled_from([None, None, None, EDNS()]))
        rCode = data.draw(st.sampled_from([0, 0, 0, 2, 3]))
        wire = bytearray(
            message(records[: data.draw(st.integers(0, 2))], [soa(5, 9)], rCode=rCode, edns=edns)[
                0
            ]
        )
        for _ in range(data.draw(st.integers(0, 2))):
            wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        number = (
            st.integers(0, 2**33).map(lambda number: b"%d" % number)
            | st.sampled_from([None, b"", b"0", b"-1", b" 7", b"1.5", b"9" * 12, b"9" * 13, b"x"])
            | st.just(b"1700000900")
        )
        values: list[bytes | None] = [bytes(wire), *(data.draw(number) for _ in range(4))]
        key: Key = (WWW, data.draw(st.sampled_from([A, A, AAAA])), 1, 0)
        found = self.read(values, key)
        with unittest.mock.patch("dnsguard.caching.stored.CompiledEntry", None):
            self.assertEqual(found, self.read(values, key))


class PackedTests(SynchronousTestCase):
    """
    Tests for L{toPacked} and L{fromPacked}.
    """

    def test_readsWhatItWrites(self) -> None:
        """
        An entry comes back the same.
        """
        found = message([], [soa(60, 60)], rCode=3)
        made = Entry.make(*found, 3, 1000.25, POLICY, createdAt=7.5)
        assert made is not None
        back = fromPacked(toPacked(made, 0.0), KEY, 0.0, POLICY)
        self.assertEqual(facts(back), facts(made))

    def test_corruptValues(self) -> None:
        """
        Another version, a cut value or a time that is none is an error.
        """
        good = toPacked(entry(), EPOCH)
        nan = b"\x7f\xf8" + bytes(6)
        for value in [b"", good[:20], good[:-1], b"\x02" + good[1:], b"\x01" + nan + good[9:]]:
            with self.assertRaises(InvalidEntry, msg=value):
                fromPacked(value, KEY, EPOCH, POLICY)

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_anyOctetsAreAnEntryOrAnError(self, data: st.DataObject) -> None:
        """
        Random and mutated values never fail in another way.
        """
        value = bytearray(toPacked(entry(), EPOCH))
        for _ in range(data.draw(st.integers(0, 4))):
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
        try:
            back = fromPacked(bytes(value), KEY, EPOCH, POLICY)
        except InvalidEntry:
            return
        self.assertEqual(len(back.wireWith(5)), len(back.wire))


class BareWireTests(SynchronousTestCase):
    """
    Tests for L{fromWire}.
    """

    def test_oldestForm(self) -> None:
        """
        A bare message is fresh for as long as its key lives.
        """
        back = fromWire(message([record(A, 60)])[0], KEY, 40, 1000.0, POLICY)
        self.assertEqual((back.remaining(1000.0), back.storedTTL, back.authTTL), (40.0, 40, 60))

    def test_anotherName(self) -> None:
        """
        A message for another question is an error.
        """
        wire = message([record(A, 60)], qname=b"\x01x\0")[0]
        self.assertRaises(InvalidEntry, fromWire, wire, KEY, 40, 1000.0, POLICY)
