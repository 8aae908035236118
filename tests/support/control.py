# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The control API without sockets, and requests to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.testing import MemoryReactorClock, StringTransport

from dnsguard.assembly import Guard
from dnsguard.control.channel import ControlFactory
from dnsguard.control.route import Caller, Family, Role, Route
from dnsguard.control.site import ControlSite
from dnsguard.tap import Options, TopService
from dnsguard.tap import makeService as makeTop
from tests.support.threads import PromptPool

__all__ = [
    "Connection",
    "Fixed",
    "Paper",
    "PromptMemoryReactor",
    "Response",
    "Server",
    "ask",
    "factoryOf",
]


NOON = 1_767_614_400.0
"""2026-01-05 12:00:00 UTC."""


class PromptMemoryReactor(MemoryReactorClock):
    """
    A reactor in memory whose threads do at once what they are given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = PromptPool()

    def getThreadPool(self) -> Any:
        """
        Give the pool.
        """
        return self.pool

    def callFromThread(self, callable: Any, *arguments: Any, **keywords: Any) -> None:
        """
        Call it at once.
        """
        callable(*arguments, **keywords)


@attrs.frozen
class Response:
    """
    An answer.

    @ivar headers: By lower-cased name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """
        The body, read.
        """
        return json.loads(self.body)


class Wire(StringTransport):
    """
    A transport that notes how it ends.
    """

    aborted = False
    halfClosed = False

    def abortConnection(self) -> None:
        """
        Note it.
        """
        self.aborted = True
        super().abortConnection()

    def loseWriteConnection(self) -> None:
        """
        Note it.
        """
        self.halfClosed = True


class Connection:
    """
    A client's connection.
    """

    def __init__(self, factory: ControlFactory, address: str = "127.0.0.1") -> None:
        kind = IPv6Address if ":" in address else IPv4Address
        peer = kind("TCP", address, 40000)
        self.transport = Wire(peerAddress=peer)
        self.channel = factory.buildProtocol(peer)
        if self.channel is not None:
            self.channel.makeConnection(self.transport)

    def send(self, octets: bytes) -> None:
        """
        Send octets, as the network would bring them.
        """
        for start in range(0, len(octets), 1 << 16):
            self.channel.dataReceived(octets[start : start + (1 << 16)])

    def leave(self) -> None:
        """
        Close the connection.
        """
        self.channel.connectionLost()

    def responses(self) -> list[Response]:
        """
        Read all that has been answered.
        """
        data, found = self.transport.value(), []
        while data:
            head, _, rest = data.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("transfer-encoding") == "chunked":
                body, data = _unchunked(rest)
            else:
                length = int(headers.get("content-length", 0))
                body, data = rest[:length], rest[length:]
            found.append(Response(int(first.split()[1]), headers, body))
        return found


def _unchunked(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if length == 0:
            break
    return body, data


def ask(
    factory: ControlFactory,
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str = "",
    headers: Iterable[tuple[str, str]] = (),
    address: str = "127.0.0.1",
) -> Response:
    """
    Send one request and read the answer.

    @param body: Sent as JSON, unless it is octets.
    """
    connection = Connection(factory, address)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost:8081", "Connection: close"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name}: {value}" for name, value in headers]
    octets = b""
    if body is not None:
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(octets)}"]
    connection.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + octets)
    reactor: Any = factory.reactor
    for _ in range(100):
        if connection.transport.value():
            break
        reactor.advance(0.0)
    connection.leave()
    (response,) = connection.responses()
    return response


@attrs.define
class Fixed:
    """
    A family of routes made for a test.
    """

    declared: list[Route]
    name: str = "Fixed"
    meaning: str = "For a test."

    def routes(self) -> Iterable[Route]:
        """
        Give them.
        """
        return self.declared


@attrs.define
class Paper:
    """
    Knows everybody by the token, which is the name of their role, and writes
    down on paper who did what.
    """

    noted: list[tuple[str, str, str, int]] = attrs.field(factory=list)

    def identify(self, request: Any) -> Caller:
        """
        Take the token for the role.
        """
        word = (request.getHeader(b"authorization") or b"").decode().removeprefix("Bearer ")
        role = Role[word.upper()] if word else Role.NOBODY
        return Caller(word, role, request.getClientAddress().host)

    def note(self, caller: Caller, method: str, path: str, status: int) -> None:
        """
        Write it down.
        """
        self.noted.append((caller.name, method, path, status))


def factoryOf(reactor: Any, *families: Family, paper: Paper | None = None) -> ControlFactory:
    """
    Serve families to all who say what their role is.
    """
    paper = paper or Paper()
    site = ControlSite(families, paper, paper, reactor)
    return ControlFactory(site.app.resource(), reactor)


class Server:
    """
    A whole server with its control API, but without sockets and threads. DNS is
    not served.

    @ivar path: The configuration file.
    @ivar token: A token that may do everything.
    """

    token = "a-token-for-tests"

    def __init__(self, folder: Path, config: str = "", token: str = token) -> None:
        """
        @param folder: Where everything is kept.
        @param config: What the configuration says besides.
        """
        self.token = token
        self.folder = folder
        self.reactor = PromptMemoryReactor()
        self.path = folder / "dnsguard.yaml"
        secret = f", token: {token}" if token else ""
        self.path.write_text(
            f"# For tests.\ndata_directory: {folder / 'data'}\n"
            f"blocklists: {{sources: []}}\ncontrol: {{enabled: true{secret}}}\n"
            f"query_store: {{engine: memory}}\n{config}"
        )
        options = Options()
        options.parseOptions(["--config", str(self.path)])
        # As with twistd --logger: the test's log is left alone.
        options.parent = {"logger": "tests"}  # type: ignore[assignment]
        guards: list[Guard] = []

        def assemble(config: Any, reactor: Any) -> Guard:
            guards.append(Guard(config, reactor, self.now))
            return guards[0]

        top = makeTop(options, self.reactor, assemble, {"HOME": str(folder)})
        assert isinstance(top, TopService)
        self.top = top
        self.guard = guards[0]

    def now(self) -> float:
        """
        Seconds since the epoch: it began at noon of a Monday.
        """
        return NOON + float(self.reactor.seconds())

    def start(self) -> None:
        """
        Serve the API.
        """
        assert self.guard.control is not None
        self.guard.control.startService()

    @property
    def factory(self) -> ControlFactory:
        """
        What takes connections.
        """
        assert self.guard.control is not None
        return self.guard.control.factory

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Response:
        """
        Ask with the token, unless another one is given.
        """
        return ask(self.factory, method, path, body, **{"token": self.token, **more})
