# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Both replay stores against each other, and against what they stand in for.
"""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.replay.key import requestKey
from dnsguard.replay.lives import Kept
from dnsguard.replay.store import PythonReplayStore
from dnsguard.replay.views import Network, ViewMap
from dnsguard.wire.edns import InvalidOPT
from dnsguard.wire.layout import MalformedMessage, scan
from tests.replay.test_key import nearlyRequests
from tests.support.differential import Comparison, Mismatch
from tests.support.replay import CLIENT, FakePolicy, compiled, facts, reply, request

_store = compiled("_store")

CORPUS = Path(__file__).parent.parent / "data" / "replay"

ADDRESSES = [CLIENT, b"\xc0\0\2\2", b"\xc6\x33\x64\1", bytes(15) + b"\1"]


SORTS = 3


def sortOf(name: bytes) -> int:
    """
    Say of what sort a name is: policies change what is said of some sorts.
    """
    return crc32(name) % SORTS


class ModelChain:
    """
    A chain whose replies depend on all that replies may depend on: question,
    header bits, OPT record, the client's view and the policy that last changed
    what is said of the name.
    """

    def __init__(self) -> None:
        self.changed = [0] * SORTS
        self.map = ViewMap.of((), 0)

    def adopt(self, policy: FakePolicy, changes: frozenset[int] = frozenset(range(SORTS))) -> None:
        """
        Turn to another policy.

        @param changes: Of which sorts of names it says something else.
        """
        for sort in changes:
            self.changed[sort] = policy.generation
        self.map = ViewMap.of(policy.networks(), policy.defaultView.number)

    def view(self, address: bytes) -> int:
        """
        The number of a client's view.
        """
        return self.map.find(address)

    def reply(self, datagram: bytes, address: bytes) -> tuple[bytes | None, float]:
        """
        Answer what is a request with one question; be silent otherwise.
        """
        try:
            asked = scan(datagram)
        except (MalformedMessage, InvalidOPT):
            return None, 0
        if asked.counts[0] != 1 or asked.flags & 0x8000:
            return None, 0
        limit = 512 if asked.edns is None else min(max(asked.edns.payloadSize, 512), 1232)
        seed = crc32(
            repr(
                (
                    asked.name,
                    asked.type,
                    asked.cls,
                    asked.flags & 0x7FF0,
                    asked.edns is not None and (asked.edns.dnssecOK, asked.edns.options),
                    self.view(address),
                    self.changed[sortOf(asked.name)],
                )
            ).encode()
        )
        records = b"".join(
            struct.pack("!HHHIHI", 0xC00C, 1, 1, 5 + (seed >> n) % 90, 4, seed + n & 0xFFFFFFFF)
            for n in range(seed % 40)
        )
        opt = struct.pack("!BHHIH", 0, 41, 1232, 0, 0) if asked.edns is not None else b""
        end = asked.questionEnd
        flags, count = 0x8080 | (asked.flags & 0x0110), seed % 40
        if end + len(records) + len(opt) > limit:
            flags, count, records = flags | 0x0200, 0, b""
        header = struct.pack("!HHHHHH", asked.id, flags, 1, count, 0, 1 if opt else 0)
        return header + datagram[12:end] + records + opt, 1 + seed % 64


networks: st.SearchStrategy[list[Network]] = st.lists(
    st.tuples(
        st.sampled_from(ADDRESSES[:3]),
        st.integers(0, 32),
        st.integers(-1, 3),
    ),
    max_size=4,
)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("new"), nearlyRequests(), st.sampled_from(ADDRESSES)),
        st.tuples(st.just("again"), st.integers(0, 999), st.sampled_from(ADDRESSES)),
        st.tuples(st.just("upper"), st.integers(0, 999), st.sampled_from(ADDRESSES)),
        st.tuples(st.just("wait"), st.integers(0, 40), st.none()),
        st.tuples(st.just("forget"), st.integers(0, 999), st.none()),
        st.tuples(st.just("adopt"), networks, st.none()),
        st.tuples(
            st.just("prepare"), st.frozensets(st.integers(0, SORTS - 1), max_size=2), st.none()
        ),
        st.tuples(st.just("carry"), networks, st.none()),
        st.tuples(st.just("drain"), st.none(), st.none()),
    ),
    max_size=60,
)


def judged(changes: frozenset[int], facts: ReplayedAnswer) -> ReplayedAnswer | None:
    """
    Say which replies a policy leaves as they are that changes some sorts of names.
    """
    return None if sortOf(facts.qname) in changes else facts


def carryTo(
    store: PythonReplayStore, policy: FakePolicy, changes: frozenset[int] | None, now: float
) -> None:
    """
    Turn to a policy that changes some sorts of names, or none at all: then it may
    be that nobody has gone through the replies.
    """
    while not store.carryOn(1000, now):
        pass
    store.adopt(policy, Kept.CARRIED if changes else Kept.ALL)


class DifferentialTests(SynchronousTestCase):
    """
    What a store gives is what the chain says.
    """

    def play(self, script: list[tuple[str, object, bytes]]) -> int:
        """
        Run through some steps with both stores.

        @return: How many requests were answered from them.
        """
        chain = ModelChain()
        stores = [PythonReplayStore()]
        if _store is not None:
            stores.append(_store.CompiledReplayStore())
        pairs = [Comparison(store, chain) for store in stores]
        asked = [request()]
        now, generation = 1000.0, 0
        changes: frozenset[int] | None = None
        for kind, value, address in script:
            if kind == "wait":
                assert isinstance(value, int)
                now += value / 4
            elif kind == "adopt":
                assert isinstance(value, list)
                generation += 1
                policy = FakePolicy(generation, tuple(value))
                chain.adopt(policy)
                for store in stores:
                    store.adopt(policy)
            elif kind == "prepare":
                assert isinstance(value, frozenset)
                changes = value
                for store in stores:
                    store.beginCarrying(partial(judged, value))
            elif kind == "carry":
                assert isinstance(value, list)
                generation += 1
                policy = FakePolicy(generation, tuple(value))
                chain.adopt(policy, changes or frozenset())
                for store in stores:
                    carryTo(store, policy, changes, now)
                changes = None
            elif kind == "drain":
                self.drain(stores)
            elif kind == "new":
                assert isinstance(value, bytes)
                asked.append(value)
                self.ask(pairs, value, address, now)
            else:
                assert isinstance(value, int)
                datagram = asked[value % len(asked)]
                key = requestKey(datagram, 1232)
                if kind == "forget":
                    for store in stores:
                        store.forget(None if key is None else key.question[:-4])
                    continue
                if kind == "upper" and key is not None:
                    end = 12 + len(key.question) - 4
                    datagram = datagram[:12] + datagram[12:end].upper() + datagram[end:]
                self.ask(pairs, datagram, address, now)
        self.drain(stores)
        counters = [store.counters() for store in stores]
        for counted in counters:
            for name in ("hits", "misses", "stored"):
                self.assertEqual(counted[name], counters[0][name], name)
        return pairs[0].replayed

    def ask(self, pairs: list[Comparison], datagram: bytes, address: bytes, now: float) -> None:
        """
        Ask both stores; they give the same.
        """
        found = [pair.ask(datagram, address, now) for pair in pairs]
        for other in found:
            self.assertEqual(other, found[0])

    def drain(self, stores: list[PythonReplayStore]) -> None:
        """
        Drain both stores; they tell the same.
        """
        told = []
        for store in stores:
            batch = store.drain()
            told.append(
                sorted(
                    (facts.qname, facts.type, facts.generation, facts.viewNumber, hits)
                    for number, hits in batch.hits.items()
                    for facts in [batch.entries[number]]
                )
            )
        for other in told:
            self.assertEqual(other, told[0])

    @settings(max_examples=150, deadline=None)
    @given(steps)
    def test_storesAndChain(self, script: list[tuple[str, object, bytes]]) -> None:
        """
        Whatever is asked, by whom and when, under whichever policy: what a
        store gives is what the chain says but for the age of TTLs, and both
        stores give, and tell, the same.
        """
        self.play(script)

    def test_somethingIsReplayed(self) -> None:
        """
        The comparison compares something: of equal questions most are answered
        from the stores.
        """
        script: list[tuple[str, object, bytes]] = []
        for number in range(40):
            script.append(("new", request(f"host{number % 8}.example.org"), CLIENT))
        self.assertGreater(self.play(script), 20)

    def test_somethingIsCarried(self) -> None:
        """
        Policies that change some names leave the replies to the others.
        """
        names = [request(f"host{number}.example.org") for number in range(30)]
        asked: list[Any] = [("new", name, CLIENT) for name in names]
        script = [*asked, ("prepare", frozenset({0, 1}), None), ("carry", [], None), *asked]
        said = [(name, ModelChain().reply(name, CLIENT)[0] or b"") for name in names]
        # What is too long for its client isn't kept.
        kept = [name for name, reply in said if not reply[2] & 2]
        expected = sum(sortOf(name[12:-4]) == 2 for name in kept)
        self.assertTrue(0 < expected < len(kept))
        self.assertEqual(self.play(asked), 0)
        self.assertEqual(self.play(script), expected)

    def test_mismatchIsSeen(self) -> None:
        """
        A store that gives something else is found out.
        """
        chain = ModelChain()
        asked = request("host1.example.org", edns=1232)
        expected, _ = chain.reply(asked, CLIENT)
        assert expected is not None
        older = bytearray(expected)
        for at in scan(expected).ttls[1:]:
            older[at + 3] -= 1
        for wrong in [
            expected[:-1] + b"\xff",
            b"\xff" + expected[1:],
            bytes(older),
            reply(asked, 1),
        ]:

            class Lying(PythonReplayStore):
                def lookup(self, *_: object, said: bytes = wrong, **__: object) -> bytes:
                    return said

            with self.assertRaises(Mismatch):
                Comparison(Lying(), chain).ask(asked, CLIENT, 1000.0)


class CorpusTests(SynchronousTestCase):
    """
    What the fuzzer has found worth keeping: C{fuzz/parse.c} says what the
    files mean.
    """

    def steps(self, content: bytes) -> list[tuple[int, bytes]]:
        """
        Take a file apart.
        """
        found = []
        while len(content) >= 3:
            size = int.from_bytes(content[1:3], "big") % 1500
            found.append((content[0], content[3 : 3 + size]))
            content = content[3 + size :]
        return found

    def test_corpus(self) -> None:
        """
        Python and C read all requests and replies of the corpus alike, and
        both stores answer alike.
        """
        if _store is None:
            self.skipTest("the compiled twin isn't built")
        files = sorted(CORPUS.iterdir())
        self.assertGreater(len(files), 50)
        eligible = replayed = 0
        for file in files:
            pair = [PythonReplayStore(), _store.CompiledReplayStore()]
            for action, octets in self.steps(file.read_bytes()):
                first = len(octets)
                if action & 1 and first > 2:
                    first = 1 + octets[0] % (first - 1)
                asked, rest = octets[:first], octets[first:]
                key = requestKey(asked, 1232)
                self.assertEqual(
                    _store.readRequest(asked, 1232),
                    None if key is None else (key.question, key.flags, key.limit),
                )
                if key is None:
                    continue
                eligible += 1
                end = 12 + len(key.question)
                made = bytearray(asked[:end]) + rest[6:]
                made[2] |= 0x80
                made[6 : 6 + len(rest[:6])] = rest[:6]
                kept, seconds = facts(asked, 0, 0), 1.0 + (action >> 1 & 7)
                # The one in Python looks into replies only when asked for them.
                isGood = _store.readReply(bytes(made), asked, end) is not None
                for store in pair if isGood else [PythonReplayStore()]:
                    if action & 1:
                        store.remember(asked, bytes(made), kept, seconds, 100.0)
                    if not isGood:
                        self.assertIsNone(store.lookup(asked, CLIENT, 100.0), file.name)
                answers = [store.lookup(asked, CLIENT, 100.5) for store in pair]
                self.assertEqual(answers[0], answers[1], file.name)
                replayed += answers[0] is not None
        self.assertGreater(eligible, 20)
        self.assertGreater(replayed, 5)
