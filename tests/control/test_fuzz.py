# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Fuzzing: requests made of the OpenAPI document, more or less as it wants them,
against a whole server.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.convert import allPaths
from dnsguard.config.model import Config
from dnsguard.control.route import PREFIX
from tests.support.control import Connection, Server

REQUESTS = int(os.environ.get("DNSGUARD_FUZZ_REQUESTS", "5000"))
"""How many requests each test sends."""

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1 << 63,
    1e308,
    0.5,
    "",
    " ",
    "a",
    "example.org",
    "bad.example",
    "*.example.org",
    "192.0.2.1",
    "2001:db8::/32",
    "\x00",
    "\ud800",
    "ä.example",
    "'; DROP TABLE queries; --",
    "../../etc/passwd",
    "${file:/etc/hostname}",
    "***",
    "a" * 300,
    "x." * 200,
    [],
    {},
    [None],
    [[]],
    {"a": None},
    {"": {"": []}},
)

KEYS = [
    path
    for path, _ in allPaths(Config)
    if not path.startswith(("control.", "data_directory", "query_store"))
]

VALUES = (*ODD, "5s", "10MB", 1, 10, "127.0.0.1:53", ["example.org"], [{"name": "a"}], "json")

SHUT = (
    "get_sync",
    "post_sync",
    "reload",
    "upstreams_test",
    "config_undo",
    "password",
    "login",
    "tail",
    "tokens",
)
"""
Operations left out where somebody may do everything: those that always answer 503,
ask the network, take long on purpose, don't end, or would lock the test out.
"""


class Fuzzer:
    """
    Makes requests.
    """

    def __init__(self, document: Any, seed: int) -> None:
        self.random = random.Random(seed)
        self.operations = [
            (method.upper(), path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]

    def value(self, schema: Any, depth: int = 0) -> Any:
        """
        A value that a schema likes, mostly.
        """
        pick = self.random
        if pick.random() < 0.15 or depth > 6:
            return pick.choice(ODD)
        if "enum" in schema:
            return pick.choice(schema["enum"])
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = pick.choice(kind)
        if kind == "object" or (kind is None and pick.random() < 0.5):
            return self.object(schema, depth)
        if kind == "array":
            return [self.value(schema["items"], depth + 1) for _ in range(pick.randrange(4))]
        if kind == "integer":
            low, high = schema.get("minimum", -5), schema.get("maximum", 100)
            return pick.choice((low, high, pick.randint(int(low), int(high)), low - 1, high + 1))
        if kind == "number":
            return pick.uniform(-10, 1000)
        if kind == "boolean":
            return pick.random() < 0.5
        return pick.choice([odd for odd in ODD if isinstance(odd, str)])

    def object(self, schema: Any, depth: int) -> Any:
        """
        An object, some of whose fields are there.
        """
        pick = self.random
        made = {
            name: self.value(field, depth + 1)
            for name, field in schema.get("properties", {}).items()
            if pick.random() < 0.85
        }
        if pick.random() < 0.1:
            made[pick.choice(("x", "cache", "control", "upstreams"))] = pick.choice(ODD)
        return made

    def request(self, credentials: str) -> bytes:
        """
        One request, as octets.
        """
        pick = self.random
        method, path, operation = pick.choice(self.operations)
        for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
            path = path.replace(f"{{{name}}}", quoted(str(pick.choice(ODD))))
        if pick.random() < 0.4:
            path = pick.choice([*operation.get("x-aliases", ()), path])
        query = [
            f"{parameter['name']}={quoted(str(self.value(parameter['schema'])))}"
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query" and pick.random() < 0.7
        ]
        body = b""
        if "requestBody" in operation and pick.random() < 0.95:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            value = self.value(schema)
            if "config" in operation["operationId"] and pick.random() < 0.7:
                patch = self.patch()
                value = patch if method == "PATCH" else {"patch": patch}
            body = json.dumps(value).encode()
        if pick.random() < 0.03:
            method = pick.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "BREW"))
        target = f"{path}?{'&'.join(query)}" if query else path
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{credentials}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        if pick.random() < 0.05:
            head += f"If-Match: {pick.choice(('*', 'x', chr(34)))}\r\n"
        octets = head.encode("utf-8", "replace") + b"\r\n" + body
        return self.broken(octets) if pick.random() < 0.1 else octets

    def patch(self) -> Any:
        """
        A change of one or two keys of the configuration.
        """
        patch: dict[str, Any] = {}
        for _ in range(self.random.randrange(1, 3)):
            steps = self.random.choice(KEYS).replace("[]", "").split(".")
            inner = patch
            for step in steps[:-1]:
                inner = inner.setdefault(step, {})
                if not isinstance(inner, dict):
                    break
            else:
                inner[steps[-1]] = self.random.choice(VALUES)
        return patch

    def broken(self, octets: bytes) -> bytes:
        """
        The same with some octets changed, lost or repeated.
        """
        pick = self.random
        changed = bytearray(octets)
        for _ in range(pick.randrange(1, 4)):
            at = pick.randrange(len(changed))
            way = pick.randrange(3)
            if way == 0:
                changed[at] = pick.randrange(256)
            elif way == 1:
                del changed[at : at + pick.randrange(1, 20)]
            else:
                changed[at:at] = changed[at : at + pick.randrange(1, 20)]
            if not changed:
                return b"\r\n"
        return bytes(changed)


def quoted(text: str) -> str:
    """
    Escape for a URL what would end it, and leave the rest as odd as it is.
    """
    return "".join(
        character
        if character.isalnum() and character.isascii()
        else "".join(f"%{octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))
        for character in text
    )


class FuzzTests(SynchronousTestCase):
    """
    Tests for what no request may do.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.server = Server(self.folder)
        service: Any = self.server.guard.blocklists
        service.refresh = lambda: succeed(service.lists)
        listeners: Any = self.server.guard.listeners
        # DNS isn't served here, and /ready is to say that it is.
        listeners.inner.running = 1
        self.server.start()

    def fuzzer(self, seed: int, without: tuple[str, ...] = ()) -> Fuzzer:
        """
        A fuzzer, of all operations but some.
        """
        document = self.server.ask("GET", f"{PREFIX}/openapi.json").json
        fuzzer = Fuzzer(document, seed)
        fuzzer.operations = [
            each
            for each in fuzzer.operations
            if not any(word in each[2]["operationId"] for word in without)
        ]
        return fuzzer

    def send(self, octets: bytes, address: str) -> list[int]:
        """
        Send a request; give the statuses of what is answered.
        """
        connection = Connection(self.server.factory, address)
        try:
            connection.send(octets)
            for _ in range(20):
                if connection.transport.value():
                    break
                self.server.reactor.advance(0.0)
            head = connection.transport.value().split(b"\r\n\r\n")[0]
            return [int(head.split()[1])] if head else []
        finally:
            connection.leave()

    def state(self) -> dict[str, bytes]:
        """
        All files, and what is in force.
        """
        files = {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        guard: Any = self.server.guard
        facts = (
            guard.config,
            guard.policies.current.generation,
            guard.control.authenticator.known,
        )
        return {**files, "in force": repr(facts).encode()}

    def test_withoutATokenNothingChanges(self) -> None:
        """
        Whatever is sent without the right token: nothing breaks, and nothing is
        different afterwards.
        """
        fuzzer = self.fuzzer(seed=1, without=("login", "get_sync", "post_sync"))
        before = self.state()
        answered: dict[int, int] = {}
        for number in range(REQUESTS):
            wrong = (
                "",
                "Authorization: Bearer x\r\n",
                "X-Auth-Token: \r\n",
                "Authorization: x\r\n",
            )
            octets = fuzzer.request(fuzzer.random.choice(wrong))
            for status in self.send(octets, f"192.0.2.{number % 250}"):
                self.assertLess(status, 500, octets)
                answered[status] = answered.get(status, 0) + 1
        self.assertEqual(self.state(), before)
        self.assertGreater(answered[401], REQUESTS // 10)

    def test_withATokenNothingBreaks(self) -> None:
        """
        Whatever is sent with the token: no answer says that something broke,
        and no secret is ever answered.
        """
        fuzzer = self.fuzzer(seed=2, without=SHUT)
        credentials = f"Authorization: Bearer {self.server.token}\r\n"
        statuses: dict[int, int] = {}
        for number in range(REQUESTS):
            octets = fuzzer.request(credentials)
            self.server.reactor.advance(0.3)
            for status in self.send(octets, f"192.0.2.{number % 250}"):
                self.assertNotEqual(status, 500, octets)
                self.assertLess(status, 504, octets)
                statuses[status] = statuses.get(status, 0) + 1
        self.assertGreater(statuses[200], REQUESTS // 20)
        self.assertGreater(statuses[400], REQUESTS // 20)
        self.assertNotIn(503, statuses)
