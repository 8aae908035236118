# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A ClickHouse engine behind as much of ClickHouse's HTTP protocol as a client
needs, and faults on demand. Run in a process of its own: C{chdbserver.py FOLDER
PASSWORD PORT
CERTIFICATE}; prints the port it listens on.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tempfile
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import lz4.frame  # type: ignore[import-untyped]
from chdb.session import Session
from twisted.internet import reactor as installedReactor
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

reactor: Any = installedReactor

NOT_SETTINGS = frozenset(
    [
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_write_exception_in_output_format",
        "http_zlib_compression_level",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "user",
        "wait_end_of_query",
    ]
)
FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.I)
INSERT = re.compile(rb"^\s*INSERT\s+INTO\s", re.I)
INSERT_HEAD = re.compile(rb"[^\x00]*?\bFORMAT\s+\w+[ ;]*\r?\n", re.I)
SELECT = re.compile(rb"^\s*(SELECT|WITH)\b", re.I)
PLAIN = re.compile(r"\w+")

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "lz4": lz4.frame.decompress,
}


class Engine:
    """
    Runs statements; one thread.
    """

    def __init__(self, folder: str) -> None:
        self._session = Session(folder)

    def run(self, arguments: dict[str, str], body: bytes) -> bytes:
        """
        Run what one request asks for.
        """
        statement, rows = arguments.get("query", "").encode(), body
        if not statement:
            statement, rows = body, b""
            head = INSERT.match(statement) and INSERT_HEAD.match(statement)
            if head:
                statement, rows = head.group(0).rstrip(), body[head.end() :]
        elif rows and not INSERT.match(statement):
            statement, rows = statement + b"\n" + rows, b""
        database = arguments.get("database")
        if database:
            self._session.query(f"USE `{database.replace('`', '')}`")
        settings = ", ".join(
            f"{name} = '{value}'"
            for name, value in arguments.items()
            if name not in NOT_SETTINGS
            and not name.startswith("param_")
            and PLAIN.fullmatch(name)
            and re.fullmatch(r"[\w.,-]*", value)
        )
        found = FORMAT.search(statement)
        text = FORMAT.sub(b"", statement).decode()
        if INSERT.match(statement):
            format = found.group(1).decode() if found else "Values"
            return self._insert(text, rows, format, settings)
        if settings and SELECT.match(statement):
            text += f" SETTINGS {settings}"
        format = found.group(1).decode() if found else arguments.get("default_format", "TSV")
        parameters = {
            name.removeprefix("param_"): value
            for name, value in arguments.items()
            if name.startswith("param_")
        }
        answer = self._session.query(text, format, params=parameters)
        return bytes(answer.bytes() or b"")

    def _insert(self, text: str, rows: bytes, format: str, settings: str) -> bytes:
        """
        Insert rows by way of a file, the engine's own door for octets.
        """
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
            file.write(rows)
            file.flush()
            tail = f" SETTINGS {settings}" if settings else ""
            self._session.query(f"{text} FROM INFILE '{file.name}'{tail} FORMAT {format}")
        return b""


class Endpoint(Resource):
    """
    The HTTP side.
    """

    isLeaf = True

    def __init__(self, engine: Engine, password: str) -> None:
        super().__init__()
        self._engine = engine
        self._password = password
        self._faults: list[str] = []
        self._inserts: deque[dict[str, Any]] = deque(maxlen=10)
        self._pool = ThreadPool(1, 1)
        self._pool.start()
        reactor.addSystemEventTrigger("after", "shutdown", self._pool.stop)

    def render_GET(self, request: Request) -> bytes | int:
        """
        Answer pings, show the last inserts, take orders for faults, and queries.
        """
        if request.path == b"/ping":
            return b"Ok.\n"
        if request.path == b"/inserts":
            return json.dumps(list(self._inserts)).encode()
        if request.path == b"/fault":
            assert request.args is not None
            count = int(request.args[b"count"][0])
            self._faults[:] = [request.args[b"mode"][0].decode()] * count
            return b"Ok.\n"
        return self.render_POST(request)

    def _authenticated(self, request: Request) -> bool:
        """
        Is the password in the headers the right one?
        """
        if not self._password:
            return True
        word, _, value = (request.getHeader("authorization") or "").partition(" ")
        given = b64decode(value).decode().partition(":")[2] if word == "Basic" else ""
        return (request.getHeader("x-clickhouse-key") or given) == self._password

    def render_POST(self, request: Request) -> bytes | int:
        """
        Run a query.
        """
        if not self._authenticated(request):
            return self._problem(request, "Code: 516. Authentication failed", 403)
        query = urlsplit(request.uri.decode()).query
        arguments = dict(parse_qsl(query, keep_blank_values=True))
        assert request.content is not None
        body = request.content.read()
        if (request.getHeader("content-type") or "").startswith("multipart/form-data"):
            assert request.args is not None
            for name, values in request.args.items():
                arguments.setdefault(name.decode(), values[0].decode())
            body = b""
        isInsert = b"INSERT" in query.upper().encode() or INSERT.match(body)
        if isInsert:
            headers = request.requestHeaders.getAllRawHeaders()
            shown = {name.decode().lower(): values[0].decode() for name, values in headers}
            self._inserts.append({"arguments": arguments, "headers": shown})
        fault = self._faults.pop(0) if self._faults and isInsert else ""
        if fault == "500":
            return self._problem(request, "Code: 999. Told to fail", 500)
        body = DECODERS[request.getHeader("content-encoding") or ""](body)
        running = deferToThreadPool(reactor, self._pool, self._engine.run, arguments, body)
        running.addCallbacks(
            lambda rows: self._reply(request, rows, fault),
            lambda failure: self._fail(request, failure),
        )
        return NOT_DONE_YET

    def _reply(self, request: Request, rows: bytes, fault: str) -> None:
        """
        Send what was found, or part of it.
        """
        if fault == "500 afterwards":
            request.write(self._problem(request, "Code: 999. Told to fail afterwards", 500))
            request.finish()
            return
        request.setHeader("X-ClickHouse-Timezone", "UTC")
        request.setHeader("X-ClickHouse-Summary", json.dumps({"written_rows": "0"}))
        if fault == "cut":
            request.setHeader("Content-Length", b"1000")
            request.write(b"half")
            assert request.channel is not None
            request.channel.loseConnection()
            return
        request.write(rows)
        request.finish()

    def _fail(self, request: Request, failure: Failure) -> None:
        """
        Send what the engine says went wrong.
        """
        request.write(self._problem(request, failure.getErrorMessage(), 500))
        request.finish()

    def _problem(self, request: Request, text: str, status: int) -> bytes:
        code = re.search(r"Code: (\d+)", text)
        request.setResponseCode(status)
        request.setHeader("X-ClickHouse-Exception-Code", code.group(1) if code else "1000")
        return text.encode()


def main(folder: str, password: str, number: int, certificate: str) -> None:
    """
    Listen on a port; 0 is one of the system's choice. With the file of a
    certificate and its key, by TLS.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    site = Site(Endpoint(Engine(folder), password))
    if certificate:
        context = PrivateCertificate.loadPEM(Path(certificate).read_bytes()).options()
        port = reactor.listenSSL(number, site, context, interface="127.0.0.1")
    else:
        port = reactor.listenTCP(number, site, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
