# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.kinds}.
"""

from __future__ import annotations

import enum
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.document import parseDocument
from dnsguard.config.kinds import FAULTY, Choice, Context, Flag, Kind, Many, Text
from dnsguard.config.quantities import Integer


class Colour(enum.Enum):
    """
    Words to choose from.
    """

    RED = "red"
    NONE = "off"


class KindCase(SynchronousTestCase):
    """
    Reading values by their kind.
    """

    def read(self, kind: Kind, text: str, context: Context | None = None) -> Any:
        """
        The value of a text in YAML; it must be fine.
        """
        context = context or Context()
        value = kind.convert(parseDocument(text.encode(), "a.yaml"), ("key",), context)
        self.assertEqual(context.problems, [])
        return value

    def refuse(self, kind: Kind, text: str) -> str:
        """
        What is wrong with a text in YAML.
        """
        context = Context({"SECRET": "hunter2"})
        value = kind.convert(parseDocument(text.encode(), "a.yaml"), ("key",), context)
        self.assertIs(value, FAULTY)
        self.assertEqual(len(context.problems), 1, context.problems)
        problem = context.problems[0]
        self.assertEqual((problem.file, problem.line), ("a.yaml", 1))
        self.assertTrue(problem.path.startswith("key"))
        return problem.message


class KindTests(KindCase):
    """
    Tests for the kinds of words and lists.
    """

    def test_flag(self) -> None:
        """
        A flag is any of YAML's words for yes and no, quoted or not.
        """
        for text, value in [("true", True), ("Yes", True), ("ON", True), ('"true"', True)]:
            self.assertIs(self.read(Flag(), text), value)
        for text in ["false", "no", "off"]:
            self.assertIs(self.read(Flag(), text), False)
        self.assertEqual(self.refuse(Flag(), "maybe"), "'maybe': expected true or false")
        self.assertEqual(self.refuse(Flag(), "1"), "'1': expected true or false")

    def test_shape(self) -> None:
        """
        A map or list where a single value belongs is named as such.
        """
        self.assertEqual(self.refuse(Flag(), "[true]"), "expected true or false, not a list")
        self.assertEqual(self.refuse(Flag(), "{a: 1}"), "expected true or false, not a map")

    def test_choice(self) -> None:
        """
        A choice is one of its words, also where YAML sees a boolean.
        """
        kind = Choice(Colour, {"crimson": "red"})
        self.assertIs(self.read(kind, "Red"), Colour.RED)
        self.assertIs(self.read(kind, "off"), Colour.NONE)
        self.assertIs(self.read(kind, "crimson"), Colour.RED)
        self.assertEqual(self.refuse(kind, "blue"), "'blue': expected one of red, off")

    def test_text(self) -> None:
        """
        Text is what was written: numbers, too, and YAML's booleans.
        """
        self.assertEqual(self.read(Text(), "no"), "no")
        self.assertEqual(self.read(Text(), "0123"), "0123")
        self.assertEqual(self.read(Text(), "'  x  '"), "x")
        self.assertIn("control character", self.refuse(Text(), r'"a\nb"'))
        self.assertEqual(self.refuse(Text("a name"), '""'), "'': expected a name")
        self.assertEqual(self.refuse(Text("a name", most=3), "abcd"), "'abcd': expected a name")
        self.assertEqual(self.refuse(Text("an id", "[a-z]+"), "A1"), "'A1': expected an id")
        self.assertEqual(self.read(Text(fold=True), "TikTok"), "tiktok")

    def test_references(self) -> None:
        """
        References are put in where a kind allows them, and messages show them
        as they were written.
        """
        context = Context({"SECRET": "hunter2"})
        self.assertEqual(self.read(Text(references=True), "x${env:SECRET}", context), "xhunter2")
        self.assertEqual(self.read(Text(), "x${env:SECRET}", context), "x${env:SECRET}")
        message = self.refuse(Text("a number", "[0-9]+", references=True), "${env:SECRET}")
        self.assertEqual(message, "'${env:SECRET}': expected a number")

    def test_hidden(self) -> None:
        """
        A secret doesn't get into messages.
        """
        message = self.refuse(Text("a token", "[0-9]+", hidden=True), "hunter2")
        self.assertEqual(message, "the value: expected a token")

    def test_many(self) -> None:
        """
        A list is a tuple; every member that is wrong is told.
        """
        self.assertEqual(self.read(Many(Integer()), "[1, 2]"), (1, 2))
        self.assertEqual(self.read(Many(Integer()), "[]"), ())
        context = Context()
        node = parseDocument(b"[1, x, 2, y]", "a.yaml")
        self.assertIs(Many(Integer()).convert(node, ("key",), context), FAULTY)
        self.assertEqual([p.path for p in context.problems], ["key[1]", "key[3]"])
        self.assertEqual(self.refuse(Many(Integer(), least=1), "[]"), "needs at least 1 of them")
        self.assertEqual(self.refuse(Many(Integer()), "5"), "expected a list, not '5'")
        self.assertIn("nothing stands behind", self.refuse(Many(Text()), "- "))

    def test_single(self) -> None:
        """
        Where a kind says so, a list of one may be written without brackets.
        """
        self.assertEqual(self.read(Many(Integer(), single=True), "5"), (5,))
