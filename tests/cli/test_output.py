# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.output}.
"""

from __future__ import annotations

import io
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.output import clean, count, progress, share, table, waiting


class Terminal(io.StringIO):
    """
    Something that says it is a terminal.
    """

    def isatty(self) -> bool:
        """
        Say so.
        """
        return True


class CleanTests(SynchronousTestCase):
    """
    Tests for L{clean} and its kin.
    """

    def test_words(self) -> None:
        """
        Values are words.
        """
        self.assertEqual(
            [clean(value) for value in (None, True, False, 1, "é")],
            [
                "-",
                "yes",
                "no",
                "1",
                "é",
            ],
        )
        self.assertEqual((count(1234567), count("x"), share(1, 3)), ("1,234,567", "x", "33.3%"))
        self.assertEqual(share(0, 0), "-")

    @settings(max_examples=200, deadline=None)
    @given(st.text())
    def test_printable(self, text: str) -> None:
        """
        Nothing that moves a cursor is left.
        """
        self.assertTrue(clean(text).isprintable())


class ScreenTests(SynchronousTestCase):
    """
    Tests for what depends on where it is written to.
    """

    def written(self, stream: io.StringIO, name: str = "stdout") -> io.StringIO:
        """
        Write to this.
        """
        self.patch(sys, name, stream)
        return stream

    def test_pipe(self) -> None:
        """
        In a pipe there is no colour, and nothing is cut or wrapped.
        """
        stream = self.written(io.StringIO())
        long = "x" * 500
        table(("a", "b"), [(long, 1)], numbers=(1,))
        lines = stream.getvalue().splitlines()
        self.assertEqual(lines[1].split(), [long, "1"])
        self.assertNotIn("\x1b", stream.getvalue())

    def test_terminal(self) -> None:
        """
        On a terminal there is colour, unless it isn't wanted.
        """
        for wanted in (True, False):
            environ = {"TERM": "xterm-256color", "COLUMNS": "80"}
            if not wanted:
                environ["NO_COLOR"] = "1"
            stream = self.written(Terminal())
            for name in ("NO_COLOR", "TERM", "COLUMNS"):
                self.patchEnviron(name, environ.get(name))
            table(("head",), [("[bold]value",)])
            self.assertIn("[bold]value", stream.getvalue())
            self.assertEqual("\x1b[1m" in stream.getvalue(), True)
            self.assertNotIn("\x1b[3", stream.getvalue())

    def patchEnviron(self, name: str, value: str | None) -> None:
        """
        Set or unset a variable of the environment for this test.
        """
        import os

        old = os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

        def back() -> None:
            os.environ.pop(name, None)
            if old is not None:
                os.environ[name] = old

        self.addCleanup(back)

    def test_bars(self) -> None:
        """
        Bars and spinners are drawn on terminals alone.
        """
        for stream in (Terminal(), io.StringIO()):
            self.patchEnviron("TERM", "xterm-256color")
            self.written(stream, "stderr")
            with progress() as bars:
                bars.update(bars.add_task("work", total=2), completed=1)
                bars.refresh()
            with waiting("the kettle"):
                pass
            drawn = stream.getvalue()
            self.assertEqual(("work" in drawn, "kettle" in drawn), (stream.isatty(),) * 2)
