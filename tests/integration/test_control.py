# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The control API of a process, asked over real sockets while DNS is served.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.control.contract import CONTRACT, DEBUG, LIMITED, differences
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request
from tests.support.responder import Responder

PATIENCE = 60.0


class Asker(threading.Thread):
    """
    Asks without a break, and notes what isn't answered.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.asked = 0
        self.slowest = 0.0
        self.unanswered: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        """
        Ask, a name of which there is nothing remembered every other time.
        """
        while not self.ended.is_set():
            name = "nas.home.arpa" if self.asked % 2 else f"n{self.asked}.example"
            began = time.monotonic()
            try:
                askUDP(self.port, request(name, id=self.asked & 0xFFFF), timeout=10.0)
            except OSError as problem:
                self.unanswered.append(f"{name}: {problem}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.asked += 1

    def stop(self) -> None:
        """
        Ask no more.
        """
        self.ended.set()
        self.join(PATIENCE)


class ControlTests(TestCase):
    """
    Tests for the control API of a process.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.upstream = Responder()
        self.upstream.start()
        self.addCleanup(self.upstream.stop)
        self.port, self.control = freePort(), freePort()
        self.token = ""
        self.process: DNSGuardProcess | None = None

    def start(self, more: str = "", debug: bool = False) -> DNSGuardProcess:
        """
        Start a process, and take its first token.
        """
        config = (
            f"server: {{listen: ['127.0.0.1:{self.port}']}}\n"
            f"upstreams: ['127.0.0.1:{self.upstream.port}']\n"
            f"control: {{listen: '127.0.0.1:{self.control}', debug: {str(debug).lower()}}}\n"
            "blocklists: {sources: [], denylist: [bad.example]}\n"
            "client_identification: {enabled: true}\n"
            "query_store: {engine: memory}\n"
            "local_records: [{name: nas.home.arpa, type: A, value: 192.0.2.10}]\n"
            f"{more}"
        )
        process = DNSGuardProcess(self.folder, config, self.port)
        self.addCleanup(process.stop)
        process.waitUntilAnswering()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and "control API served" not in process.output():
            time.sleep(0.02)
        found = re.search(r"dnsguard_[\w-]+", process.output())
        self.token = found[0] if found else ""
        self.process = process
        return process

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """
        Ask the API.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        octets = None if body is None else json.dumps(body).encode()
        if octets is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, octets, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if not answer or response.getheader("Content-Type") != "application/json":
            return response.status, answer.decode()
        return response.status, json.loads(answer)

    def test_contract(self) -> None:
        """
        A process answers the documented requests as documented.
        """
        process = self.start(debug=True)
        self.assertTrue(self.token)
        for row in (*CONTRACT, *DEBUG):
            if row.path in LIMITED and row.status == 400:
                continue  # That would use up the limit, and then have to wait.
            status, answer = self.ask(row.method, row.path, row.body)
            self.assertEqual(differences(row, status, answer), [])
        self.assertEqual(self.ask("GET", "/ready")[0], 200)
        process.stop()
        self.assertNotIn("Traceback", process.output())
        audit = next(self.folder.rglob("audit.jsonl")).read_text().splitlines()
        changes = [row for row in CONTRACT if row.method != "GET" and row.status == 200]
        self.assertGreaterEqual(len(audit), len(changes))
        self.assertNotIn(self.token, "".join(audit))

    def test_changesUnderLoadLoseNoQuery(self) -> None:
        """
        While the configuration is changed again and again each query is
        answered; each change holds as soon as it is answered.
        """
        self.start()
        asker = Asker(self.port)
        asker.start()
        try:
            for number in range(6):
                patch: dict[str, Any] = {
                    "blocklists": {"denylist": [f"bad{number}.example"]},
                    "cache": {"min_ttl": f"{number + 1}m"},
                    "upstreams": [
                        {"name": f"u{number}", "address": f"127.0.0.1:{self.upstream.port}"}
                    ],
                }
                status, answer = self.ask("PATCH", "/api/v1/config", patch)
                self.assertEqual(status, 200, answer)
                reply = askUDP(self.port, request(f"www.bad{number}.example"))
                self.assertEqual(reply[3] & 15, 3)
        finally:
            asker.stop()
        self.assertEqual(asker.unanswered, [])
        self.assertGreater(asker.asked, 50)

    def test_hostileClients(self) -> None:
        """
        Requests that never end and bodies that are huge cost no query its
        answer, and others are still served.
        """
        self.start()
        asker = Asker(self.port)
        asker.start()
        slow = [socket.create_connection(("127.0.0.1", self.control)) for _ in range(20)]
        try:
            for connection in slow:
                connection.sendall(b"GET /health HTTP/1.1\r\nX: ")
            huge = socket.create_connection(("127.0.0.1", self.control))
            slow.append(huge)
            huge.settimeout(PATIENCE)
            huge.sendall(b"POST /clients HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n")
            for _ in range(64):
                try:
                    huge.sendall(b"x" * 65536)
                except OSError:
                    break  # Nobody listens any more, which is as well.
                for connection in slow[:20]:
                    connection.sendall(b"y")
            deadline = time.monotonic() + PATIENCE
            while asker.asked < 200 and time.monotonic() < deadline:
                for connection in slow[:20]:
                    connection.sendall(b"y")
                time.sleep(0.01)
            self.assertTrue(huge.recv(100).startswith(b"HTTP/1.1 413 "))
            self.assertEqual(self.ask("GET", "/health"), (200, {"ok": True}))
            self.assertEqual(self.ask("GET", "/clients"), (200, {"clients": []}))
        finally:
            asker.stop()
            for connection in slow:
                connection.close()
        self.assertEqual(asker.unanswered, [])
        self.assertGreaterEqual(asker.asked, 200)

    def test_tokenSurvives(self) -> None:
        """
        The first token isn't shown again, and is known after a restart.
        """
        self.start().stop()
        token = self.token
        self.start()
        self.assertEqual(self.token, "")
        self.token = token
        self.assertEqual(self.ask("GET", "/api/v1/whoami")[1]["role"], "admin")

    def test_portTaken(self) -> None:
        """
        DNS is served though the API's port is taken; the API is, once it isn't.
        """
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.control))
            taken.listen()
            config = "data_directory: ."
            process = DNSGuardProcess(
                self.folder,
                f"server: {{listen: ['127.0.0.1:{self.port}']}}\nblocklists: {{sources: []}}\n"
                f"control: {{listen: '127.0.0.1:{self.control}'}}\n{config}\n",
                self.port,
            )
            self.addCleanup(process.stop)
            process.waitUntilAnswering()
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and "trying again" not in process.output():
                time.sleep(0.02)
        self.assertIn(f"127.0.0.1:{self.control}", process.output())
        self.assertEqual(askUDP(self.port, request("localhost"))[3] & 15, 0)
        self.assertNotIn("Traceback", process.output())
