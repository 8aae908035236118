# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.completion}.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.fakeapi import runCommand

ROOT = Path(__file__).parents[2]


class CompletionTests(SynchronousTestCase):
    """
    Tests for C{dnsguard completion}.
    """

    def test_scripts(self) -> None:
        """
        There is a script for each shell that calls the command back.
        """
        for shell in ("bash", "zsh", "fish"):
            script = runCommand("completion", shell).stdout
            self.assertIn(f"_DNSGUARD_COMPLETE={shell}_complete", script)
        self.assertEqual(runCommand("completion", "tcsh").exit_code, 2)

    def test_syntax(self) -> None:
        """
        Shells that are here can read theirs.
        """
        shells = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]
        self.assertTrue(shells)
        for shell in shells:
            script = runCommand("completion", shell).stdout
            done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def completed(self, words: str, number: int) -> list[str]:
        """
        What bash is offered.
        """
        done = subprocess.run(
            [sys.executable, "-c", "from dnsguard.cli import main; main(prog_name='dnsguard')"],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "_DNSGUARD_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(number),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.partition(",")[2] for line in done.stdout.split()]

    def test_words(self) -> None:
        """
        Commands, their commands, options and choices are offered.
        """
        self.assertEqual(self.completed("dnsguard pa", 1), ["pause"])
        self.assertEqual(self.completed("dnsguard token r", 2), ["revoke"])
        self.assertEqual(self.completed("dnsguard query --shor", 2), ["--short"])
        self.assertEqual(self.completed("dnsguard top cl", 2), ["clients"])
