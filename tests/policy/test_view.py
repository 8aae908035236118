# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.view}.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.localrecords import LocalRecords
from dnsguard.policy.safesearch import Engine, SafeSearch
from dnsguard.policy.specialnames import SpecialName, SpecialNames
from dnsguard.policy.view import NoRules, View
from dnsguard.wire.names import fromText


class ViewTests(SynchronousTestCase):
    """
    Tests for L{View}.
    """

    def test_plainViewLetsEverythingPass(self) -> None:
        """
        A view of which nothing is said decides nothing, answers nothing and
        leads nothing elsewhere.
        """
        view = View()
        for name in map(fromText, ("www.google.com", "localhost", "example.org")):
            self.assertIsNone(view.rules.decide(name, 1))
            self.assertIsNone(view.records.find(name, 1))
            self.assertIsNone(view.specialNames.find(name, 1))
            self.assertIsNone(view.safeSearch.find(name))

    def test_treatment(self) -> None:
        """
        The number and the group don't change how somebody is answered; all
        else does.
        """
        view = View()
        same = attrs.evolve(view, number=3, groupID="kids")
        self.assertEqual(view.treatment, same.treatment)
        others = [
            attrs.evolve(view, rules=NoRules()),
            attrs.evolve(view, cacheDisabled=True),
            attrs.evolve(view, records=LocalRecords({}, {})),
            attrs.evolve(view, specialNames=SpecialNames.of(SpecialName)),
            attrs.evolve(view, safeSearch=SafeSearch.of(Engine)),
            attrs.evolve(view, blockedResponse=BlockedResponse(ttl=1)),
        ]
        treatments = {other.treatment for other in [view, *others]}
        self.assertEqual(len(treatments), 7)
