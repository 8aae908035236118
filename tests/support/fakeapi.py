# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A control API that says what a test tells it to, and a command to call it with.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli import main

__all__ = ["APITestCase", "FakeAPI", "Request", "runCommand"]


@attrs.frozen
class Request:
    """
    What the API was asked.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class FakeAPI:
    """
    Answers on a loopback port, in a thread.

    @ivar answers: For a method and path what to answer: a value for status
        200, a status and a value, or octets as they are.
    @ivar requests: What was asked.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[Request] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.handle(self)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """
        Answer a request.
        """
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        parts = urlsplit(handler.path)
        self.requests.append(
            Request(
                handler.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                dict(handler.headers.items()),
                body,
            )
        )
        path = parts.path.removeprefix("/api/v1")
        answer = self.answers.get(f"{handler.command} {path}", (404, {"error": "no such thing"}))
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        octets = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(octets)))
        handler.end_headers()
        handler.wfile.write(octets)

    def close(self) -> None:
        """
        Answer no more.
        """
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def runCommand(*arguments: str, input: str | None = None, **environ: str | None) -> Result:
    """
    Run the command, with nothing of what surrounds the tests.
    """
    bare = {
        "CONFIG_PATH": None,
        "DEFAULT_CONFIG_PATH": None,
        "DNSGUARD_TOKEN": None,
        "DNSGUARD_TOKEN_FILE": None,
        "DNSGUARD_URL": None,
        "DNS_CONTROL_TOKEN": None,
        "DNS_CONTROL_URL": None,
        "ADMIN_PASSWORD_FILE": None,
        "HOME": "/nonexistent",
    }
    return CliRunner().invoke(main, arguments, input=input, env={**bare, **environ})


class APITestCase(SynchronousTestCase):
    """
    A test with an API to speak with.
    """

    def setUp(self) -> None:
        """
        Make one.
        """
        self.api = FakeAPI()
        self.addCleanup(self.api.close)

    def invoke(self, *arguments: str, input: str | None = None, **environ: str | None) -> Result:
        """
        Run the command against it.
        """
        return runCommand(*arguments, input=input, **{"DNSGUARD_URL": self.api.url, **environ})

    def fine(self, *arguments: str, status: int = 0, **options: Any) -> str:
        """
        Run the command, expect its exit status, and give what it wrote.
        """
        result = self.invoke(*arguments, **options)
        self.assertEqual(result.exit_code, status, result.output + repr(result.exception))
        return result.stdout

    def json(self, *arguments: str, status: int = 0) -> Any:
        """
        Run the command and read the JSON that it wrote.
        """
        return json.loads(self.fine(*arguments, "--json", status=status))

    def asked(self) -> list[tuple[str, str, dict[str, str], Any]]:
        """
        What the API was asked, in short.
        """
        return [(each.method, each.path, each.query, each.body) for each in self.api.requests]
