# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.words}.
"""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.words import nameOf, typeOf
from dnsguard.wire.names import toText


class WordTests(SynchronousTestCase):
    """
    Tests for L{nameOf} and L{typeOf}.
    """

    def test_international(self) -> None:
        """
        Names in other letters become A-labels.
        """
        self.assertEqual(toText(nameOf("Bücher.example")), "xn--bcher-kva.example")

    def test_types(self) -> None:
        """
        A type is a name, a number or RFC 3597's word for a number.
        """
        self.assertEqual([typeOf(word) for word in ("aaaa", "28", "TYPE28")], [28, 28, 28])

    @settings(max_examples=200, deadline=None)
    @given(st.text())
    def test_anything(self, text: str) -> None:
        """
        Any text is a name or a type, or a ValueError.
        """
        with contextlib.suppress(ValueError):
            self.assertTrue(nameOf(text))
        with contextlib.suppress(ValueError):
            self.assertIn(typeOf(text), range(65536))
