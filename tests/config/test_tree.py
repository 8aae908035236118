# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.tree}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.document import parseDocument
from dnsguard.config.problem import KeyPath
from dnsguard.config.tree import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    find,
    insert,
    merge,
    remove,
)


def tree(text: str, file: str = "a.yaml") -> Mapping:
    """
    The tree of a text that is a map.
    """
    node = parseDocument(text.encode(), file)
    assert isinstance(node, Mapping)
    return node


def plain(node: Node) -> Any:
    """
    A tree as lists, dicts and text.
    """
    if isinstance(node, Mapping):
        return {name: plain(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.text


class MergeTests(SynchronousTestCase):
    """
    Tests for L{merge}.
    """

    def merged(self, base: str, above: str) -> Any:
        """
        One text laid over another one.
        """
        return plain(merge(tree(base), tree(above)))

    def test_maps(self) -> None:
        """
        Maps are merged key by key, at any depth.
        """
        self.assertEqual(
            self.merged("a: {b: 1, c: {d: 2}}", "a: {c: {e: 3}}\nf: 4"),
            {"a": {"b": "1", "c": {"d": "2", "e": "3"}}, "f": "4"},
        )

    def test_others(self) -> None:
        """
        Lists and scalars replace what is below them as a whole.
        """
        self.assertEqual(self.merged("a: [1, 2]\nb: 1", "a: [3]\nb: 0"), {"a": ["3"], "b": "0"})
        self.assertEqual(self.merged("a: [1, 2]", "a: []"), {"a": []})
        self.assertEqual(self.merged("a: {b: 1}", "a: 5"), {"a": "5"})

    def test_silence(self) -> None:
        """
        A key without a value says nothing; an empty text does say something.
        """
        for nothing in ("a:", "a: ~", "a: null"):
            self.assertEqual(self.merged("a: {b: 1}", nothing), {"a": {"b": "1"}})
        self.assertEqual(self.merged("a: 1", 'a: ""'), {"a": ""})
        self.assertEqual(self.merged("a: 1", 'a: "null"'), {"a": "null"})

    def test_places(self) -> None:
        """
        A value keeps the place where it was written.
        """
        node = merge(tree("a: {b: 1, c: 2}", "low"), tree("\na: {c: 3}", "high"))
        for path, place in [(("a", "b"), "low:1:8"), (("a", "c"), "high:2:8")]:
            entry = find(node, path)
            assert entry is not None
            self.assertEqual(str(entry.value.place), place)


class PathTests(SynchronousTestCase):
    """
    Tests for L{find}, L{insert} and L{remove}.
    """

    def test_find(self) -> None:
        """
        Entries are found by key names and indexes; what isn't there isn't.
        """
        root = tree("a: [x, {b: 7}]\nc: ")
        entry = find(root, ("a", 1, "b"))
        assert entry is not None
        assert isinstance(entry.value, Scalar)
        self.assertEqual(entry.value.text, "7")
        paths: list[KeyPath] = [("a", 2), ("a", "b"), ("a", 0, "b"), ("d",), ("c", "x"), ("c", 0)]
        for path in paths:
            self.assertIsNone(find(root, path), path)

    def test_insert(self) -> None:
        """
        Maps are made on the way to where an entry is put, and nothing else is
        touched.
        """
        root = tree("a: {b: 1}\nempty:")
        entry = root.entries["a"]
        self.assertEqual(
            plain(insert(root, ("x", "y"), entry)),
            {"a": {"b": "1"}, "empty": "", "x": {"y": {"b": "1"}}},
        )
        self.assertEqual(
            plain(insert(root, ("empty", "y"), root.entries["empty"]))["empty"], {"y": ""}
        )
        self.assertEqual(plain(root), {"a": {"b": "1"}, "empty": ""})
        self.assertRaises(ValueError, insert, root, ("a", "b", "c"), entry)

    def test_remove(self) -> None:
        """
        An entry is taken out, and maps that are empty then.
        """
        root = tree("a: {b: {c: 1}, d: 2}\ne: {f: {g: 3}}")
        self.assertEqual(
            plain(remove(root, ("a", "b", "c"))), {"a": {"d": "2"}, "e": {"f": {"g": "3"}}}
        )
        self.assertEqual(plain(remove(root, ("e", "f", "g"))), {"a": {"b": {"c": "1"}, "d": "2"}})
        self.assertEqual(plain(remove(root, ("x", "y"))), plain(root))
