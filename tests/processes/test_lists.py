# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.lists}.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import newBuilder
from dnsguard.processes.lists import PublishedLists
from dnsguard.services.listsource import ListSource
from dnsguard.wire.names import fromText


def promptly(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """
    Call a function at once, as if in a thread.
    """
    return maybeDeferred(function, *arguments)


class PublishedListsTests(SynchronousTestCase):
    """
    Tests for L{PublishedLists}.
    """

    def setUp(self) -> None:
        self.lists = PublishedLists(promptly, [ListSource("ads", "file:///ads")])

    def compiled(self, *names: str) -> str:
        """
        The file of compiled lists.
        """
        builder = newBuilder()
        builder.addSource("ads")
        for name in names:
            builder.add(fromText(name), 1)
        path = Path(self.mktemp())
        path.write_bytes(builder.build())
        return str(path)

    def adopt(self, file: str, number: int) -> bool:
        """
        Map a file.
        """
        return self.successResultOf(Deferred.fromCoroutine(self.lists.adopt(file, number)))

    def test_adopts(self) -> None:
        """
        Another number is another file to map; without one there are no lists.
        """
        self.assertEqual(self.lists.statistics.names, 0)
        self.assertFalse(self.adopt("", 0))
        self.assertTrue(self.adopt(self.compiled("a.example", "b.example"), 1))
        self.assertEqual((self.lists.statistics.names, self.lists.lists.number), (2, 1))
        self.assertFalse(self.adopt("/nowhere", 1))
        self.assertTrue(self.adopt("", 2))
        self.assertEqual(self.lists.statistics.names, 0)

    def test_missing(self) -> None:
        """
        A file that isn't there leaves everything as it was.
        """
        self.adopt(self.compiled("a.example"), 1)
        adopting = Deferred.fromCoroutine(self.lists.adopt("/nowhere/lists.set", 2))
        self.failureResultOf(adopting, PolicyError)
        self.assertEqual((self.lists.statistics.names, self.lists.lists.number), (1, 1))

    def test_fetchesNothing(self) -> None:
        """
        Other sources are a matter of the main process; all is there from the
        start.
        """
        other = ListSource("more", "file:///more")
        self.assertIs(self.successResultOf(self.lists.load([other])), self.lists.lists)
        self.assertEqual(self.lists.sources, (other,))
        self.successResultOf(self.lists.whenRestored())
        self.lists.configure(refreshInterval=1.0)
