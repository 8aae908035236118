# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A process's control API, asked what its own OpenAPI document says can be asked,
and what it says can't, by schemathesis.

By default each of the two tests sends 1,000 requests. To send more::

    DNSGUARD_FUZZ_REQUESTS=10000 python -m twisted.trial tests.integration.test_schemathesis
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import tempfile
import time
import unittest
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from twisted.trial.unittest import SynchronousTestCase

from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request

try:
    import requests
    import schemathesis
    from requests.adapters import HTTPAdapter
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
    )
except ImportError:
    schemathesis = None  # type: ignore[assignment]

REQUESTS = int(os.environ.get("DNSGUARD_FUZZ_REQUESTS", "1000"))
"""How many requests each test sends at least."""

EACH = 12
"""Requests to one operation before the next one's turn."""

TOKEN = "a-token-for-tests"

NO_PRIMARY = dict.fromkeys(
    ("get_sync_config", "get_sync_status", "post_sync_stats"),
    "it always answers 503, as is documented: it isn't a primary",
)
"""What isn't asked at all, and why."""

LEFT_OUT = {
    **NO_PRIMARY,
    "get_queries_tail": "it doesn't end",
    "post_login": "whoever guesses passwords is shut out, with a good token, too",
    "post_upstreams_test": "it would ask addresses that aren't on this machine",
    "put_config": "an empty file is a good one, by which the API is served elsewhere",
    "patch_config": "it may be moved elsewhere; tests.control.test_fuzz changes keys one by one",
}
"""What isn't asked with a token, and why."""

STATE = (
    "blocklists/pause/status",
    "client-groups",
    "clients",
    "config",
    "config/history",
    "pauses",
    "trace-events",
    "upstreams",
)
"""Where the API tells what it could be made to change."""

Send = Callable[[Any], Any]


class FromAddress(HTTPAdapter if schemathesis else object):  # type: ignore[misc]
    """
    Connects from an address of its own.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        """
        Make the connections so.
        """
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **keywords)


@unittest.skipIf(schemathesis is None, "schemathesis isn't installed")
class SchemathesisTests(SynchronousTestCase):
    """
    Tests for what the document says.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.port, self.control = freePort(), freePort()
        self.url = f"http://127.0.0.1:{self.control}"
        config = (
            f"server: {{listen: ['127.0.0.1:{self.port}']}}\n"
            f"upstreams: ['127.0.0.1:{freePort()}']\n"
            f"control: {{listen: '127.0.0.1:{self.control}', token: {TOKEN}}}\n"
            "blocklists: {sources: [], denylist: [bad.example]}\n"
            "query_store: {engine: memory}\n"
        )
        self.process = DNSGuardProcess(self.folder, config, self.port)
        self.addCleanup(self.process.stop)
        self.process.waitUntilAnswering()
        deadline = time.monotonic() + 60
        while "control API served" not in self.process.output():
            self.assertLess(time.monotonic(), deadline, self.process.output())
            time.sleep(0.02)

    def ask(self, path: str) -> Any:
        """
        Ask the API, with the token.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=60)
        connection.request("GET", f"/api/v1/{path}", headers={"X-Auth-Token": TOKEN})
        try:
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def operations(self, without: dict[str, str]) -> list[Any]:
        """
        All operations but some. The document's word on tokens is kept from
        schemathesis, so that it is for the test to send them or not.
        """
        document = self.ask("openapi.json")
        del document["components"]["securitySchemes"]
        kept = []
        for operations in document["paths"].values():
            for operation in operations.values():
                operation.pop("security", None)
                kept.append(operation["operationId"])
        self.assertEqual(set(without) - set(kept), set())
        api: Any = schemathesis.openapi.from_dict(document)
        found = [each.ok() for each in api.get_all_operations()]
        return [each for each in found if each.definition.raw["operationId"] not in without]

    def fuzz(self, operations: list[Any], send: Send) -> Counter[int]:
        """
        Send requests that are as the document has them, and such that aren't.

        @return: How many were answered with each status.
        """
        answered: Counter[int] = Counter()
        turn = 0
        while answered.total() < REQUESTS:
            for operation in operations:
                before = answered.total()
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    self.fuzzOne(operation.as_strategy(generation_mode=mode), turn, send, answered)
                self.assertGreater(answered.total(), before, operation.label)
            turn += 1
        return answered

    def fuzzOne(self, cases: Any, turn: int, send: Send, answered: Counter[int]) -> None:
        """
        Send some requests to one operation.
        """

        @seed(turn)
        @settings(
            max_examples=EACH,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases)
        def one(case: Any) -> None:
            answered[send(case).status_code] += 1

        # There may be nothing that could be wrong in a request.
        with contextlib.suppress(Unsatisfiable):
            one()

    def state(self) -> dict[str, str]:
        """
        All that a request could have changed, as digests by name: what the
        process tells, and its files but for its own output.
        """
        found = dict(self.files())
        for path in STATE:
            told = self.ask(path)
            if path == "upstreams":
                del told["state"]  # How they do, in numbers.
            found[path] = json.dumps(told, sort_keys=True).encode()
        return {name: hashlib.sha256(octets).hexdigest() for name, octets in found.items()}

    def files(self) -> Iterator[tuple[str, bytes]]:
        """
        All that is written down.
        """
        for file in sorted(self.folder.rglob("*")):
            if file.is_file() and file != self.process.log:
                yield str(file.relative_to(self.folder)), file.read_bytes()

    def test_withAToken(self) -> None:
        """
        With a token, whatever is sent: no answer is a server's error, and each
        is as the document says; what isn't as the document says is refused.
        """
        session = requests.Session()
        checks = [
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            negative_data_rejection,
        ]

        def send(case: Any) -> Any:
            credentials = {"Authorization": f"Bearer {TOKEN}"}
            response = case.call(base_url=self.url, session=session, headers=credentials)
            # That something is too long is found out before the rest is looked at.
            told = checks[:-1] if response.status_code in (413, 414) else checks
            case.validate_response(response, checks=told)
            return response

        answered = self.fuzz(self.operations(LEFT_OUT), send)
        self.assertGreaterEqual(answered.total(), REQUESTS)
        self.assertGreater(answered[200], REQUESTS // 20)
        self.assertGreater(answered[400], REQUESTS // 20)
        self.check(answered)

    def test_withoutAToken(self) -> None:
        """
        Without a token, or with a wrong one, whatever is sent: no answer is a
        server's error, and nothing is different afterwards.
        """
        sessions = []
        for number in range(60):
            session = requests.Session()
            session.mount("http://", FromAddress(f"127.0.1.{number + 1}"))
            if number % 6 == 0:
                # Those are shut out before long, and others aren't because of them.
                session.headers["X-Auth-Token"] = "x"
            sessions.append(session)
        sent = 0

        def send(case: Any) -> Any:
            nonlocal sent
            sent += 1
            response = case.call(base_url=self.url, session=sessions[sent % len(sessions)])
            case.validate_response(response, checks=[not_a_server_error])
            return response

        operations = self.operations(NO_PRIMARY)
        before = self.state()
        answered = self.fuzz(operations, send)
        self.assertEqual(self.state(), before)
        self.assertGreater(answered[401], REQUESTS // 2)
        self.check(answered)

    def check(self, answered: Counter[int]) -> None:
        """
        The process is as well as before.
        """
        self.assertEqual([status for status in answered if status >= 500], [])
        self.assertEqual(askUDP(self.port, request("bad.example"))[3] & 15, 3)
        self.assertNotIn("Traceback", self.process.output())
        if os.environ.get("DNSGUARD_FUZZ_REQUESTS"):
            print(f"\n{answered.total()} requests: {dict(sorted(answered.items()))}")
