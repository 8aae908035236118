# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.reactorstate}.
"""

from __future__ import annotations

import json
from functools import partial

from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.services.reactorlag import ReactorLagService
from dnsguard.services.reactorstate import nameOf, reactorState
from tests.support.guard import StillReactor


def tick() -> None:
    """
    Be called.
    """


class Watched:
    """
    Something the reactor listens to.
    """


class ReactorStateTests(SynchronousTestCase):
    """
    The reactor's state is described.
    """

    def test_described(self) -> None:
        """
        Calls put off are told by function, and descriptors by kind.
        """
        reactor = StillReactor()
        for seconds in (5.0, 3.0, 4.0):
            reactor.callLater(seconds, tick)
        reactor.addReader(Watched())
        lag = ReactorLagService(reactor)
        lag.lag.add(0.002)
        state = json.loads(json.dumps(reactorState(reactor, lag)))
        self.assertEqual(
            state["delayed_calls"],
            {
                "count": 3,
                "functions": [
                    {"function": f"{__name__}.tick", "count": 3, "soonest_seconds": 3.0}
                ],
            },
        )
        self.assertEqual(
            state["readers"],
            {"count": 1, "kinds": [{"kind": f"{__name__}.Watched", "count": 1}]},
        )
        self.assertEqual(state["writers"]["count"], 0)
        self.assertEqual(state["lag"]["samples"], 1)
        self.assertIn("MainThread", state["threads"])
        self.assertEqual(len(state["garbage"]), 3)

    def test_names(self) -> None:
        """
        What is called is named, whatever calls it.
        """
        name = f"{__name__}.tick"
        self.assertEqual(nameOf(tick), name)
        self.assertEqual(nameOf(partial(partial(tick))), name)
        self.assertEqual(nameOf(LoopingCall(tick)), name)
        self.assertEqual(nameOf(Watched()), f"{__name__}.Watched")
