# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.errorpages}: every message has its page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import dnsguard
from dnsguard.observers.errorpages import PAGES, UNEXPECTED, pageOf

ROOT = Path(dnsguard.__file__).parent
PAGE = ROOT.parent / "docs" / "errors.rst"

LEVELS = {"warn", "error", "critical", "failure"}

PASSED_ON = {"_complain": {"": 1, "server.respondent": 2}, "_logBreak": {}}
"""
Methods that log what they are given: the place of the format among their
arguments, by the module it differs in.
"""

ADDED = {"server.respondent": " ({times} times)"}
"""What such a method puts behind the format."""


def literal(node: ast.expr | None) -> str | None:
    """
    The text of a constant, or L{None}.
    """
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def called(node: ast.Call) -> str:
    """
    The last part of what is called.
    """
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def isLog(node: ast.expr) -> bool:
    """
    Is it a logger: something called C{log}?
    """
    return (isinstance(node, ast.Attribute) and node.attr in {"log", "_log"}) or (
        isinstance(node, ast.Name) and node.id in {"log", "_log"}
    )


def formats(tree: ast.Module, module: str) -> Iterator[tuple[int, str | None]]:
    """
    Each warning and error that a module logs: its line and its format, L{None}
    where that can't be read off the code.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute) and function.attr in LEVELS:
                if isLog(function.value):
                    yield node.lineno, literal(node.args[0] if node.args else None)
            elif called(node) in PASSED_ON:
                places = PASSED_ON[called(node)]
                place = places.get(module, places.get("", -1))
                text = literal(node.args[place]) if 0 <= place < len(node.args) else None
                if text is not None:
                    yield node.lineno, text + ADDED.get(module, "")
            else:
                # callLater(0, self.log.error, "format"), and the like.
                for at, argument in enumerate(node.args[:-1]):
                    if (
                        isinstance(argument, ast.Attribute)
                        and argument.attr in LEVELS
                        and isLog(argument.value)
                    ):
                        yield node.lineno, literal(node.args[at + 1])


def allFormats() -> Iterator[tuple[str, int, str | None]]:
    """
    The same, of all modules.
    """
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text("utf-8"), str(path))
        for line, format in formats(tree, module):
            yield module, line, format


def pages() -> dict[str, str]:
    """
    The sections of the document by their titles, which are their anchors,
    with all white space single.
    """
    parts = re.split(r"^([a-z0-9-]+)\n-+\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    titles, texts = parts[1::2], parts[2::2]
    assert len(set(titles)) == len(titles)
    return {title: " ".join(text.split()) for title, text in zip(titles, texts, strict=True)}


UNREADABLE = {
    # These log what they are given; who gives it is looked at instead.
    ("server.respondent", None),
    ("querystore.delivery", None),
}


class ErrorPagesTests(SynchronousTestCase):
    """
    The code, the table and the page agree.
    """

    def test_everyMessageHasAPage(self) -> None:
        """
        Each warning and error in the code is in the table. If this fails:
        enter the message in dnsguard/observers/errorpages.py, and explain it
        in docs/errors.rst.
        """
        missing = [
            f"{module}:{line}: {format!r}"
            for module, line, format in allFormats()
            if format not in PAGES and (module, format) not in UNREADABLE
        ]
        self.assertEqual(missing, [])

    def test_everyEntryIsAMessage(self) -> None:
        """
        The table has nothing that nobody says.
        """
        said = {format for _, _, format in allFormats()}
        self.assertEqual([format for format in PAGES if format not in said], [])

    def test_everyPageIsWritten(self) -> None:
        """
        Each page that the table names is a section of the document, with what
        to do, and there are no others.
        """
        sections = pages()
        self.assertEqual(set(sections), {*PAGES.values(), UNEXPECTED})
        for anchor, section in sections.items():
            self.assertIn(" What to do: ", section, anchor)

    def test_messagesAreQuoted(self) -> None:
        """
        Each section quotes the messages that lead to it.
        """
        sections = pages()
        for format, anchor in PAGES.items():
            self.assertIn(f"``{format}``", sections[anchor], anchor)

    def test_pageOf(self) -> None:
        """
        A message that isn't known has a page if it comes with a failure.
        """
        self.assertEqual(pageOf("a deadline was handled badly", True), "upstream-internal-error")
        self.assertEqual(pageOf("something", False), "")
        self.assertEqual(pageOf(None, False), "")
        self.assertEqual(pageOf(None, True), UNEXPECTED)
        self.assertEqual(pageOf(["no text"], False), "")

    def test_codeIsRead(self) -> None:
        """
        The ways to log are seen.
        """
        code = (
            "self.log.warn('a')\nlog.error('b', x=1)\nself.log.info('c')\n"
            "reactor.callLater(0, self.log.failure, 'd')\nself._complain('kind', 'e')\n"
            "self.log.critical(text)\nmath.log.error\n"
        )
        self.assertEqual(
            sorted(formats(ast.parse(code), "x"), key=str),
            [(1, "a"), (2, "b"), (4, "d"), (5, "e"), (6, None)],
        )
