# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What tests of replay stores share: they run against both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.replay.store import PythonReplayStore
from dnsguard.wire.layout import scan
from tests.support.replay import compiled, facts, reply, request

if TYPE_CHECKING:
    Case = SynchronousTestCase
else:
    Case = object

_store = compiled("_store")

V6 = bytes.fromhex("20010db8000000000000000000000001")
"""2001:db8::1."""


class StoreRules(Case):
    """
    The base of rules that hold for every replay store.
    """

    def makeStore(self, **bounds: int) -> PythonReplayStore:
        """
        Make the store to be tested.
        """
        raise NotImplementedError

    def remember(
        self,
        store: PythonReplayStore,
        datagram: bytes,
        *ttls: int,
        seconds: float = 300.0,
        now: float = 100.0,
        view: int | None = 0,
        policy: int | None = None,
    ) -> bytes:
        """
        Make a reply and have it kept.
        """
        made = reply(datagram, *ttls)
        number = store.generation if policy is None else policy
        store.remember(datagram, made, facts(datagram, view, number), seconds, now)
        return made

    def ttls(self, message: bytes | None) -> list[int]:
        """
        The TTLs in a reply.
        """
        assert message is not None
        layout = scan(message)
        return [int.from_bytes(message[at : at + 4], "big") for at in layout.ttls]

    def name(self, number: int) -> bytes:
        """
        A request for one of many names.
        """
        return request(f"host{number}.example.org")


class InPython(SynchronousTestCase):
    """
    A case about the store in Python.
    """

    def makeStore(self, **bounds: int) -> PythonReplayStore:
        """
        Make it.
        """
        return PythonReplayStore(**bounds)


class InC(SynchronousTestCase):
    """
    A case about the compiled store.
    """

    if _store is None:
        skip = "the compiled store isn't built"

    def makeStore(self, **bounds: int) -> PythonReplayStore:
        """
        Make it.
        """
        store: PythonReplayStore = _store.CompiledReplayStore(**bounds)
        return store
