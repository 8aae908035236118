# -*- test-case-name: tests.cli.test_client -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Speaks with a running instance's control API.

What goes wrong ends the command with one line that says where and what to do,
and with an exit status that scripts can tell apart. The token is sent in a
header: it is in no URL and so in no message and no log.
"""

from __future__ import annotations

import http.client
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click

from dnsguard.cli.entry import Exit

__all__ = ["API", "DEFAULT_URL", "PREFIX", "Trouble", "apiOptions", "quoted", "readToken"]

PREFIX = "/api/v1"
DEFAULT_URL = "http://127.0.0.1:8081"
TOKEN_FILE = "~/.config/dnsguard/token"

MOST_OCTETS = 64 << 20
"""Octets of an answer that are read at most."""

MOST_LINE = 1 << 20
"""Octets of one event of a stream that are read at most."""

BEAT_SECONDS = 60.0
"""How long a stream may be silent, at least: it has a beat of 15 seconds."""

_MOST_TOKEN = 512


class Trouble(click.ClickException):
    """
    The command can't do it, and says why in a line.

    @ivar exit_code: What the command ends with, see L{Exit}.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """
        Write the line.
        """
        click.echo(f"dnsguard: {self.format_message()}", file=file or sys.stderr)


Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")


def apiOptions(command: Command) -> Command:
    """
    Give a command what it needs to call the API: it is called with C{api}, an
    L{API}, and C{asJSON} besides its own arguments.
    """

    @click.pass_context
    def called(context: click.Context, /, **options: Any) -> Any:
        api = API(
            options.pop("url"),
            readToken(options.pop("token"), options.pop("token_file")),
            options.pop("timeout"),
        )
        try:
            return context.invoke(command, api=api, **options)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            # Commands take answers for what they should be. Something else may
            # be served there, or another version.
            reason = f"an answer that isn't understood ({problem!r:.200})"
            raise Trouble(
                f"{api.url}: {reason}; is this a dnsguard of this version?", Exit.REFUSED
            ) from problem

    called.__name__ = command.__name__
    called.__doc__ = command.__doc__
    for option in _OPTIONS:
        called = option(called)
    # The command's own are told first.
    own = getattr(command, "__click_params__", [])
    called.__click_params__ += own  # type: ignore[attr-defined]
    return called  # type: ignore[return-value]


_OPTIONS = (
    click.option("--json", "asJSON", is_flag=True, help="Write JSON, for programs."),
    click.option(
        "--timeout",
        type=click.FloatRange(0.1, 3600),
        default=60.0,
        show_default=True,
        help="Seconds to wait for an answer.",
    ),
    click.option(
        "--token-file",
        type=click.Path(dir_okay=False),
        envvar="DNSGUARD_TOKEN_FILE",
        help=f"A file with the token that nobody else may read. [default: {TOKEN_FILE}]",
    ),
    click.option(
        "--token",
        envvar=["DNSGUARD_TOKEN", "DNS_CONTROL_TOKEN"],
        help="The API token, or - to read it from stdin. Others on this machine can see "
        "arguments: better set $DNSGUARD_TOKEN or use a file.",
    ),
    click.option(
        "--url",
        envvar=["DNSGUARD_URL", "DNS_CONTROL_URL"],
        default=DEFAULT_URL,
        show_default=True,
        help="Where the instance's control API is.",
    ),
)


def readToken(token: str | None, file: str | None) -> str:
    """
    Find the token to show.

    @param token: The token itself; C{-}: it is on standard input.
    @param file: A file that has it; L{None}: the usual one, if it is there.
    @return: The token; empty if there is none.
    """
    if token == "-":
        token = sys.stdin.readline()
    elif token is None:
        token = _fileToken(file)
    token = token.strip()
    if len(token) > _MOST_TOKEN or not token.isprintable() or not token.isascii():
        raise Trouble("what should be the token can't be one", Exit.USAGE)
    return token


def _fileToken(file: str | None) -> str:
    """
    Read the token's file.
    """
    path = Path(os.path.expanduser(file or TOKEN_FILE))
    try:
        with path.open("rb") as source:
            mode = os.fstat(source.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise Trouble(
                    f"{path}: others may read it; say: chmod 600 {path}", Exit.UNAUTHORIZED
                )
            return source.read(_MOST_TOKEN + 2).decode("utf-8", "replace")
    except OSError as problem:
        if file is None and isinstance(problem, FileNotFoundError | NotADirectoryError):
            return ""
        raise Trouble(f"{path}: {problem.strerror}", Exit.USAGE) from None


class API:
    """
    The control API of one instance.

    @ivar url: Where it is, without path.
    """

    def __init__(
        self, url: str, token: str = "", timeout: float = 60.0, prefix: str = PREFIX
    ) -> None:
        """
        @param prefix: What every path begins with.
        @raise Trouble: The URL isn't one.
        """
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            parts, self._host = urlsplit(""), ""
        if parts.scheme not in {"http", "https"} or not self._host:
            raise Trouble(f"{url!r} is no URL such as {DEFAULT_URL}", Exit.USAGE)
        if parts.username is not None or parts.query:
            raise Trouble("the URL has no place for secrets; use a token", Exit.USAGE)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/") + prefix
        self._prefix = prefix
        self._token = token
        self._timeout = timeout

    def get(self, path: str, **query: Any) -> Any:
        """
        Read something.
        """
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any = None) -> Any:
        """
        Have something done.
        """
        return self.call("POST", path, {} if body is None else body)

    def call(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        """
        Call an endpoint.

        @param path: Below L{PREFIX}; what comes from people is quoted already,
            see L{quoted}.
        @return: The JSON that is answered.
        @raise Trouble: Nobody answers, or the answer is an error.
        """
        with self._asked(method, path, body, query) as response:
            octets = self._guarded(lambda: response.read(MOST_OCTETS + 1))
        if len(octets) > MOST_OCTETS:
            raise Trouble(f"{self.url}{self._prefix}{path}: the answer is too large", Exit.REFUSED)
        return self._value(path, response.status, octets)

    def lines(self, path: str, **query: Any) -> Iterator[str]:
        """
        Follow a stream of text.

        @raise Trouble: Nobody answers, the answer is an error, or it ends in
            the middle of a line.
        """
        patience = max(self._timeout, BEAT_SECONDS)
        with self._asked("GET", path, None, query, patience) as response:
            if response.status != 200:
                self._value(path, response.status, response.read(MOST_LINE))
            while line := self._guarded(lambda: response.readline(MOST_LINE)):
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    def _asked(
        self, method: str, path: str, body: Any, query: Any, patience: float = 0.0
    ) -> http.client.HTTPResponse:
        """
        Send a request, and read the beginning of what comes back.

        @param patience: Seconds to wait for what comes next; 0: as for all.
        """
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=patience or self._timeout)
        headers = {"Accept": "application/json, */*", "Connection": "close"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        octets = None
        if body is not None:
            octets = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        given = {key: value for key, value in (query or {}).items() if value is not None}
        target = self._path + path + (f"?{urlencode(given)}" if given else "")

        def ask() -> http.client.HTTPResponse:
            connection.request(method, target, octets, headers)
            return connection.getresponse()

        return self._guarded(ask)

    def _guarded(self, work: Callable[[], T]) -> T:
        """
        Do something over the network.
        """
        try:
            return work()
        except TimeoutError:
            reason = f"no answer within {self._timeout:g} seconds"
        except http.client.HTTPException as problem:
            reason = f"that isn't HTTP ({type(problem).__name__})"
        except OSError as problem:
            reason = problem.strerror or str(problem)
        raise Trouble(
            f"can't reach {self.url}: {reason}; does it run, and is --url right?",
            Exit.UNREACHABLE,
        )

    def _value(self, path: str, status: int, octets: bytes) -> Any:
        """
        Read an answer.
        """
        try:
            value = json.loads(octets) if octets.strip() else None
        except (ValueError, RecursionError):
            value = _NONSENSE
        if status < 300 and value is not _NONSENSE:
            return value
        reason = value.get("error") if isinstance(value, dict) else None
        reason = str(reason or http.client.responses.get(status, "odd answer"))[:500]
        where = f"{self.url}{self._prefix}{path}"
        if status == 401 and not self._token:
            advice = "it wants a token: set $DNSGUARD_TOKEN or use --token-file"
            raise Trouble(f"{where}: {advice}", Exit.UNAUTHORIZED)
        if status in {401, 403}:
            raise Trouble(f"{where}: {reason}", Exit.UNAUTHORIZED)
        if status == 404 and not isinstance(value, dict):
            reason = "there is no such thing; is this a dnsguard of this version?"
        raise Trouble(f"{where}: {reason} ({status})", Exit.REFUSED)


_NONSENSE = object()


def quoted(text: str) -> str:
    """
    Quote what people gave for a place in a path.
    """
    return quote(text, safe="")
