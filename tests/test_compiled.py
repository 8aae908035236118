# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is said of modules that are compiled holds for their source.

A class whose C{.pxd} file makes a C structure of it has no other attributes once it
is compiled. Tests in a source tree wouldn't notice one that is missing there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import dnsguard

ROOT = Path(dnsguard.__file__).parent
SETUP = ROOT.parent / "setup.py"

_CLASS = re.compile(r"^cdef class (\w+)(?:\(\w+\))?:\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_FIELDS = re.compile(r"^    cdef (?:public |readonly )?[\w ]+? (\w+(?:, \w+)*)$", re.MULTILINE)
_METHOD = re.compile(r"^    cp?def (?:[\w ]+ )?(\w+)\(", re.MULTILINE)


def declared(text: str) -> Iterator[tuple[str, set[str], set[str]]]:
    """
    Give each class of a C{.pxd} file: its name, its fields and its methods.
    """
    for name, body in _CLASS.findall(text):
        fields = {each for line in _FIELDS.findall(body) for each in line.split(", ")}
        yield name, fields, set(_METHOD.findall(body))


def written(tree: ast.ClassDef) -> set[str]:
    """
    Give the attributes that a class's own methods set.
    """
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def methods(tree: ast.ClassDef) -> set[str]:
    """
    Give the names of a class's functions.
    """
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def properties(tree: ast.ClassDef) -> set[str]:
    """
    Give the names of a class's properties that can be set.
    """
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(each, ast.Attribute) for each in node.decorator_list)
    }


class StructureTests(SynchronousTestCase):
    """
    C{.pxd} files against the modules beside them.
    """

    def setUp(self) -> None:
        self.structures = [
            (path, ast.parse(path.with_suffix(".py").read_text("utf-8")))
            for path in sorted(ROOT.rglob("*.pxd"))
            # Others belong to twins, which are written in Cython.
            if path.with_suffix(".py").exists()
        ]
        self.assertTrue(self.structures)

    def test_attributes(self) -> None:
        """
        Every attribute that a class sets is a field of its structure.
        """
        for path, tree in self.structures:
            classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
            for name, fields, _ in declared(path.read_text("utf-8")):
                missing = written(classes[name]) - properties(classes[name]) - fields
                self.assertEqual(missing, set(), f"{path}: {name}")

    def test_slots(self) -> None:
        """
        Where a class says what its attributes are, it is what its structure says.
        """
        for path, tree in self.structures:
            classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
            for name, fields, _ in declared(path.read_text("utf-8")):
                for node in classes[name].body:
                    if (
                        isinstance(node, ast.Assign)
                        and ast.unparse(node.targets[0]) == "__slots__"
                    ):
                        self.assertEqual(
                            set(ast.literal_eval(node.value)), fields, f"{path}: {name}"
                        )

    def test_methods(self) -> None:
        """
        Every method that is said to be there is.
        """
        for path, tree in self.structures:
            classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
            for name, _, said in declared(path.read_text("utf-8")):
                self.assertEqual(said - methods(classes[name]), set(), f"{path}: {name}")

    def test_areCompiled(self) -> None:
        """
        All modules with such a file are compiled, so that they can rely on each
        other's structures.
        """
        if not SETUP.exists():
            raise SkipTest("not in a source tree")
        found = re.search(r'^MODULES = """(.*?)"""', SETUP.read_text("utf-8"), re.M | re.S)
        assert found is not None
        compiled = set(found[1].split())
        for path, _ in self.structures:
            self.assertIn(str(path.relative_to(ROOT).with_suffix("")), compiled)
