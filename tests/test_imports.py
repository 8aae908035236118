# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Who may import whom: the direction of the design, read off every module.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import dnsguard

ROOT = Path(dnsguard.__file__).parent

PURE = {
    "histogram",
    "notes",
    "wire",
    "policy",
    "caching",
    "config",
    "querystore._facts",
    "querystore._packing",
    "querystore._rows",
    "querystore.block",
    "querystore.buffer",
    "querystore.encoding",
    "querystore.entries",
    "querystore.filters",
    "querystore.packing",
    "querystore.questions",
    "querystore.rows",
    "upstream.selection",
    "upstream.address",
}
"""Modules and packages that never import Twisted (rules 1 and 2)."""

PURE_LIBRARIES = {"attrs", "yaml", "idna", "re2", "dns", "zope", "dnsguard", "numpy"}
"""What the pure modules may import besides the standard library."""

CORE = {"interfaces", "query", "answer", "errors", "server.reply", "server.admission"}
"""The shared nouns and the pure edge (rule 3)."""

CORE_TWISTED = {"twisted.names", "twisted.internet.interfaces"}

ROOMS = {"resolvers", "upstream", "server", "redis", "observers", "querystore", "replay"}
"""Rooms that talk through the interfaces and never import each other (rule 4)."""

NOUNS = {"observers.event", "replay.entry"}
"""The values that travel between rooms: anybody may import these."""

EXCEPTIONS = {("resolvers", "upstream"), ("server", "resolvers")}

TOP = {"__main__", "assembly", "tap", "cli", "helper"}

CONFIG_READERS = {
    "policy.build",
    "assembly",
    "tap",
    "cli",
    "services.reload",
    "services.replica",
    "control.config",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """
    Each module's dotted name below the package, and its syntax tree.
    """
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        yield ".".join(parts), ast.parse(path.read_text("utf-8"), str(path))


def imports(tree: ast.Module) -> Iterator[str]:
    """
    Each module imported at run time; those for annotations only don't count.
    """
    for node in runtimeNodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def runtimeNodes(tree: ast.AST) -> Iterator[ast.AST]:
    """
    Walk a tree without what stands under C{if TYPE_CHECKING}.
    """
    for node in ast.iter_child_nodes(tree):
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            continue
        yield node
        yield from runtimeNodes(node)


def within(name: str, places: set[str]) -> bool:
    """
    Is the module one of these, or in one of these packages?
    """
    return any(name == place or name.startswith(place + ".") for place in places)


class ImportDirectionTests(SynchronousTestCase):
    """
    The rules of the design, section 4.
    """

    def breaches(self) -> Iterator[str]:
        """
        Each import that goes the wrong way, in words.
        """
        for name, tree in modules():
            for imported in imports(tree):
                reason = self.breach(name, imported)
                if reason:
                    yield f"dnsguard.{name} imports {imported}: {reason}"

    def breach(self, name: str, imported: str) -> str | None:
        """
        Why a module may not import another one, or L{None}.
        """
        top = imported.split(".")[0]
        inner = imported.removeprefix("dnsguard.") if top == "dnsguard" else ""
        room = name.split(".")[0]
        if inner and within(inner, TOP) and not within(name, TOP) and name != "":
            return "nobody imports the top"
        if within(name, PURE):
            if top == "twisted" or (
                top not in PURE_LIBRARIES and top not in sys.stdlib_module_names
            ):
                return "pure modules import the standard library, attrs and pure modules"
            if inner and within(name, {"wire"}) and not within(inner, {"wire"}):
                return "wire imports the standard library only"
            if inner and not within(inner, PURE | {"errors"}) and "." in inner:
                return "pure modules import pure modules"
        if (
            within(name, CORE)
            and top == "twisted"
            and not within(imported, CORE_TWISTED)
            and imported not in {"twisted", "twisted.internet"}
        ):
            return "the shared nouns know no reactor"
        if inner and within(inner, {"config"}) and not within(name, CONFIG_READERS | {"config"}):
            return "nobody but the assembly is handed the configuration"
        other = inner.split(".")[0]
        if (
            room in ROOMS
            and other in ROOMS | {"services", "control", "dashboard"}
            and other != room
            and not within(inner, NOUNS | PURE | CORE)
            and (room, other) not in EXCEPTIONS
            and "." in inner
        ):
            return "rooms talk through the interfaces"
        if imported == "twisted.internet.reactor" and not within(name, {"tap", "cli", "helper"}):
            return "the reactor is handed in"
        return None

    def test_importsFollowTheDesign(self) -> None:
        """
        No module imports against the direction of the design.
        """
        self.assertEqual(sorted(set(self.breaches())), [])

    def test_breachIsSeen(self) -> None:
        """
        The rules do find wrong imports.
        """
        for name, imported in [
            ("wire.layout", "attr_of_nobody"),
            ("policy.view", "twisted.internet.defer"),
            ("query", "twisted.internet.defer"),
            ("server.factory", "dnsguard.replay.store"),
            ("resolvers.blocklist", "dnsguard.assembly"),
            ("services.refresh", "twisted.internet.reactor"),
            ("resolvers.forwarder", "dnsguard.config.model"),
        ]:
            self.assertIsNotNone(self.breach(name, imported), (name, imported))
