# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.export}.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.querystore import export as module
from dnsguard.querystore.export import ExportFormat, export
from dnsguard.querystore.filters import EVERYTHING
from dnsguard.querystore.memory import MemoryStore
from tests.support.events import NOON
from tests.support.storecontract import sampleBlock
from tests.support.threads import PromptPool, PromptReactor


class ExportTests(SynchronousTestCase):
    """
    Rows as a file.
    """

    def setUp(self) -> None:
        self.store = MemoryStore(PromptReactor(), PromptPool(), lambda: NOON)
        self.patch(module, "PAGE", 4)

    def export(self, **options: Any) -> list[bytes]:
        """
        Export what is stored, an hour later.
        """
        now = options.pop("now", NOON + 3600)

        async def collect() -> list[bytes]:
            return [piece async for piece in export(self.store, EVERYTHING, now, **options)]

        return self.successResultOf(Deferred.fromCoroutine(collect()))

    def test_csv(self) -> None:
        """
        CSV has a header line and a line a row, made page by page.
        """
        self.store.insert(sampleBlock())
        pieces = self.export()
        self.assertEqual(len(pieces), 4)
        rows = list(csv.DictReader(io.StringIO(b"".join(pieces).decode())))
        self.assertEqual(len(rows), 11)
        self.assertEqual(rows[0]["qname"], "bad.example")
        self.assertEqual(rows[0]["ts"], "2023-11-14T22:15:31.000Z")

    def test_jsonLines(self) -> None:
        """
        JSON lines have an object a row.
        """
        self.store.insert(sampleBlock())
        lines = b"".join(self.export(format=ExportFormat.JSON_LINES)).splitlines()
        self.assertEqual(len(lines), 11)
        self.assertEqual(json.loads(lines[1])["client_name"], "TV")

    def test_limit(self) -> None:
        """
        No more rows than asked for.
        """
        self.store.insert(sampleBlock())
        for limit in (1, 4, 5, 8, 11, 12):
            lines = b"".join(self.export(limit=limit, format=ExportFormat.JSON_LINES)).splitlines()
            self.assertEqual(len(lines), min(limit, 11))

    def test_laterRowsStayOut(self) -> None:
        """
        Rows from after the export began aren't in it.
        """
        self.store.insert(sampleBlock())
        lines = b"".join(self.export(now=NOON + 3, format=ExportFormat.JSON_LINES)).splitlines()
        self.assertEqual(len(lines), 3)

    def test_nothing(self) -> None:
        """
        Of no rows there is a header, or nothing.
        """
        self.assertEqual(b"".join(self.export()).count(b"\r\n"), 1)
        self.assertEqual(self.export(format=ExportFormat.JSON_LINES), [])

    def test_spreadsheets(self) -> None:
        """
        A text that spreadsheets would run is made harmless.
        """
        for text, shown in (
            ("=cmd()", "'=cmd()"),
            ("+1.example", "'+1.example"),
            ("@x.example", "'@x.example"),
            ("-", "-"),
            ("a=b", "a=b"),
        ):
            self.assertEqual(module._harmless(text), shown)
