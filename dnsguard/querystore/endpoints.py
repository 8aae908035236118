# -*- test-case-name: tests.querystore.test_endpoints -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The servers of a ClickHouse store, asked one after the other.

Everything here blocks and is called in threads. A server that can't be reached
is left for the next; what a server says is wrong with a statement is told at
once, for the others would say the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from logging import NullHandler, getLogger
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import clickhouse_connect
import urllib3
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from dnsguard.errors import StoreError

__all__ = ["Credentials", "Endpoints", "Refused"]

T = TypeVar("T")

# What the client library would print of an error is in the error too.
getLogger("clickhouse_connect").addHandler(NullHandler())

MISSING = frozenset([60, 81])
"""Codes for a table or a database that isn't there."""


class Refused(StoreError):
    """
    A server was reached, and said no.

    @ivar code: The server's code for why; 0 if it gave none.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__("clickhouse", reason)
        self.code = code

    @property
    def isMissing(self) -> bool:
        """
        Is the table or database not there?
        """
        return self.code in MISSING


@attrs.frozen
class Credentials:
    """
    Who we are to the servers, and who they must be to us. Sent in headers,
    never in addresses, which end up in logs.

    @ivar certificates: A file of certificates to trust, or empty for the
        system's.
    @ivar verify: Check the servers' certificates?
    """

    username: str = "default"
    password: str = attrs.field(default="", repr=False)
    certificates: str = ""
    verify: bool = True


class Endpoints:
    """
    Clients for one or more servers.

    @ivar failovers: How often another server was turned to.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        credentials: Credentials,
        connectSeconds: int = 5,
        exchangeSeconds: int = 15,
        compression: str = "lz4",
    ) -> None:
        """
        @param addresses: C{http://host:8123} or C{https://host:8443}, asked in
            this order.
        @param connectSeconds: The most to wait for a connection.
        @param exchangeSeconds: The most to wait for octets from a server.
        @param compression: C{lz4}, C{gzip} or empty.
        @raise StoreError: An address is something else, or holds a password.
        """
        if not addresses:
            raise StoreError("clickhouse", "no address")
        self._places = [_place(address) for address in addresses]
        self._credentials = credentials
        self._connectSeconds = connectSeconds
        self._exchangeSeconds = exchangeSeconds
        self._compression = compression
        self._clients: dict[int, Any] = {}
        self._current = 0
        self._lock = threading.Lock()
        self.failovers = 0

    @property
    def current(self) -> str:
        """
        The server asked first.
        """
        return f"{self._places[self._current]['host']}:{self._places[self._current]['port']}"

    def _client(self, number: int) -> Any:
        """
        Give the client of one server, connecting if there is none.
        """
        with self._lock:
            client = self._clients.get(number)
        if client is None:
            client = clickhouse_connect.get_client(
                **self._places[number],
                username=self._credentials.username,
                password=self._credentials.password,
                verify=self._credentials.verify,
                ca_cert=self._credentials.certificates or None,
                compress=self._compression or False,
                connect_timeout=self._connectSeconds,
                send_receive_timeout=self._exchangeSeconds,
                query_retries=0,
                autogenerate_session_id=False,
                client_name="dnsguard",
                pool_mgr=None,
                dedicated_pool=True,
            )
            with self._lock:
                self._clients[number] = client
        return client

    def call(self, work: Callable[[Any], T]) -> T:
        """
        Do something with the first server that can be reached.

        @param work: Called with a client.
        @raise Refused: A server said no.
        @raise StoreError: None could be reached.
        """
        first = self._current
        reasons = []
        for step in range(len(self._places)):
            number = (first + step) % len(self._places)
            try:
                result = work(self._client(number))
            except (ClickHouseError, urllib3.exceptions.HTTPError, OSError) as reason:
                code = getattr(reason, "code", None) or 0
                if isinstance(reason, DatabaseError) and code:
                    raise Refused(_firstLine(reason), code) from None
                reasons.append(f"{self._places[number]['host']}: {_firstLine(reason)}")
                self._forget(number)
            else:
                if number != first:
                    self._current = number
                    self.failovers += 1
                return result
        raise StoreError("clickhouse", "; ".join(reasons))

    def _forget(self, number: int) -> None:
        """
        Let a client go whose server didn't answer.
        """
        with self._lock:
            client = self._clients.pop(number, None)
        if client is not None:
            client.close()

    def close(self) -> None:
        """
        Let all clients go.
        """
        for number in range(len(self._places)):
            self._forget(number)


def _place(address: str) -> dict[str, Any]:
    """
    Read one address.
    """
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = parts.port
    except ValueError:
        raise StoreError("clickhouse", "an address that is no URL") from None
    if parts.username is not None or parts.password is not None or parts.query:
        # Not shown: it may hold the password.
        raise StoreError("clickhouse", "an address must hold no credentials or parameters")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreError("clickhouse", f"address {address[:100]!r} is no http or https URL")
    secure = parts.scheme == "https"
    return {
        "host": parts.hostname,
        "port": port or (8443 if secure else 8123),
        "interface": parts.scheme,
        "secure": secure,
        "proxy_path": parts.path.strip("/"),
    }


def _firstLine(reason: BaseException) -> str:
    """
    Give the first line of a message.
    """
    return (str(reason).strip() or type(reason).__name__).splitlines()[0][:300]
