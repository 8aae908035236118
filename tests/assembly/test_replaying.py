# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Both replay stores against the chain and the server that they stand in for.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.python import log
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Outcome
from dnsguard.assembly.rules import makePolicy
from dnsguard.config.load import Source, load
from dnsguard.config.model import Config
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.replay import carrier
from dnsguard.replay.lives import Kept
from dnsguard.replay.store import PythonReplayStore
from dnsguard.wire.names import fromText
from tests.assembly.test_rules import LISTS
from tests.support.composed import ComposedServer
from tests.support.differential import Mismatch
from tests.support.replay import compiled, request

STORIES = int(os.environ.get("DNSGUARD_FUZZ_STORIES", "80"))
"""How many stories are gone through; a thousand take some three minutes."""

_store = compiled("_store")

CACHE = """
cache:
  snapshot: {enabled: false}
"""
CLIENTS = """
client_identification:
  enabled: true
  clients:
    - {ip: 192.0.2.1, name: tablet, group_id: kids}
client_groups:
  - id: kids
    blocklist: {sources: [{name: games, url: /g}]}
    safe_search: {enabled: true}
"""
LOCAL = """
local_records:
  - {name: nas.example.org, type: A, value: 192.0.2.7, ttl: 50}
  - {name: link.example.org, type: CNAME, value: t10.example.net}
"""
POLICIES = [
    CACHE + CLIENTS + LOCAL + "blocklists: {sources: [{name: ads, url: /a}]}\n",
    CACHE
    + "  min_ttl: 0s\n"
    + CLIENTS
    + "blocklists: {sources: [{name: ads, url: /a}], denylist: [t3.example.net]}\n"
    "response: {blocked: 192.0.2.80, blocked_ttl: 9s}\n",
    CACHE
    + "  min_ttl: 4s\n  refresh: {enabled: false}\n"
    + LOCAL
    + "safe_search: {enabled: true}\nresponse: {blocked: null_ip}\n",
    # Like the first one, but for rules.
    CACHE
    + CLIENTS
    + LOCAL
    + "blocklists: {sources: [{name: ads, url: /a}], denylist: [t3.example.net],"
    " allowlist: [x.ads.example]}\n",
]

OTHER_LISTS = DomainSet.build(
    [
        ("ads", [(fromText("ads.example"), 2), (fromText("t10.example.net"), 3)]),
        ("games", [(fromText("games.example"), 1), (fromText("many.example.net"), 2)]),
    ]
)
"""The lists after somebody has fetched them anew."""

NAMES = [
    *(f"t{ttl}.example.net" for ttl in (1, 3, 10, 60, 300)),
    "many.example.net",
    "alias.example.net",
    "nx.example.net",
    "empty.example.net",
    "fail.example.net",
    "refused.example.net",
    "slow.example.net",
    "ads.example",
    "x.ads.example",
    "games.example",
    "nas.example.org",
    "link.example.org",
    "localhost",
    "7.2.0.192.in-addr.arpa",
    "www.bing.com",
    "www.google.com",
]

ADDRESSES = [
    b"\xc0\0\2\1",
    b"\xc0\0\2\2",
    bytes(10) + b"\xff\xff\xc0\0\2\1",
    bytes.fromhex("20010db8") + bytes(11) + b"\1",
]


@cache
def configuration(number: int) -> Config:
    """
    One of the configurations.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "dnsguard.yaml")
        path.write_text(POLICIES[number])
        return load(Source.fromEnvironment({}, str(path), None), {}).config


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """
    Requests for names that something is known of; some of them not quite right.
    """
    name = fromText(draw(st.sampled_from(NAMES)))
    if draw(st.integers(0, 3)) == 0:
        name = bytes(
            octet ^ 0x20 if chr(octet).isalpha() and draw(st.booleans()) else octet
            for octet in name
        )
    whole = bytearray(
        request(
            name,
            draw(st.sampled_from([1, 1, 1, 28, 16, 65, 5, 255])),
            id=draw(st.integers(0, 65535)),
            flags=draw(st.sampled_from([0x0100, 0x0100, 0, 0x0110, 0x0120, 0x0130])),
            edns=draw(st.sampled_from([None, None, 1232, 1232, 0, 512, 900, 4096, 65535])),
            dnssecOK=draw(st.booleans()),
            cls=draw(st.sampled_from([1] * 15 + [3])),
        )
    )
    kind = draw(st.integers(0, 15))
    if kind == 0:
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    elif kind == 1:
        del whole[draw(st.integers(1, len(whole))) :]
    elif kind == 2:
        whole += draw(st.binary(min_size=1, max_size=12))
    elif kind == 3 and whole[11]:
        option = struct.pack("!HH", draw(st.sampled_from([3, 8, 10, 12])), 2) + b"\0\1"
        whole[-2:] = struct.pack("!H", len(option)) + option
    return bytes(whole)


class Replaying(RuleBasedStateMachine):
    """
    Requests, time, policies and clearings in any order.
    """

    total = replayed = carried = 0

    @initialize(number=st.integers(0, len(POLICIES) - 1))
    def begin(self, number: int) -> None:
        """
        Begin with one of the policies.
        """
        config = configuration(number)
        self.asked: list[bytes] = []

        policies = Policies(makePolicy(config, LISTS, 0.0)[0])
        self.server = ComposedServer(config, policies, self.stores())
        self.coming: tuple[Policy, list[Deferred[None]]] | None = None

    @staticmethod
    def stores() -> list[Any]:
        """
        Make the stores.
        """
        found: list[Any] = [PythonReplayStore()]
        if _store is not None:
            found.append(_store.CompiledReplayStore())
        return found

    def teardown(self) -> None:
        """
        Add up what was replayed.
        """
        server = getattr(self, "server", None)
        if server is not None:
            server.close()
            Replaying.total += server.asked
            Replaying.replayed += sum(server.replayed)
            Replaying.carried += sum(store.counters()["carried"] for store in server.stores)

    @rule(datagram=requests(), address=st.sampled_from(ADDRESSES))
    def ask(self, datagram: bytes, address: bytes) -> None:
        """
        Ask something new, twice.
        """
        self.asked.append(datagram)
        self.server.ask(datagram, address)
        self.server.ask(datagram, address)

    @rule(number=st.integers(0, 99), address=st.sampled_from(ADDRESSES), id=st.integers(0, 65535))
    def again(self, number: int, address: bytes, id: int) -> None:
        """
        Ask once more what was asked, under another id, whoever it was.
        """
        if self.asked:
            datagram = self.asked[number % len(self.asked)]
            self.server.ask(struct.pack("!H", id)[: len(datagram)] + datagram[2:], address)

    @rule()
    def all(self) -> None:
        """
        Ask for the latest once more, each from everywhere.
        """
        for datagram in self.asked[-4:]:
            for address in ADDRESSES:
                self.server.ask(datagram, address)

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.9, 1.0, 2.5, 5.0, 9.5, 15.0, 40.0, 301.0]))
    def wait(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.server.clock.advance(seconds)

    @rule()
    def settle(self) -> None:
        """
        Let the slow upstream answer.
        """
        self.server.truth.settle()

    def policy(self, number: int, pause: bool, fetched: bool = False) -> Policy:
        """
        Make another policy, or the same again; perhaps with a pause, or of lists
        fetched anew.
        """
        now = self.server.clock.seconds()
        policy = makePolicy(configuration(number), OTHER_LISTS if fetched else LISTS, now)[0]
        return policy.at(now, {"kids": now + 60.0} if pause else {})

    @rule(number=st.integers(0, len(POLICIES) - 1), pause=st.booleans(), fetched=st.booleans())
    def publish(self, number: int, pause: bool, fetched: bool = False) -> None:
        """
        Publish a policy that nobody has prepared for.
        """
        self.server.policies.publish(self.policy(number, pause, fetched))

    @rule(number=st.sampled_from([0, 0, 1, 2, 3]), pause=st.booleans(), fetched=st.booleans())
    def prepare(self, number: int, pause: bool, fetched: bool) -> None:
        """
        Begin to carry replies over to a policy.
        """
        policy = self.policy(number, pause, fetched)
        carriers = self.server.carriers
        self.coming = (
            policy,
            [Deferred.fromCoroutine(each.prepare(policy)) for each in carriers],
        )

    @rule()
    def carry(self) -> None:
        """
        Publish the policy that was prepared for.
        """
        if self.coming is not None:
            (policy, preparing), self.coming = self.coming, None
            while not all(each.called for each in preparing):
                self.server.clock.advance(carrier.PAUSE_SECONDS)
            self.server.policies.publish(policy)

    @rule(number=st.sampled_from([0, 3]), fetched=st.booleans())
    def reload(self, number: int, fetched: bool) -> None:
        """
        Go over to a policy as a server does, and ask for what was asked last.
        """
        self.prepare(number, False, fetched)
        self.carry()
        self.all()

    @rule(name=st.none() | st.sampled_from(NAMES))
    def clear(self, name: str | None) -> None:
        """
        Clear a name from the caches, or everything.
        """
        self.server.clear(None if name is None else fromText(name))

    @rule()
    def drain(self) -> None:
        """
        Tell those who count.
        """
        self.server.drain()


class ReplayingTests(SynchronousTestCase):
    """
    The replay stores in the whole server.
    """

    def setUp(self) -> None:
        # So that much can happen while replies are gone through.
        self.patch(carrier, "_AT_ONCE", 1)
        self.patch(carrier, "_TURN_MOST", 2)

    def run_(self, examples: int) -> None:
        """
        Go through so many stories.
        """
        Replaying.total = Replaying.replayed = Replaying.carried = 0
        run_state_machine_as_test(
            Replaying,
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_stories(self) -> None:
        """
        Whatever is asked, waited for, published and cleared, a store says
        what the chain says at that moment.
        """
        self.run_(STORIES)
        log.msg(f"asked: {Replaying.total}; replayed by both stores: {Replaying.replayed}")
        self.assertTrue(Replaying.replayed > STORIES // 2, Replaying.replayed)
        self.assertTrue(Replaying.carried > STORIES // 2, Replaying.carried)

    def test_everyKind(self) -> None:
        """
        Of each kind of answer that may be replayed some are.
        """
        story = Replaying()
        story.begin(0)
        for name in NAMES:
            for type in (1, 65):
                for _ in range(3):
                    story.server.ask(request(name, type), ADDRESSES[0])
        story.teardown()
        self.assertEqual(
            story.server.outcomes,
            {Outcome.CACHED, Outcome.LOCAL, Outcome.BLOCKED, Outcome.SAFE_SEARCH},
        )

    def test_clearedTarget(self) -> None:
        """
        What an alias of the operator's, or safe search, made of another name's answer
        goes when that name is cleared.
        """
        story = Replaying()
        story.begin(0)
        for name, target in [
            ("link.example.org", "t10.example.net"),
            ("www.bing.com", "strict.bing.com"),
        ]:
            for _ in range(3):
                story.server.ask(request(name), ADDRESSES[0])
            story.clear(target)
            story.server.ask(request(name), ADDRESSES[0])
        story.teardown()

    def test_wouldBeFound(self) -> None:
        """
        A store that misses a policy, a clearing, a second or the view of a client
        is found out.
        """
        games, cached = request("games.example"), request("t60.example.net")
        lists = request("t10.example.net")
        kid, other = ADDRESSES[:2]

        def published(story: Replaying) -> None:
            story.server.ask(games, kid)
            story.publish(2, False)

        def asked(story: Replaying) -> None:
            story.server.ask(games, other)
            story.server.ask(games, other)

        def cleared(story: Replaying) -> None:
            story.clear("t60.example.net")

        def reloaded(story: Replaying) -> None:
            story.server.ask(lists, kid)
            story.server.ask(lists, kid)
            story.reload(0, True)

        def begunAnew(story: Replaying) -> None:
            story.prepare(0, False, False)
            story.carry()
            reloaded(story)

        mutants = [
            ("beginCarrying", _easily, reloaded, lists),
            ("adopt", _always, begunAnew, lists),
            ("adopt", _number, published, games),
            ("forget", lambda self, qname: None, cleared, cached),
            ("lookup", _late, lambda story: story.wait(5.0), cached),
            ("lookup", _anybody, asked, games),
        ]
        for name, method, happens, datagram in mutants:
            self.patch(Mutant, name, method)
            self.patch(Replaying, "stores", staticmethod(lambda: [Mutant()]))
            story = Replaying()
            story.begin(0)
            story.server.ask(cached, kid)
            story.server.ask(cached, kid)
            happens(story)
            with self.assertRaises(Mismatch, msg=name):
                story.server.ask(datagram, kid)
            story.teardown()
            self.patch(Mutant, name, getattr(PythonReplayStore, name))


class Mutant(PythonReplayStore):
    """
    A store that something is wrong with.
    """


def _number(self: PythonReplayStore, policy: Any, kept: Kept = Kept.NOTHING) -> None:
    if not self.generation:
        PythonReplayStore.adopt(self, policy)
    self.generation = policy.generation


def _easily(self: PythonReplayStore, judge: Any) -> None:
    PythonReplayStore.beginCarrying(self, lambda facts: facts)


def _always(self: PythonReplayStore, policy: Any, kept: Kept = Kept.NOTHING) -> None:
    PythonReplayStore.adopt(self, policy, Kept.ALL)


def _late(self: PythonReplayStore, datagram: bytes, address: bytes, now: float) -> bytes | None:
    return PythonReplayStore.lookup(self, datagram, address, now - 2.0)


def _anybody(self: PythonReplayStore, datagram: bytes, address: bytes, now: float) -> bytes | None:
    return PythonReplayStore.lookup(self, datagram, ADDRESSES[1], now)
