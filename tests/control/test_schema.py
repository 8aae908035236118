# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.schema}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.schema import (
    ANYTHING,
    Invalid,
    check,
    decimal,
    fromText,
    integer,
    listOf,
    mapOf,
    nullable,
    record,
    text,
    truth,
    word,
)

SCHEMA = record(
    {
        "name": text(least=1, most=5),
        "count": integer(1, 9),
        "share": decimal(0, 1),
        "on": truth(),
        "kind": word(("a", "b")),
        "list": listOf(record({"x": integer()}), most=2),
        "map": mapOf(integer()),
        "maybe": nullable(text()),
        "any": ANYTHING,
    },
    optional=("count", "share", "on", "kind", "list", "map", "maybe", "any"),
)


class CheckTests(SynchronousTestCase):
    """
    Tests for L{check}.
    """

    def test_taken(self) -> None:
        """
        What is as it should be is taken.
        """
        for value in [
            {"name": "a"},
            {"name": "abcde", "count": 9, "share": 1, "on": False, "kind": "b"},
            {"name": "a", "list": [{"x": -5}], "map": {"y": 1}, "maybe": None, "any": [{}]},
        ]:
            check(SCHEMA, value)

    def test_refused(self) -> None:
        """
        What isn't is refused, with the place of what is wrong.
        """
        cases: list[tuple[dict[str, Any], str]] = [
            ({"name": ""}, "name"),
            ({"name": "abcdef"}, "name"),
            ({"name": 5}, "name"),
            ({"name": "a\0"}, "name"),
            ({"name": "\udc00"}, "name"),
            ({"count": 0}, "count"),
            ({"count": 1.0}, "count"),
            ({"count": True}, "count"),
            ({"share": 1.5}, "share"),
            ({"share": float("nan")}, "share"),
            ({"on": 1}, "on"),
            ({"kind": "c"}, "kind"),
            ({"kind": None}, "kind"),
            ({"list": {}}, "list"),
            ({"list": [{"x": 1}] * 3}, "list"),
            ({"list": [{"x": 1}, {"x": "1"}]}, "list[1].x"),
            ({"list": [{}]}, "list[0].x"),
            ({"map": {"y": "1"}}, "map.y"),
            ({"maybe": 5}, "maybe"),
            ({"other": 5}, "other"),
        ]
        for more, place in cases:
            with self.assertRaises(Invalid) as caught:
                check(SCHEMA, {"name": "a", **more})
            self.assertEqual(caught.exception.place, place, more)
        wrong: tuple[Any, ...] = (None, [], "x", 5)
        for value in wrong:
            self.assertRaises(Invalid, check, SCHEMA, value)

    _json = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        ),
        max_leaves=8,
    )

    @settings(max_examples=200, deadline=None)
    @given(_json)
    def test_anything(self, value: Any) -> None:
        """
        Whatever comes is taken or refused, and nothing else happens.
        """
        try:
            check(SCHEMA, value)
        except Invalid as problem:
            self.assertTrue(problem.reason)
        else:
            self.assertIn("name", value)


class FromTextTests(SynchronousTestCase):
    """
    Tests for L{fromText}.
    """

    def test_read(self) -> None:
        """
        Text is read as what the schema says.
        """
        for schema, given_, value in [
            (integer(1, 9), "7", 7),
            (decimal(), "-1.5", -1.5),
            (truth(), "TRUE", True),
            (truth(), "0", False),
            (text(), "", ""),
            (word(("a",)), "a", "a"),
        ]:
            self.assertEqual(fromText(schema, given_, "x"), value)

    def test_refused(self) -> None:
        """
        Anything else is refused: numbers that only Python takes, too.
        """
        for schema, given_ in [
            (integer(), "1_0"),
            (integer(), "٣"),
            (integer(), "9" * 30),
            (integer(1, 9), "10"),
            (integer(), " 1"),
            (decimal(), "nan"),
            (decimal(), "1e9"),
            (decimal(), ""),
            (truth(), "yes"),
            (word(("a",)), "b"),
        ]:
            self.assertRaises(Invalid, fromText, schema, given_, "x")
