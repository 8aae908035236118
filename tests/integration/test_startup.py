# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Starting, reloading and stopping a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import sys, types
from twisted.application.service import Service
from twisted.internet.defer import succeed
from twisted.logger import Logger
from zope.interface import implementer
import dnsguard
from dnsguard.interfaces import IReloadable

log = Logger(namespace="dnsguard.standin")

@implementer(IReloadable)
class Resolver(Service):
    def startService(self):
        log.info("serving")
    def reloadConfiguration(self, config):
        log.info("size {size}", size=config.cache.lruSize)
        return succeed(None)
    def stopService(self):
        log.info("stopping")

module = types.ModuleType("dnsguard.assembly")
module.makeService = lambda config, reactor: Resolver()
sys.modules[module.__name__] = dnsguard.assembly = module

from dnsguard.cli import main
main()
"""
"""The command, with something small in the place of the resolver."""


class Watcher(ProcessProtocol):
    """
    Reads what a process writes, and waits for words in it.
    """

    def __init__(self) -> None:
        self.output = ""
        self.ended: Deferred[int] = Deferred()
        self._awaited: list[tuple[str, Deferred[None]]] = []

    def saw(self, words: str) -> Deferred[None]:
        """
        Wait until the process has written some words.
        """
        seen: Deferred[None] = Deferred()
        self._awaited.append((words, seen))
        self._look()
        return seen

    def _look(self) -> None:
        """
        Fire what waits for words that are there.
        """
        for entry in self._awaited[:]:
            words, seen = entry
            if words in self.output:
                self._awaited.remove(entry)
                seen.callback(None)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        Take output, errors included.
        """
        self.output += data.decode()
        self._look()

    def processEnded(self, reason: Failure) -> None:
        """
        Tell how the process ended: its status, or the signal, negative.
        """
        for words, seen in self._awaited:
            seen.errback(AssertionError(f"ended before {words!r}: {self.output}"))
        value = reason.value
        assert isinstance(value, ProcessDone | ProcessTerminated)
        self.ended.callback(-value.signal if value.signal else value.exitCode or 0)


class ProcessTests(TestCase):
    """
    Tests for C{dnsguard run} as a process.
    """

    timeout = 60

    def start(self, text: str, *arguments: str) -> Watcher:
        """
        Start it over a configuration.
        """
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text(text)
        watcher = Watcher()
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-c", PROGRAM, "run", "--config", str(self.path), *arguments]
        process = reactor.spawnProcess(watcher, sys.executable, command, environ)

        def cleanUp() -> Deferred[int] | None:
            if process.pid is None:
                return None
            process.signalProcess("KILL")
            return watcher.ended

        self.addCleanup(cleanUp)
        self.process = process
        return watcher

    async def test_life(self) -> None:
        """
        It starts, reloads at SIGHUP, keeps the old configuration over a bad
        one, and stops cleanly at SIGTERM, all of it told in its log.
        """
        watcher = self.start("cache: {lru_size: 7}")
        await watcher.saw("serving")
        self.path.write_text("cache: {lru_size: 8}")
        self.process.signalProcess("HUP")
        await watcher.saw("configuration reloaded")
        self.assertIn("size 8", watcher.output)
        self.path.write_text("cache: {lru_size: many}")
        self.process.signalProcess("HUP")
        await watcher.saw("the old one stays in force")
        self.assertIn(f"{self.path}:1:19: cache.lru_size: 'many'", watcher.output)
        self.process.signalProcess("TERM")
        self.assertEqual(await watcher.ended, -signal.SIGTERM)
        self.assertIn("stopping", watcher.output)
        self.assertNotIn("Traceback", watcher.output)

    async def test_interrupt(self) -> None:
        """
        Ctrl-C stops it as cleanly.
        """
        watcher = self.start("logging: {format: json}")
        await watcher.saw('"msg": "serving"')
        self.process.signalProcess("INT")
        self.assertEqual(await watcher.ended, -signal.SIGINT)
        self.assertIn('"msg": "stopping"', watcher.output)
        self.assertNotIn("Traceback", watcher.output)

    async def test_bad(self) -> None:
        """
        With a configuration that can't be used it ends with 1 and says why,
        without a traceback.
        """
        watcher = self.start("cache: [")
        self.assertEqual(await watcher.ended, 1)
        self.assertIn(f"{self.path}:", watcher.output)
        self.assertIn("not valid YAML", watcher.output)
        self.assertNotIn("Traceback", watcher.output)
