# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.perf.questions}.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.perf import questions
from dnsguard.cli.perf.questions import (
    PREFIXES,
    ROOTS,
    TLDS,
    Questions,
    generate,
    readNames,
    shuffled,
)
from dnsguard.wire.layout import RD, scan
from dnsguard.wire.names import toText


class NameTests(SynchronousTestCase):
    """
    Tests for where names come from.
    """

    def write(self, text: str) -> str:
        """
        A file of names.
        """
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_generate(self) -> None:
        """
        Made-up names have the documented shape, differ, and are the same for
        the same seed.
        """
        self.assertEqual((len(PREFIXES), len(ROOTS), len(TLDS)), (20, 18, 8))
        names = generate(500, Random(7))
        self.assertEqual(len(set(names)), 500)
        for place, name in enumerate(names):
            self.assertRegex(name, rf"^[a-z]+-{place}\.[a-z]+\.[a-z]+$")
        self.assertEqual(names, generate(500, Random(7)))
        self.assertNotEqual(names, generate(500, Random(8)))

    def test_shuffle(self) -> None:
        """
        Shuffled names are the same ones in another order.
        """
        names = generate(100, Random(1))
        mixed = shuffled(names, Random(1))
        self.assertNotEqual(mixed, names)
        self.assertEqual(sorted(mixed), sorted(names))

    def test_read(self) -> None:
        """
        A file has a name a line; empty lines and comments are skipped.
        """
        path = self.write("# names\nexample.org\n\n  www.example.org.  \n")
        self.assertEqual(readNames(path), ["example.org", "www.example.org."])

    def test_bad(self) -> None:
        """
        What isn't a name is told with its place; so are files without names
        and with too many.
        """
        for text, reason in [
            ("example.org\na..b\n", ":2: 'a..b': empty label"),
            ("\udcff\n".encode("utf-8", "surrogateescape").decode("latin-1"), ":1: "),
            ("# nothing\n", ": no names in it"),
        ]:
            path = self.write(text)
            problem = self.assertRaises(ValueError, readNames, path)
            self.assertTrue(str(problem).startswith(path + reason), problem)
        self.patch(questions, "MOST_NAMES", 2)
        path = self.write("a\nb\nc\n")
        self.assertIn("more than 2", str(self.assertRaises(ValueError, readNames, path)))


class QuestionsTests(SynchronousTestCase):
    """
    Tests for L{Questions}.
    """

    def test_messages(self) -> None:
        """
        Each question is a whole message.
        """
        made = Questions(["example.org", "WWW.example.org."], 28)
        self.assertEqual(len(made), 2)
        layouts = [scan(made[place]) for place in range(2)]
        self.assertEqual(
            [toText(layout.name) for layout in layouts], ["example.org", "www.example.org"]
        )
        for layout in layouts:
            self.assertEqual((layout.type, layout.flags, layout.id), (28, RD, 0))
