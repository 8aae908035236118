# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.exchange}: the transports with TLS. The others are
tested with L{dnsguard.cli.query}.
"""

from __future__ import annotations

import ssl
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import trustme
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.exchange import NoReply, Server, ask, makeQuestion
from dnsguard.wire.edns import EDNS
from dnsguard.wire.names import fromText
from tests.support.loopback import LoopbackServer, reply

ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"


def answering(question: bytes) -> list[bytes]:
    """
    Give an address.
    """
    return [reply(question, ADDRESS, answers=1)]


@cache
def authority() -> trustme.CA:
    """
    An authority, made once: that takes a moment.
    """
    return trustme.CA()


class SecureTests(SynchronousTestCase):
    """
    Tests for DNS over TLS and HTTPS.
    """

    def setUp(self) -> None:
        """
        Make a certificate.
        """
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert("dns.example.org").configure_cert(self.context)
        path = Path(self.mktemp())
        authority().cert_pem.write_to_path(str(path))
        self.trusted = str(path)
        self.question = makeQuestion(fromText("example.org"), 1, edns=EDNS())

    def server(self, transport: str, port: int, **options: Any) -> Server:
        """
        Whom to ask.
        """
        known: dict[str, Any] = {"tlsName": "dns.example.org", "authorities": self.trusted}
        return Server("127.0.0.1", port, transport, **{**known, **options})

    def serveTLS(self) -> int:
        """
        Answer over TLS; give the port.
        """
        served = LoopbackServer(answering, context=self.context)
        self.addCleanup(served.close)
        return served.port

    def serveHTTPS(self, status: int = 200) -> int:
        """
        Answer over HTTPS; give the port.
        """

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = self.rfile.read(int(self.headers["Content-Length"]))
                right = self.path == "/dns-query" and status == 200
                body = answering(question)[0] if right else b"no"
                self.send_response(status if self.path == "/dns-query" else 404)
                self.send_header("Content-Type", "application/dns-message")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        served = HTTPServer(("127.0.0.1", 0), Handler)
        served.socket = self.context.wrap_socket(served.socket, server_side=True)
        self.patch(served, "handle_error", lambda request, address: None)
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()

        def close() -> None:
            served.shutdown()
            thread.join()
            served.server_close()

        self.addCleanup(close)
        return int(served.server_address[1])

    def test_tls(self) -> None:
        """
        A reply comes over TLS from a server with the right certificate.
        """
        exchange = ask(self.server("tls", self.serveTLS()), self.question)
        self.assertEqual(exchange.layout.counts[1], 1)
        self.assertEqual(exchange.transport, "tls")

    def test_https(self) -> None:
        """
        A reply comes over HTTPS.
        """
        exchange = ask(self.server("https", self.serveHTTPS()), self.question)
        self.assertEqual(exchange.layout.counts[1], 1)

    def test_untrusted(self) -> None:
        """
        A certificate that isn't trusted, or has another name, ends it, unless
        any will do.
        """
        for transport, port in [("tls", self.serveTLS()), ("https", self.serveHTTPS())]:
            for wrong in ({"authorities": None}, {"tlsName": "other.example.org"}):
                failure = self.assertRaises(
                    NoReply, ask, self.server(transport, port, **wrong), self.question
                )
                self.assertIn("its certificate is not trusted", str(failure))
            ask(self.server(transport, port, authorities=None, verify=False), self.question)

    def test_status(self) -> None:
        """
        An HTTP error isn't a reply.
        """
        failure = self.assertRaises(
            NoReply, ask, self.server("https", self.serveHTTPS(503)), self.question
        )
        self.assertIn("HTTP status 503", str(failure))
        elsewhere = self.server("https", self.serveHTTPS(), path="/other")
        self.assertIn("404", str(self.assertRaises(NoReply, ask, elsewhere, self.question)))

    def test_notTLS(self) -> None:
        """
        A server that speaks something else isn't waited for.
        """
        plain = LoopbackServer(lambda question: [b"nonsense"])
        self.addCleanup(plain.close)
        for transport in ("tls", "https"):
            server = self.server(transport, plain.port, timeout=0.2)
            self.assertRaises(NoReply, ask, server, self.question)
