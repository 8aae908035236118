# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.debugging}.
"""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.debugging import DebugFamily
from dnsguard.services.pyspy import NativeProfileFailed
from dnsguard.services.sampler import Frame, Profile, ProfileBusy
from tests.support.control import Paper, PromptMemoryReactor, Response, ask, factoryOf

PROFILE = Profile({(Frame("MainThread"), Frame("run", "base.py", 1)): 3}, 1.0, 0.01, 0.001)


class Answering:
    """
    A profiler and a watch that answer as the test wants.
    """

    def __init__(self, result: Any) -> None:
        self.result = result
        self.asked: list[float] = []

    def profile(self, seconds: float) -> Deferred[Any]:
        """
        Note it, and answer.
        """
        self.asked.append(seconds)
        if isinstance(self.result, Exception):
            return fail(self.result)
        return succeed(self.result)

    watch = profile


class DebugFamilyTests(SynchronousTestCase):
    """
    Administrators may take profiles, if that is switched on.
    """

    def setUp(self) -> None:
        """
        Profilers that answer at once.
        """
        self.enabled = True
        self.sampler = Answering(PROFILE)
        self.native = Answering(PROFILE)
        self.watcher = Answering({"held_bytes": 5})
        self.paper = Paper()

    def get(self, path: str, token: str = "admin") -> Response:
        """
        Ask for something.
        """
        family = DebugFamily(
            lambda: self.enabled,
            self.sampler,
            self.native,
            self.watcher,
            lambda: {"reactor": "Fake"},
            maybeDeferred,
        )
        factory = factoryOf(PromptMemoryReactor(), family, paper=self.paper)
        return ask(factory, "GET", path, token=token)

    def test_picture(self) -> None:
        """
        A profile is a picture, by default of ten seconds.
        """
        response = self.get("/debug/profile")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["content-type"], "image/svg+xml")
        ElementTree.fromstring(response.body)
        self.assertEqual((self.sampler.asked, self.native.asked), ([10], []))
        self.assertEqual(self.paper.noted, [("admin", "GET", "/debug/profile", 200)])

    def test_formats(self) -> None:
        """
        It can be had as a file for speedscope, which is to be saved, and as
        text.
        """
        response = self.get("/api/v1/debug/profile?seconds=2&format=speedscope")
        self.assertEqual(json.loads(response.body)["exporter"], "dnsguard")
        self.assertIn("profile.speedscope.json", response.headers["content-disposition"])
        response = self.get("/debug/profile?seconds=2&format=folded")
        self.assertEqual(response.body, b"MainThread;run (base.py:1) 3\n")
        self.assertEqual(self.sampler.asked, [2, 2])

    def test_native(self) -> None:
        """
        Compiled code is seen if that is asked for; where it can't be, why.
        """
        self.assertEqual(self.get("/debug/profile?native=true").status, 200)
        self.assertEqual((self.sampler.asked, self.native.asked), ([], [10]))
        self.native.result = NativeProfileFailed("py-spy isn't installed")
        response = self.get("/debug/profile?native=true")
        self.assertEqual(response.status, 501)
        self.assertIn("py-spy isn't installed", response.json["error"])

    def test_heapAndReactor(self) -> None:
        """
        Memory and the reactor's state are JSON.
        """
        self.assertEqual(self.get("/debug/heap?seconds=0.5").json, {"held_bytes": 5})
        self.assertEqual(self.watcher.asked, [0.5])
        self.assertEqual(self.get("/debug/reactor").json, {"reactor": "Fake"})

    def test_onlyAdministrators(self) -> None:
        """
        Nobody else may: a profile shows what isn't theirs and costs time.
        """
        for path in ("/debug/profile", "/debug/heap", "/debug/reactor"):
            self.assertEqual(self.get(path, token="").status, 401)
            self.assertEqual(self.get(path, token="operator").status, 403)
        self.assertEqual(self.sampler.asked + self.watcher.asked, [])

    def test_switchedOff(self) -> None:
        """
        Unless it is switched on, nobody may.
        """
        self.enabled = False
        for path in ("/debug/profile", "/debug/heap", "/debug/reactor"):
            response = self.get(path)
            self.assertEqual(response.status, 403)
            self.assertIn("control.debug", response.json["error"])
        self.assertEqual(self.sampler.asked + self.watcher.asked, [])

    def test_busy(self) -> None:
        """
        One at a time.
        """
        self.sampler.result = self.watcher.result = ProfileBusy()
        for path in ("/debug/profile", "/debug/heap"):
            self.assertEqual(self.get(path).status, 409)

    def test_boundedTime(self) -> None:
        """
        Nobody can have it look for ever, or in a way there isn't.
        """
        for query in ("seconds=0", "seconds=61", "seconds=x", "format=png"):
            self.assertEqual(self.get(f"/debug/profile?{query}").status, 400, query)
        for query in ("seconds=0", "seconds=61", "seconds=nan"):
            self.assertEqual(self.get(f"/debug/heap?{query}").status, 400, query)
