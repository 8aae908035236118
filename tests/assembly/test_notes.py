# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.notes}.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from dnsguard.assembly.notes import Notes
from dnsguard.config.load import Source, load
from dnsguard.config.model import Config
from dnsguard.observers.requestlog import RequestLog
from dnsguard.policy.snapshot import Policies
from dnsguard.querystore.filters import EVERYTHING
from tests.support.events import eventOf


class NotesTests(TestCase):
    """
    Tests for L{Notes}.
    """

    def read(self, text: str) -> Config:
        """
        Read a configuration whose state is in a folder of the test's.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        path = folder / "dnsguard.yaml"
        path.write_text(f"data_directory: {folder}\n{text}", "utf-8")
        return load(Source.fromEnvironment({}, str(path), None), {}).config

    def start(self, text: str) -> Notes:
        """
        Write queries down as a configuration says.
        """
        self.told: list[tuple[Any, ...]] = []
        observers = SimpleNamespace(note=lambda *noters: self.told.append(noters))
        notes = Notes(
            self.read(text), reactor, cast(Any, observers), Policies(), lambda: 1_700_000_000.0
        )
        notes.startService()
        self.addCleanup(notes.stopService)
        return notes

    def test_begins(self) -> None:
        """
        The store and the log are told of queries, and run.
        """
        notes = self.start("query_store: {engine: memory}\nrequest_log: {enabled: true}\n")
        assert notes.queryStore is not None
        self.assertEqual(self.told, [(notes.queryStore.recorder, notes.requestLog)])
        self.assertTrue(all(service.running for service in notes))
        self.assertEqual(len(list(notes)), 2)

    async def test_changes(self) -> None:
        """
        What is switched off by another configuration ends, what is switched on
        begins.
        """
        notes = self.start("query_store: {engine: memory}\n")
        before = notes.queryStore
        assert before is not None
        await ensureDeferred(
            notes.change(
                self.read("query_store: {enabled: false}\nrequest_log: {enabled: true}\n")
            )
        )
        self.assertFalse(before.flush.running)
        self.assertIsNone(notes.queryStore)
        self.assertIsInstance(notes.requestLog, RequestLog)
        self.assertEqual(self.told[-1], (notes.requestLog,))

    async def test_unchanged(self) -> None:
        """
        A configuration that says the same of this changes nothing.
        """
        notes = self.start("query_store: {engine: memory}\n")
        before = notes.queryStore
        await ensureDeferred(
            notes.change(self.read("query_store: {engine: memory}\ncache: {max_ttl: 2h}\n"))
        )
        self.assertIs(notes.queryStore, before)
        self.assertEqual(len(self.told), 1)

    async def test_whatIsHidden(self) -> None:
        """
        Clients are hidden from those who watch and in the log as in the store; the log
        has the queries too that the store leaves out.
        """
        notes = self.start(
            "query_store: {engine: memory, anonymize_client_ip: truncate,"
            " exclude_domains: [private.example]}\n"
            "request_log: {enabled: true, directory: logs}\n"
        )
        assert notes.queryStore is not None
        watcher = notes.queryStore.tail.watch(EVERYTHING)
        assert watcher is not None
        for noter in self.told[0]:
            for name in ("www.example.org", "private.example"):
                noter.queryAnswered(eventOf(name, client="192.0.2.77", clientName="tv"))
        await ensureDeferred(notes.stopService())
        self.assertEqual(
            [(row["qname"], row["client_ip"], row["client_name"]) for row in watcher.take()],
            [("www.example.org", "192.0.2.0", "")],
        )
        [file] = notes._config.statePath("logs").glob("*.log")
        lines = file.read_text().splitlines()
        self.assertEqual(len(lines), 2)
        for line, name in zip(lines, ("www.example.org", "private.example"), strict=True):
            self.assertIn(f" client=192.0.2.0 protocol=udp qname={name} ", line)
