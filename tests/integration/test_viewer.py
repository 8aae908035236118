# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The page that shows the control API, in a real browser.
"""

from __future__ import annotations

import html
import http.client
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.process import DNSGuardProcess, freePort

PATIENCE = 60.0

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or ""

FOREIGN = b"""<!DOCTYPE html><title>Another page</title><p id="told">asking</p><script>
fetch("http://127.0.0.1:%d/api/v1/openapi.json")
  .then(response => response.text())
  .then(text => { document.getElementById("told").textContent = `read ${text.length}`; })
  .catch(() => { document.getElementById("told").textContent = "denied"; });
</script>"""


def works(browser: str) -> bool:
    """
    Is it one, and not the place for one?
    """
    if not browser:
        return False
    try:
        told = subprocess.run([browser, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and b"Chromium" in told.stdout


class Page(http.server.BaseHTTPRequestHandler):
    """
    Somebody else's page, that would like to read the API.
    """

    control = 0

    def do_GET(self) -> None:
        """
        Give it.
        """
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(FOREIGN % self.control)

    def log_message(self, format: str, *arguments: Any) -> None:
        """
        Say nothing.
        """


@unittest.skipUnless(works(BROWSER), "there is no chromium")
class ViewerTests(SynchronousTestCase):
    """
    Tests for the page.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        port, self.control = freePort(), freePort()
        process = DNSGuardProcess(
            self.folder,
            f"server: {{listen: ['127.0.0.1:{port}']}}\nblocklists: {{sources: []}}\n"
            f"control: {{listen: '127.0.0.1:{self.control}', token: a-token}}\n"
            "query_store: {engine: memory}\n",
            port,
        )
        self.addCleanup(process.stop)
        process.waitUntilAnswering()
        deadline = time.monotonic() + PATIENCE
        while "control API served" not in process.output():
            self.assertLess(time.monotonic(), deadline, process.output())
            time.sleep(0.02)

    def open(self, url: str) -> tuple[str, str]:
        """
        Open a page in a browser that finds nothing but this machine.

        @return: The page as its scripts have made it, and what the browser had
            to say.
        """
        done = subprocess.run(
            [
                BROWSER,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={self.folder / 'browser'}",
                "--virtual-time-budget=20000",
                "--enable-logging=stderr",
                "--dump-dom",
                url,
            ],
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        said = done.stderr.decode("utf-8", "replace")
        told = "\n".join(line for line in said.splitlines() if "CONSOLE" in line)
        return done.stdout.decode("utf-8", "replace"), told

    def test_everyOperation(self) -> None:
        """
        The page shows every operation of the document, with its summary, a form
        and the schema of what it answers, though there is no network to fetch
        anything from; and breaks none of the rules it is sent with.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=PATIENCE)
        connection.request("GET", "/api/v1/openapi.json")
        document = json.loads(connection.getresponse().read())
        connection.close()
        page, told = self.open(f"http://127.0.0.1:{self.control}/api/v1/docs")
        for words in ("Refused", "Content Security Policy", "Error", "Failed"):
            self.assertNotIn(words, told)
        shown = re.findall(r'<span class="method">(\w+)</span><code>([^<]*)</code>', page)
        wanted = [
            (method.upper(), path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]
        self.assertEqual(sorted(shown), sorted((method, path) for method, path, _ in wanted))
        self.assertEqual(page.count("<form>"), len(wanted))
        text = html.unescape(page)
        for _, _, operation in wanted:
            self.assertIn(operation["summary"], text)

    def test_otherPagesDontRead(self) -> None:
        """
        A page of another origin can't read so much as the document.
        """
        handler = type("ThePage", (Page,), {"control": self.control})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.addCleanup(server.server_close)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        self.addCleanup(server.shutdown)
        page, told = self.open(f"http://127.0.0.1:{server.server_address[1]}/")
        self.assertIn('<p id="told">denied</p>', page)
        self.assertIn("CORS", told)
