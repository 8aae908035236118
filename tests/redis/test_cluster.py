# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.cluster}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.redis.client import encode
from dnsguard.redis.cluster import REFRESH_SECONDS, Cluster
from dnsguard.redis.endpoints import Place
from dnsguard.redis.errand import MAX_REDIRECTIONS
from dnsguard.redis.link import Link
from dnsguard.redis.slots import SLOTS, slotOf
from tests.redis.wires import FakeEndpoint

ONE, TWO, THREE = (Place("192.0.2.1", 7000 + number) for number in range(3))

LOW, HIGH = b"b", b"a"
"""Keys in the lower and in the upper half of the slots."""


def told(reply: Any) -> bytes:
    """
    Write a reply.
    """
    if isinstance(reply, Exception):
        return b"-%b\r\n" % str(reply).encode()
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(told, reply))
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    return b"$%d\r\n%b\r\n" % (len(reply), reply)


class Node(FakeEndpoint):
    """
    A node that answers by itself.

    @ivar seen: The commands it got, but for those of the house.
    @ivar answer: Gives its reply to each of them.
    @ivar silent: Does it leave all unanswered?
    """

    def __init__(self, place: Place, slots: Callable[[], list[Any]]) -> None:
        super().__init__()
        self.place = place
        self.seen: list[tuple[bytes, ...]] = []
        self.answer: Callable[[tuple[bytes, ...]], Any] = lambda command: str(place).encode()
        self.slots = slots
        self.silent = False

    def serve(self) -> bool:
        """
        Answer what was asked; was anything?
        """
        if not self.wires or self.wire.aborted or self.silent:
            return False
        commands = [tuple(command) for command in self.wire.commands()]
        for command in commands:
            if command[0] == b"PING":
                self.wire.reply(b"+PONG\r\n")
            elif command[0] == b"CLUSTER":
                self.wire.reply(told(self.slots()))
            else:
                self.seen.append(command)
                self.wire.reply(told(self.answer(command)))
        return bool(commands)


class ClusterTests(SynchronousTestCase):
    """
    Tests for L{Cluster}.
    """

    def setUp(self) -> None:
        self.assertLess(slotOf(LOW), SLOTS // 2)
        self.assertGreaterEqual(slotOf(HIGH), SLOTS // 2)
        self.clock = Clock()
        self.halves = [ONE, TWO]
        self.nodes = {place: Node(place, self.slots) for place in (ONE, TWO, THREE)}
        self.cluster = Cluster([ONE], self.link, self.clock)
        self.cluster.start()
        self.turn()

    def slots(self) -> list[Any]:
        """
        What nodes say of each other.
        """
        low, high = ([place.host.encode(), place.port, b"id"] for place in self.halves)
        return [[0, SLOTS // 2 - 1, low], [SLOTS // 2, SLOTS - 1, high]]

    def link(self, place: Place, changed: Callable[[Link, bool, str], None]) -> Link:
        """
        A link to a node.
        """
        return Link(self.nodes[place], self.clock, name=str(place), changed=changed)

    def turn(self, seconds: float = 0.0) -> None:
        """
        Let time pass, and all that was asked be answered.
        """
        self.clock.advance(seconds)
        busy = True
        while busy:
            busy = sum(node.serve() for node in self.nodes.values()) > 0
            self.clock.advance(0)

    def ask(self, *commands: tuple[bytes, ...]) -> Any:
        """
        The replies to commands.
        """
        asked = self.cluster.execute(commands)
        self.turn()
        return self.successResultOf(asked)

    def test_found(self) -> None:
        """
        From one node all others are found.
        """
        self.assertTrue(self.cluster.available)
        self.assertEqual([link.name for link in self.cluster.servers()], [str(ONE), str(TWO)])
        self.assertEqual(self.cluster.reason, "")

    def test_unreachable(self) -> None:
        """
        A cluster of which no node is there isn't available, and is looked for
        at a measured pace.
        """
        self.nodes[THREE].refusing = ConnectionError("refused")
        cluster = Cluster([THREE], self.link, self.clock)
        cluster.start()
        self.assertFalse(cluster.available)
        self.assertIn("refused", cluster.reason)
        for key in (LOW, HIGH):
            self.failureResultOf(cluster.execute([(b"GET", key)]), StoreError)
        for _ in range(20):
            self.successResultOf(cluster.probe())
            self.turn(0.1)
        self.assertLess(self.nodes[THREE].attempts, 15)
        self.successResultOf(cluster.stop())

    def test_routed(self) -> None:
        """
        Each command goes to the node of its key, in one pipeline a node, and
        replies come in order.
        """
        self.assertEqual(self.ask((b"GET", LOW)), [str(ONE).encode()])
        replies = self.ask((b"GET", HIGH), (b"GET", LOW), (b"DEL", HIGH))
        self.assertEqual(replies, [str(where).encode() for where in (TWO, ONE, TWO)])
        self.assertEqual(self.nodes[TWO].seen, [(b"GET", HIGH), (b"DEL", HIGH)])

    def moved(self, place: Place, word: str = "MOVED") -> Callable[[Any], Any]:
        """
        Point to another node.
        """
        return lambda command: ValueError(f"{word} {slotOf(command[1])} {place}")

    def test_moved(self) -> None:
        """
        A slot that moved is followed, and asked for there from then on.
        """
        self.nodes[ONE].answer = self.moved(TWO)
        self.halves = [TWO, TWO]
        self.assertEqual(self.ask((b"GET", LOW)), [str(TWO).encode()])
        self.assertEqual(self.ask((b"GET", LOW)), [str(TWO).encode()])
        self.assertEqual((len(self.nodes[ONE].seen), self.cluster.counted.moved), (1, 1))
        before = self.cluster.refreshes
        self.turn(REFRESH_SECONDS)
        self.assertEqual(self.cluster.refreshes, before + 1)
        self.assertEqual([link.name for link in self.cluster.servers()], [str(TWO)])

    def test_movedMany(self) -> None:
        """
        Of many commands those are sent on that have to be.
        """
        self.nodes[ONE].answer = self.moved(TWO)
        replies = self.ask((b"GET", LOW), (b"GET", HIGH), (b"SET", LOW, b"1"))
        self.assertEqual(replies, [str(TWO).encode()] * 3)
        self.assertEqual(len(self.nodes[TWO].seen), 3)

    def test_asking(self) -> None:
        """
        A slot that is moving is asked for at its new place, with a word of
        explanation, and not for good.
        """
        self.nodes[ONE].answer = self.moved(TWO, "ASK")
        self.assertEqual(self.ask((b"GET", LOW)), [str(TWO).encode()])
        self.assertEqual(self.nodes[TWO].seen, [(b"ASKING",), (b"GET", LOW)])
        self.ask((b"GET", LOW))
        self.assertEqual((len(self.nodes[ONE].seen), self.cluster.counted.asked), (2, 2))

    def test_circle(self) -> None:
        """
        Nodes that point to each other end somewhere.
        """
        self.nodes[ONE].answer, self.nodes[TWO].answer = self.moved(TWO), self.moved(ONE)
        (reply,) = self.ask((b"GET", LOW))
        self.assertEqual(reply.code, "MOVED")
        self.assertEqual(self.cluster.counted.moved, MAX_REDIRECTIONS)

    def test_overdue(self) -> None:
        """
        However often a command is sent on, it takes no longer than one that
        isn't; and the node that was slow is none that failed.
        """
        self.nodes[ONE].answer, self.nodes[TWO].answer = self.moved(TWO), self.moved(ONE)
        asked = self.cluster.execute([(b"GET", LOW)])
        many = self.cluster.execute([(b"GET", HIGH), (b"GET", LOW)])
        for seconds in (0.0, 0.02, 0.02):
            # Each takes its time, and none takes too long.
            self.clock.advance(seconds)
            for node in self.nodes.values():
                node.serve()
            self.clock.advance(0)
        self.assertNoResult(asked)
        self.clock.advance(0.01)
        (reply,) = self.successResultOf(asked)
        self.assertIn("sent on for too long", str(reply))
        self.failureResultOf(many, StoreError)
        self.assertEqual(self.cluster.counted.overdue, 3)
        self.turn(0.02)
        self.assertEqual(self.cluster.counters()["failures"], 0)

    def test_unreadable(self) -> None:
        """
        A redirection to nowhere is an error.
        """
        self.nodes[ONE].answer = lambda command: ValueError("MOVED to somewhere nice")
        (reply,) = self.ask((b"GET", LOW))
        self.assertEqual(reply.code, "MOVED")

    def test_newNode(self) -> None:
        """
        A node that wasn't known is connected to; until it is, its keys fail.
        """
        self.nodes[ONE].answer = self.moved(THREE)
        asked = self.cluster.execute([(b"GET", LOW)])
        self.turn()
        self.assertTrue(asked.called)
        asked.addErrback(lambda reason: None)
        self.turn(0.2)
        self.assertEqual(self.ask((b"GET", LOW)), [str(THREE).encode()])

    def test_oneAway(self) -> None:
        """
        A node that is away fails its own keys, at once, and no others.
        """
        self.nodes[ONE].silent = True
        late = self.cluster.execute([(b"GET", LOW)])
        self.turn()
        self.turn(0.05)
        self.failureResultOf(late, StoreError)
        self.assertTrue(self.cluster.available)
        self.failureResultOf(self.cluster.execute([(b"GET", LOW)]), StoreError)
        replies = self.ask((b"GET", LOW), (b"GET", HIGH))
        self.assertIsInstance(replies[0], StoreError)
        self.assertEqual(replies[1], str(TWO).encode())

    def test_heir(self) -> None:
        """
        When a node falls silent the others say who took its place.
        """
        self.nodes[ONE].silent = True
        self.halves = [THREE, TWO]
        self.cluster.execute([(b"GET", LOW)]).addErrback(lambda reason: None)
        self.turn()
        for _ in range(5):
            self.turn(0.1)
            self.successResultOf(self.cluster.probe())
        self.assertEqual(self.ask((b"GET", LOW)), [str(THREE).encode()])

    def test_allAway(self) -> None:
        """
        When none is there all fails.
        """
        for node in self.nodes.values():
            node.silent = True
        for key in (LOW, HIGH):
            self.cluster.execute([(b"GET", key)]).addErrback(lambda reason: None)
        self.turn()
        self.turn(0.05)
        self.assertFalse(self.cluster.available)
        both = self.cluster.execute([(b"GET", LOW), (b"GET", HIGH)])
        self.failureResultOf(both, StoreError)
        for node in self.nodes.values():
            node.silent = False
        for _ in range(5):
            self.turn(0.1)
            self.cluster.probe()
        self.turn()
        self.assertTrue(self.cluster.available)

    def test_nonsense(self) -> None:
        """
        A node that doesn't make sense changes nothing.
        """
        self.nodes[ONE].slots = self.nodes[TWO].slots = lambda: [[b"x"]]
        self.successResultOf(self.cluster.ping())
        self.turn(REFRESH_SECONDS)
        self.assertEqual(len(self.cluster.servers()), 2)

    def test_counters(self) -> None:
        """
        The numbers of all nodes are added up.
        """
        self.ask((b"GET", LOW), (b"GET", HIGH))
        counters = self.cluster.counters()
        self.assertEqual((counters["nodes"], counters["nodes_available"]), (2, 2))
        self.assertEqual((counters["connected"], counters["moved"]), (2, 0))
        # Two pings, one question for the slots, two gets.
        self.assertEqual(counters["commands"], 5)

    def test_countersOfTheGone(self) -> None:
        """
        What was counted stays when a node leaves.
        """
        self.ask((b"GET", HIGH))
        before = self.cluster.counters()
        self.halves = [ONE, ONE]
        self.cluster.ping()
        self.turn(REFRESH_SECONDS)
        self.assertEqual(self.cluster.counters()["nodes"], 1)
        self.assertGreaterEqual(self.cluster.counters()["commands"], before["commands"])
        self.assertEqual(self.cluster.counters()["waiting"], 0)
        empty = Cluster([ONE], self.link, self.clock).counters()
        self.assertLessEqual(set(before), set(empty))

    def test_stop(self) -> None:
        """
        Stopping ends all connections.
        """
        stopped: Deferred[None] = self.cluster.stop()
        self.successResultOf(stopped)
        self.turn(10.0)
        self.assertTrue(all(wire.aborted for node in self.nodes.values() for wire in node.wires))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.cluster.available)

    def test_encoded(self) -> None:
        """
        What the nodes of these tests write is what they would.
        """
        self.assertEqual(told([b"a", b"b"]), encode([(b"a", b"b")]))
