# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The page that shows the control API, in a real browser.
"""

from __future__ import annotations

import fcntl
import html
import http.client
import http.server
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess

PATIENCE = 120.0

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


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    # Nothing is found but this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

TRYING = """
(async () => {
  const until = async (find) => {
    for (let tries = 0; tries < 500; tries++) {
      const found = find();
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error("nothing came");
  };
  const operation = await until(() => [...document.querySelectorAll("details")].find(
    (each) => each.querySelector("summary code").textContent === "/api/v1/blocked/check"));
  const form = operation.querySelector("form");
  const output = form.querySelector("pre:last-of-type");
  const answers = [];
  for (const token of ["", TOKEN]) {
    document.getElementById("token").value = token;
    form.querySelector("input").value = "www.bad.example";
    output.textContent = "";
    form.requestSubmit();
    answers.push(await until(() => /^\\d/.test(output.textContent) && output.textContent));
  }
  return answers;
})()
"""
"""Tries an operation as somebody would who has the page before them."""


LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts a browser, which takes commands from descriptor 3 and writes to 4, whatever happens."""

OUT_OF_THE_WAY = 10
"""Descriptors from here on are neither of those."""


class Browser:
    """
    A browser that does as it is told.
    """

    def __init__(self, folder: Path) -> None:
        reading, self._commands = os.pipe()
        self._events, writing = os.pipe()
        self._left = b""
        self._number = 0
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, OUT_OF_THE_WAY) for each in (reading, writing)]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCH, *map(str, theirs), BROWSER, *FLAGS),
                "--remote-debugging-pipe",
                f"--user-data-dir={folder}",
            ],
            pass_fds=theirs,
            stderr=subprocess.DEVNULL,
        )
        for each in (reading, writing, *theirs):
            os.close(each)

    def call(self, method: str, session: str = "", **parameters: Any) -> Any:
        """
        Have it do something.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        told = self._until("id", self._number)
        return told.get("result", told)

    def _until(self, name: str, value: Any) -> Any:
        """
        Wait for a message in which something stands.
        """
        while True:
            while b"\0" not in self._left:
                ready, _, _ = select.select([self._events], [], [], PATIENCE)
                octets = os.read(self._events, 1 << 16) if ready else b""
                if not octets:
                    raise AssertionError("the browser is gone, or stuck")
                self._left += octets
            line, _, self._left = self._left.partition(b"\0")
            told = json.loads(line)
            if told.get(name) == value:
                return told

    def evaluate(self, url: str, script: str) -> Any:
        """
        Open a page and have a script work on it; give what it comes to.
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable", session)
        self.call("Page.navigate", session, url=url)
        self._until("method", "Page.loadEventFired")
        told = self.call(
            "Runtime.evaluate",
            session,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        return told["result"].get("value", told)

    def close(self) -> None:
        """
        End it.
        """
        os.close(self._commands)
        os.close(self._events)
        self._process.terminate()
        self._process.wait(PATIENCE)


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
            f"server: {{listen: ['127.0.0.1:{port}']}}\nblocklists: {{sources: [], denylist: [bad.example]}}\n"
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
                *FLAGS,
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

    def test_tryingAnOperation(self) -> None:
        """
        An operation can be tried on the page: without a token it is refused, and
        with one answered.
        """
        browser = Browser(self.folder / "driven")
        self.addCleanup(browser.close)
        script = TRYING.replace("TOKEN", json.dumps("a-token"))
        url = f"http://127.0.0.1:{self.control}/api/v1/docs"
        refused, answered = browser.evaluate(url, script)
        self.assertTrue(refused.startswith("401 "), refused)
        self.assertTrue(answered.startswith("200 "), answered)
        self.assertIn('"blocked": true', answered)

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
