# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.anonymize}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.observers.anonymize import Anonymity, Anonymizer

KEY = b"k" * 16


class AnonymizerTests(SynchronousTestCase):
    """
    What is kept of a client.
    """

    def test_noneKeepsBoth(self) -> None:
        """
        Without anonymity address and name are kept.
        """
        self.assertEqual(Anonymizer().identity("192.0.2.9", "tv"), ("192.0.2.9", "tv"))

    def test_truncate(self) -> None:
        """
        Truncation leaves /24 and /64, and no name.
        """
        hide = Anonymizer(Anonymity.TRUNCATE).identity
        self.assertEqual(hide("192.0.2.9", "tv"), ("192.0.2.0", ""))
        self.assertEqual(hide("2001:db8:1:2:3:4:5:6", ""), ("2001:db8:1:2::", ""))
        self.assertEqual(hide("::ffff:192.0.2.9", ""), ("192.0.2.0", ""))
        self.assertEqual(hide("fe80::1%eth0", ""), ("fe80::", ""))

    def test_truncateShowsNothingOfWhatIsNoAddress(self) -> None:
        """
        What can't be cut can't be shown.
        """
        self.assertEqual(Anonymizer(Anonymity.TRUNCATE).identity("host", ""), ("", ""))

    def test_hashDependsOnTheKey(self) -> None:
        """
        Equal addresses make equal hashes under one key, others under another.
        """
        one = Anonymizer(Anonymity.HASH, KEY).identity("192.0.2.9", "tv")
        same = Anonymizer(Anonymity.HASH, KEY).identity("192.0.2.9", "")
        other = Anonymizer(Anonymity.HASH, b"x" * 16).identity("192.0.2.9", "")
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)
        self.assertRegex(one[0], r"\A[0-9a-f]{16}\Z")
        self.assertEqual(one[1], "")

    def test_hashNeedsAKey(self) -> None:
        """
        A hash that anybody can compute is refused.
        """
        self.assertRaises(ValueError, Anonymizer, Anonymity.HASH, b"short")

    def test_nobodyStaysNobody(self) -> None:
        """
        An empty address is left as it is.
        """
        self.assertEqual(Anonymizer(Anonymity.HASH, KEY).identity("", ""), ("", ""))
