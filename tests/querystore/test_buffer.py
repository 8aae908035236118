# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.buffer} and L{dnsguard.querystore.recorder}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Outcome
from dnsguard.interfaces import IEntryObserver
from dnsguard.observers.anonymize import Anonymity, Anonymizer
from dnsguard.observers.event import QueryEvent
from dnsguard.observers.exclusion import Exclusion
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.query import Transport
from dnsguard.querystore import buffer as bufferModule
from dnsguard.querystore import recorder as recorderModule
from dnsguard.querystore.buffer import RowBuffer
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.rows import factFragment
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.names import fromText
from tests.support.events import NOON, answerOf, entryFor, eventOf
from tests.support.replaybatch import FakeReplayBatch


def taken(buffer: RowBuffer) -> list[tuple[Any, ...]]:
    """
    Give the rows of a buffer.
    """
    block = buffer.take()
    return [] if block is None else list(block.tuples())


class RowBufferTests(SynchronousTestCase):
    """
    Rows on their way.
    """

    def test_event(self) -> None:
        """
        An event becomes a row whose time is that of its arrival.
        """
        buffer = RowBuffer(10, instance="one")
        buffer.add(
            eventOf(
                "a.example.org",
                Outcome.STALE,
                "192.0.2.80",
                clientName="tv",
                group="kids",
                transport=Transport.DOT,
                finished=NOON + 0.5,
                duration=0.25,
                cacheSeconds=0.001,
                writeSeconds=0.002,
                upstream="https://dns.example/dns-query",
            )
        )
        self.assertEqual(
            taken(buffer),
            [
                (
                    int(NOON * 1000) + 250,
                    "192.0.2.1",
                    "tv",
                    "dot",
                    "a.example.org",
                    "A",
                    "IN",
                    "stale",
                    "NOERROR",
                    250.0,
                    1.0,
                    2.0,
                    "https://dns.example/dns-query",
                    "A 192.0.2.80",
                    "",
                    "",
                    "kids",
                    "",
                    "doh",
                    "one",
                )
            ],
        )
        self.assertIsNone(buffer.take())

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.builds(
                eventOf,
                st.sampled_from(["a.example.org", "b.example.org", "odd\\032.example.org"]),
                st.sampled_from([Outcome.UPSTREAM, Outcome.CACHED, Outcome.BLOCKED]),
                client=st.sampled_from(["192.0.2.1", "192.0.2.2"]),
                clientName=st.sampled_from(["", "tv"]),
                group=st.sampled_from(["", "kids"]),
                type=st.sampled_from([1, 28, 65280]),
                replySize=st.sampled_from([0, 60]),
                upstream=st.sampled_from(["", "192.0.2.53", "https://dns.example/dns-query"]),
                rCode=st.sampled_from([0, 2, 3]),
                authenticData=st.booleans(),
                attribution=st.sampled_from(
                    [
                        None,
                        Attribution(RuleKind.LIST, "ads", "example.org", 1, b""),
                        Attribution(RuleKind.LIST, "ads", "example.net", 2, b""),
                    ]
                ),
                extendedError=st.sampled_from([None, ExtendedError(6), ExtendedError(5)]),
            ),
            max_size=12,
        )
    )
    def test_eachOneAlone(self, events: list[QueryEvent]) -> None:
        """
        Whatever went before in the block, an event makes the row that it makes
        alone.
        """
        together = RowBuffer(100)
        alone = []
        for event in events:
            together.add(event)
            single = RowBuffer(1)
            single.add(event)
            alone += taken(single)
        self.assertEqual(taken(together), alone)

    def test_replayed(self) -> None:
        """
        A replayed query makes the row that the same query makes by the chain,
        but for the upstream, which had no part in it.
        """
        entry = entryFor("a.example.org", Outcome.CACHED, "192.0.2.80", group="kids")
        batch = FakeReplayBatch({9: entry})
        batch.add(9, "192.0.2.1", when=NOON, took=0.25)
        batch.add(9, "2001:db8::1", when=NOON, took=0.25, transport=1)
        names = {"192.0.2.1": "tv"}
        buffer = RowBuffer(10, nameOf=lambda address: names.get(address, ""))
        buffer.addReplayed(batch)
        for client, transport in (("192.0.2.1", Transport.UDP), ("2001:db8::1", Transport.TCP)):
            buffer.add(
                eventOf(
                    "a.example.org",
                    Outcome.CACHED,
                    "192.0.2.80",
                    client=client,
                    clientName=names.get(client, ""),
                    group="kids",
                    transport=transport,
                    finished=NOON + 0.25,
                    duration=0.25,
                )
            )
        rows = taken(buffer)
        self.assertEqual(len(rows), 4)
        self.assertEqual(rows[:2], rows[2:])

    def test_textsAreShared(self) -> None:
        """
        Equal queries share their texts, by either road; a block has no more
        clients and facts than differ.
        """
        buffer = RowBuffer(1000)
        event = eventOf()
        batch = FakeReplayBatch({1: entryFor("x"), 2: entryFor("y")})
        for number in range(100):
            buffer.add(event)
            batch.add(1 + number % 2, f"192.0.2.{number % 5}")
        buffer.addReplayed(batch)
        block = buffer.take()
        assert block is not None
        self.assertEqual((len(block), len(block.facts), len(block.clients)), (200, 3, 5))

    def test_factsAreEncodedOnce(self) -> None:
        """
        What was made of an entry is kept with it for the next block; so is
        that it is left out.
        """
        asked: list[bytes] = []

        def excludes(qname: bytes) -> bool:
            asked.append(qname)
            return qname == fromText("out.example.org")

        buffer = RowBuffer(100, excludesName=excludes)
        entries = {1: entryFor("in.example.org"), 2: entryFor("out.example.org")}
        for _ in range(3):
            batch = FakeReplayBatch(entries)
            for number in entries:
                batch.add(number, "192.0.2.1")
            buffer.addReplayed(batch)
            block = buffer.take()
            assert block is not None
            self.assertEqual([row[4] for row in block.tuples()], ["in.example.org"])
            self.assertIs(block.facts[0], entries[1].row)
        self.assertEqual(asked, [entry.qname for entry in entries.values()])

    def test_factsOfEntries(self) -> None:
        """
        What is made of an entry is what would be made of its answer, however
        much of it was made before.
        """
        blocked = Attribution(RuleKind.LIST, "ads", "x.example")
        entries = [
            entryFor(f"{number}.example", outcome, *addresses, group=group, attribution=rule)
            for number in range(3)
            for outcome, rule in ((Outcome.CACHED, None), (Outcome.BLOCKED, blocked))
            for addresses in ((), ("192.0.2.1",), ("192.0.2.1", "192.0.2.2"))
            for group in ("", "kids")
        ]
        # One whose message has another name, and the root.
        entries.append(
            ReplayedAnswer(
                fromText("other.example"), 1, 1, Outcome.CACHED, 0, "", None, entries[2].answer
            )
        )
        entries.append(entryFor("."))
        buffer = RowBuffer(100)
        batch = FakeReplayBatch(dict(enumerate(entries)))
        for number in range(len(entries)):
            batch.add(number, "192.0.2.80")
        buffer.addReplayed(batch)
        block = buffer.take()
        assert block is not None
        self.assertEqual(
            [block.facts[record[2]] for record in block.records()],
            [
                factFragment(
                    entry.qname,
                    entry.type,
                    entry.cls,
                    entry.outcome.value,
                    entry.rCode,
                    entry.groupID,
                    entry.attribution,
                    entry.answer,
                    "",
                )
                for entry in entries
            ],
        )

    def test_framesAreBounded(self) -> None:
        """
        No more frames are held than so many; others are made again.
        """
        self.patch(bufferModule, "_FRAMES", 3)
        buffer = RowBuffer(100)
        entries = {
            number: entryFor(f"{number}.example", group=f"g{number}") for number in range(9)
        }
        batch = FakeReplayBatch(entries)
        for number in entries:
            batch.add(number, "192.0.2.80")
        buffer.addReplayed(batch)
        self.assertEqual([row[16] for row in taken(buffer)], [f"g{number}" for number in range(9)])

    def test_meets(self) -> None:
        """
        What is new in a batch is got ready beforehand, so much at a time;
        nothing is recorded by that, and the rows are the same.
        """
        entries = {number: entryFor(f"{number}.example") for number in range(5)}
        batch = FakeReplayBatch(entries)
        for number in entries:
            batch.add(number, f"192.0.2.{number}")
        ready, plain = RowBuffer(100), RowBuffer(100)
        self.assertEqual([ready.meet(batch, 4) for _ in range(4)], [4, 4, 2, 0])
        self.assertEqual((ready.used, ready.recorded, ready.take()), (0, 0, None))
        while ready.meet(batch, 4):
            pass
        ready.addReplayed(batch)
        plain.addReplayed(batch)
        self.assertEqual(taken(ready), taken(plain))
        self.assertEqual((ready.recorded, ready.octets), (5, 0))

    def test_meetsWhenFull(self) -> None:
        """
        Where there is no room nothing is noted of clients.
        """
        buffer = RowBuffer(1)
        batch = FakeReplayBatch({1: entryFor()})
        batch.add(1, "192.0.2.80")
        buffer.addReplayed(batch)
        octets = buffer.octets
        batch.add(1, "192.0.2.81")
        self.assertEqual([buffer.meet(batch, 9) for _ in range(2)], [1, 0])
        self.assertEqual(buffer.octets, octets)
        buffer.addReplayed(batch)
        self.assertEqual((buffer.recorded, buffer.dropped), (1, 2))

    def test_equalFactsAreShared(self) -> None:
        """
        Entries whose facts are equal, as those of requests with EDNS and
        without are, have one text.
        """
        buffer = RowBuffer(10)
        batch = FakeReplayBatch({1: entryFor(), 2: entryFor(), 3: entryFor("x.example")})
        for number in (1, 2, 3, 2):
            batch.add(number, "192.0.2.1")
        buffer.addReplayed(batch)
        block = buffer.take()
        assert block is not None
        self.assertEqual(len(block.facts), 2)
        self.assertEqual(
            [row[4] for row in block.tuples()],
            ["www.example.org", "www.example.org", "x.example", "www.example.org"],
        )

    def test_placesAreOfOneBlock(self) -> None:
        """
        A block has the facts of its own rows, wherever they were in an earlier
        one.
        """
        buffer = RowBuffer(10)
        entries = {number: entryFor(f"{number}.example") for number in range(4)}
        for numbers in ((0, 1, 2), (2, 3), (), (3, 0)):
            batch = FakeReplayBatch(entries)
            for number in numbers:
                batch.add(number, "192.0.2.1")
            buffer.addReplayed(batch)
            block = buffer.take()
            if block is None:
                self.assertEqual(numbers, ())
                continue
            self.assertEqual(len(block.facts), len(numbers))
            self.assertEqual([row[4] for row in block.tuples()], [f"{n}.example" for n in numbers])

    def test_outOfUse(self) -> None:
        """
        Facts that no block has had for a while aren't held.
        """
        self.patch(bufferModule, "_FEW_FRAGMENTS", 10)
        buffer = RowBuffer(1000)
        for many in (100, 100, 2, 2, 2):
            batch = FakeReplayBatch(
                {number: entryFor(f"{number}.example") for number in range(many)}
            )
            for number in range(many):
                batch.add(number, "192.0.2.1")
            buffer.addReplayed(batch)
            self.assertEqual(
                [row[4] for row in taken(buffer)], [f"{n}.example" for n in range(many)]
            )
        self.assertEqual((len(buffer._replayed), buffer._replayed.met), (2, 2))

    def test_octetsAreCounted(self) -> None:
        """
        What replayed queries add to the buffer is counted once, rows that had
        no room not at all.
        """
        buffer = RowBuffer(3)
        batch = FakeReplayBatch({number: entryFor(f"{number}.example") for number in range(9)})
        for number in (1, 1, 2, 5, 6):
            batch.add(number, "192.0.2.1")
        before = buffer.octets
        buffer.addReplayed(batch)
        filled = buffer.octets
        self.assertGreater(filled, before + 3 * 32 + 2 * 64)
        buffer.addReplayed(batch)
        self.assertEqual(buffer.octets, filled)
        block = buffer.take()
        assert block is not None
        self.assertEqual((len(block), len(block.facts)), (3, 2))
        self.assertEqual(buffer.octets, 0)

    def test_answersAreToldApart(self) -> None:
        """
        The same question with another answer makes another row.
        """
        buffer = RowBuffer(10)
        for address in ("192.0.2.1", "192.0.2.2"):
            buffer.add(eventOf("a.example", Outcome.UPSTREAM, address))
        self.assertEqual([row[13] for row in taken(buffer)], ["A 192.0.2.1", "A 192.0.2.2"])

    def test_full(self) -> None:
        """
        What there is no room for is counted, by either road.
        """
        buffer = RowBuffer(5)
        batch = FakeReplayBatch({1: entryFor()})
        for _ in range(4):
            batch.add(1, "192.0.2.1")
        for _ in range(3):
            buffer.add(eventOf())
        buffer.addReplayed(batch)
        buffer.add(eventOf())
        self.assertEqual((buffer.used, buffer.recorded, buffer.dropped), (5, 5, 3))
        self.assertEqual(len(taken(buffer)), 5)
        buffer.add(eventOf())
        self.assertEqual((buffer.used, buffer.recorded, buffer.dropped), (1, 6, 3))

    def test_fullForLong(self) -> None:
        """
        A full buffer notes nothing of queries there is no room for, by either
        road, and still tells those that are left out from those that are lost.
        """
        self.patch(bufferModule, "_MOST_ENTRIES", 10)
        buffer = RowBuffer(
            1,
            clientOf=lambda address, name: None if address == "192.0.2.9" else (address, name),
            excludesName=lambda qname: qname == fromText("excluded.example"),
        )
        buffer.add(eventOf())
        filled = buffer.octets
        for number in range(50):
            buffer.add(eventOf(f"{number}.example", client=f"2001:db8::{number}"))
            batch = FakeReplayBatch({number: entryFor(f"{number}.example")})
            batch.add(number, f"2001:db8:1::{number}")
            batch.add(number, f"192.0.2.{100 + number}")
            buffer.addReplayed(batch)
        self.assertEqual((buffer.octets, buffer.dropped, buffer.leftOut), (filled, 150, 0))
        self.assertLessEqual(buffer._replayed.met, 11)
        self.assertLessEqual(len(buffer._replayed), 11)
        buffer.add(eventOf(client="192.0.2.9"))
        buffer.add(eventOf("excluded.example"))
        batch = FakeReplayBatch({1: entryFor("excluded.example"), 2: entryFor()})
        batch.add(1, "192.0.2.1")
        batch.add(2, "192.0.2.9")
        buffer.addReplayed(batch)
        self.assertEqual((buffer.dropped, buffer.leftOut), (150, 4))
        block = buffer.take()
        assert block is not None
        self.assertEqual((len(block), len(block.clients), len(block.facts)), (1, 1, 1))

    def test_forgettingAmidABlock(self) -> None:
        """
        Rows keep their facts when entries are forgotten before the block leaves,
        and what they take is counted.
        """
        self.patch(bufferModule, "_MOST_ENTRIES", 3)
        buffer = RowBuffer(100)
        for number in range(20):
            batch = FakeReplayBatch({n: entryFor(f"{n}.example") for n in (number, number + 1)})
            batch.add(number, "192.0.2.1")
            batch.add(number + 1, "192.0.2.1")
            before = buffer.octets
            buffer.addReplayed(batch)
            self.assertGreater(buffer.octets, before + 2 * 32)
        self.assertEqual(
            [row[4] for row in taken(buffer)],
            [f"{n}.example" for number in range(20) for n in (number, number + 1)],
        )
        self.assertEqual(buffer.octets, 0)

    def test_fullOfTexts(self) -> None:
        """
        Long texts fill the buffer too.
        """
        buffer = RowBuffer(1000, maxOctets=2000)
        for number in range(100):
            buffer.add(eventOf(f"{'x' * 60}.{number}.example"))
        self.assertLess(buffer.used, 20)
        self.assertEqual(buffer.used + buffer.dropped, 100)
        batch = FakeReplayBatch({1: entryFor()})
        batch.add(1, "192.0.2.1")
        buffer.addReplayed(batch)
        self.assertEqual(buffer.used + buffer.dropped, 101)

    def test_sampling(self) -> None:
        """
        A share of queries is taken, by either road, and the rest counted.
        """
        buffer = RowBuffer(10_000, sampleRate=0.25)
        buffer._random.seed(7)
        batch = FakeReplayBatch({1: entryFor()})
        for _ in range(2000):
            buffer.add(eventOf())
            batch.add(1, "192.0.2.1")
        answered = buffer.used
        buffer.addReplayed(batch)
        for count in (answered, buffer.used - answered):
            self.assertTrue(400 < count < 600, count)
        self.assertEqual(buffer.used + buffer.leftOut, 4000)
        self.assertEqual(buffer.dropped, 0)

    def test_timesAreBounded(self) -> None:
        """
        A clock that jumps makes no row that can't be stored.
        """
        buffer = RowBuffer(10)
        for duration in (-5.0, 1e9):
            buffer.add(eventOf(duration=duration))
        self.assertEqual([row[9] for row in taken(buffer)], [0.0, 4294967.295])


class QueryRecorderTests(SynchronousTestCase):
    """
    What is recorded, and of whom.
    """

    def record(self, recorder: QueryRecorder) -> list[tuple[Any, ...]]:
        """
        Have queries of two clients for two names recorded, by both roads.
        """
        verifyObject(IEntryObserver, recorder)
        batch = FakeReplayBatch({1: entryFor("a.example.org"), 2: entryFor("b.example.net")})
        for client in ("192.0.2.1", "192.0.2.2"):
            for number, name in ((1, "a.example.org"), (2, "b.example.net")):
                batch.add(number, client)
                recorder.queryAnswered(eventOf(name, client=client, clientName="tv"))
        recorder.queriesReplayed(batch)
        return taken(recorder.buffer)

    def test_exclusion(self) -> None:
        """
        Excluded names and clients leave no row, by either road.
        """
        for exclusion, expected in (
            (Exclusion(["example.org"]), 4),
            (Exclusion(["/^b/"]), 4),
            (Exclusion(clients=["192.0.2.2"]), 4),
            (Exclusion(["example.org"], ["192.0.2.2"]), 2),
            (Exclusion(clients=["tv"]), 0),
            (Exclusion(), 8),
        ):
            recorder = QueryRecorder(100, exclusion, Anonymizer(), lambda address: "tv")
            self.assertEqual(len(self.record(recorder)), expected)
            self.assertEqual(recorder.buffer.leftOut, 8 - expected)

    def test_anonymity(self) -> None:
        """
        What the anonymizer hides is in no octet of the buffer.
        """
        recorder = QueryRecorder(
            100, Exclusion(), Anonymizer(Anonymity.TRUNCATE), lambda address: "tv"
        )
        rows = self.record(recorder)
        self.assertEqual({(row[1], row[2]) for row in rows}, {("192.0.2.0", "")})

    def test_pressure(self) -> None:
        """
        A batch that leaves the buffer half full calls for emptying.
        """
        recorder = QueryRecorder(12, Exclusion(), Anonymizer())
        calls: list[int] = []
        recorder.pressed = lambda: calls.append(recorder.buffer.used)
        batch = FakeReplayBatch({1: entryFor()})
        for _ in range(3):
            batch.add(1, "192.0.2.1")
        recorder.queriesReplayed(batch)
        self.assertEqual(calls, [])
        recorder.queriesReplayed(batch)
        self.assertEqual(calls, [6])

    def test_pressureOfTexts(self) -> None:
        """
        So does one that leaves a block's worth of octets, however few rows.
        """
        recorder = QueryRecorder(1000, Exclusion(), Anonymizer())
        calls: list[int] = []
        recorder.pressed = lambda: calls.append(recorder.buffer.used)
        batch = FakeReplayBatch({1: entryFor()})
        batch.add(1, "192.0.2.1")
        recorder.queriesReplayed(batch)
        self.patch(recorderModule, "BLOCK_OCTETS", recorder.buffer.octets + 32)
        self.assertEqual(calls, [])
        recorder.queriesReplayed(batch)
        self.assertEqual(calls, [2])

    def test_oddSampleRate(self) -> None:
        """
        A rate that is no share means all.
        """
        for rate in (0.0, -1.0, 2.0):
            recorder = QueryRecorder(100, Exclusion(), Anonymizer(), sampleRate=rate)
            self.assertEqual(len(self.record(recorder)), 8)

    def test_answerWithoutRecords(self) -> None:
        """
        A failure is recorded like anything else.
        """
        recorder = QueryRecorder(10, Exclusion(), Anonymizer())
        event = eventOf(outcome=Outcome.UPSTREAM_ERROR, rCode=2)
        self.assertEqual(event.answer.rCode, answerOf(rCode=2).rCode)
        recorder.queryAnswered(event)
        self.assertEqual(taken(recorder.buffer)[0][7:9], ("upstream_error", "SERVFAIL"))
