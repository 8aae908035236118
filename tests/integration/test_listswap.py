# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Other lists come into force while a process is asked.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request

NAMES = 20_000
PATIENCE = 60.0

CONFIG = """\
server: {{listen: ["127.0.0.1:{port}"]}}
upstreams: ["127.0.0.1:{nobody}"]
blocklists: {{sources: [{{name: list, url: "{path}"}}]}}
local_records: [{{name: www.example.org, type: A, value: 192.0.2.1}}]
query_store: {{engine: none}}
control: {{enabled: false}}
"""


class ListSwapTests(SynchronousTestCase):
    """
    One set of names put in the place of another.
    """

    def test_noQueryIsLost(self) -> None:
        """
        While one list replaces another every query is answered at the first time of
        asking, and a name that stands in both is blocked all the time.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        port, nobody = freePort(), freePort()
        texts = []
        for version in (0, 1):
            path = folder / f"list-{version}.txt"
            path.write_text(
                "both.example\n"
                + "".join(f"n{number}.v{version}.example\n" for number in range(NAMES))
            )
            texts.append(CONFIG.format(port=port, nobody=nobody, path=path))
        process = DNSGuardProcess(folder, texts[0], port)
        self.addCleanup(process.stop)
        process.waitUntilAnswering()
        end = time.monotonic() + PATIENCE
        while askUDP(port, request("both.example"), timeout=20.0)[3] & 15 != 3:
            self.assertLess(time.monotonic(), end, process.output())
        for version in (1, 0):
            process.config.write_text(texts[version])
            process.signal(signal.SIGHUP)
            wanted = request(f"n7.v{version}.example")
            blocked = False
            while not blocked:
                self.assertLess(time.monotonic(), end, process.output())
                for _ in range(50):
                    reply = askUDP(port, request("both.example"), timeout=20.0)
                    self.assertEqual(reply[3] & 15, 3)
                    reply = askUDP(port, request("www.example.org"), timeout=20.0)
                    self.assertEqual((reply[3] & 15, reply[-4:]), (0, b"\xc0\0\2\1"))
                blocked = askUDP(port, wanted, timeout=20.0)[3] & 15 == 3
