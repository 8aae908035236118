# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.convert}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.convert import Section, allPaths, convertRoot
from dnsguard.config.document import parseDocument
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import FAULTY, Context, Many, Text
from dnsguard.config.quantities import Integer


@attrs.frozen
class Inner:
    """
    A section in a section.
    """

    name: str = key(Text("a name"), meaning="Its name.")
    low: int = key(Integer(), 1, meaning="Least.")
    high: int = key(Integer(), 2, meaning="Most.")

    def faults(self) -> Iterator[Fault]:
        """
        The least isn't more than the most.
        """
        if self.low > self.high:
            yield Fault(("low",), "more than high", ("high",))


@attrs.frozen
class Outer:
    """
    A root.
    """

    limit: int | None = key(Integer(), None, unset="no limit", meaning="A limit.")
    inner: Inner = key(Section(Inner), Inner(name="x"), meaning="One.")
    many: tuple[Inner, ...] = key(
        Many(Section(Inner, shorthand="name"), single=True), (), meaning="Many."
    )

    def faults(self) -> Iterator[Fault]:
        """
        The inner ones stay below the limit.
        """
        for index, inner in enumerate(self.many):
            if self.limit is not None and inner.high > self.limit:
                yield Fault(("many", index, "high"), "over the limit", ("limit",))


class ConvertTests(SynchronousTestCase):
    """
    Tests for L{convertRoot} and L{Section}.
    """

    def convert(self, text: str) -> tuple[Any, list[str]]:
        """
        The root of a text, and what is wrong with it.
        """
        context = Context()
        value = convertRoot(Outer, parseDocument(text.encode(), "f"), context)
        return value, [str(problem) for problem in context.problems]

    def test_values(self) -> None:
        """
        Keys that are set have their values, others their defaults; a key
        without a value is not set.
        """
        value, problems = self.convert(
            "many: [{name: a, high: 9}]\ninner: {name: b, low: ~}\nlimit:"
        )
        self.assertEqual(problems, [])
        self.assertEqual(
            value, Outer(inner=Inner(name="b"), many=(Inner(name="a", high=9),), limit=None)
        )

    def test_zero(self) -> None:
        """
        Zero is not the same as not set.
        """
        self.assertEqual(self.convert("limit: 0")[0].limit, 0)
        self.assertIsNone(self.convert("limit:")[0].limit)

    def test_shorthand(self) -> None:
        """
        Where a section has a shorthand, a scalar is the value of one key.
        """
        value, problems = self.convert("many: [a, {name: b}]")
        self.assertEqual(problems, [])
        self.assertEqual(value.many, (Inner(name="a"), Inner(name="b")))
        self.assertEqual(self.convert("many: a")[0].many, (Inner(name="a"),))

    def test_everyProblem(self) -> None:
        """
        All that is wrong is told at once: values, unknown and missing keys,
        and rules between keys that could be read.
        """
        value, problems = self.convert(
            "limit: x\ninner: {lo: 1, name: n, low: 5}\nmany:\n- {low: 1}\n- {name: a, high: y, low: 9}\n- [1]\n"
        )
        self.assertIs(value, FAULTY)
        self.assertEqual(
            problems,
            [
                "f:1:8: limit: 'x': expected a whole number, 0 or more",
                "f:2:9: inner.lo: unknown key 'lo'; did you mean low?",
                "f:2:30: inner.low: more than high",
                "f:4:3: many[0]: key name is missing: expected a name",
                "f:5:19: many[1].high: 'y': expected a whole number, 0 or more",
                "f:6:3: many[2]: expected a map with name, low, high, or a name, not a list",
            ],
        )

    def test_faults(self) -> None:
        """
        A rule of an outer section blames the value in the inner one; it says
        nothing of values that can't be read.
        """
        self.assertEqual(
            self.convert("limit: 5\nmany: [{name: a, high: 6}]")[1],
            ["f:2:24: many[0].high: over the limit"],
        )
        # The default of a list's member is to blame: there is but the member.
        self.assertEqual(
            self.convert("limit: 1\nmany: [{name: a}]")[1], ["f:2:8: many[0].high: over the limit"]
        )
        self.assertEqual(len(self.convert("limit: z\nmany: [{name: a, high: 6}]")[1]), 1)

    def test_unknownElsewhere(self) -> None:
        """
        A key in the wrong section is sent to the right one.
        """
        problems = self.convert("lru_grace_period: 1")[1]
        self.assertEqual(
            problems,
            [
                "f:1:1: lru_grace_period: unknown key 'lru_grace_period'; did you mean cache.lru_grace_period?"
            ],
        )

    def test_manyUnknown(self) -> None:
        """
        Thousands of unknown keys are told without a hint for each.
        """
        problems = self.convert("\n".join(f"limi{n}: 1" for n in range(3000)))[1]
        self.assertEqual(len(problems), 3000)
        self.assertNotIn("did you mean", problems[-1])

    def test_allPaths(self) -> None:
        """
        Every key is found by its path, those in lists by brackets.
        """
        self.assertEqual(
            [path for path, _ in allPaths(Outer)],
            ["limit", "inner", "inner.name", "inner.low", "inner.high",
             "many", "many[].name", "many[].low", "many[].high"],
        )  # fmt: skip
