# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Redis servers of the tests' own, on loopback, each in a folder of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.ports import freePort

__all__ = ["MISSING", "RedisServer"]

MISSING = "" if shutil.which("redis-server") else "redis-server isn't installed"
"""Why tests with real servers can't be run; empty if they can."""

STARTING = 60.0
"""Seconds a server gets until it answers."""


class RedisServer:
    """
    One C{redis-server} process.

    @ivar port: Its port on 127.0.0.1.
    @ivar path: Its socket in the file system.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        sentinel: bool = False,
        port: int | None = None,
        login: tuple[str, ...] = (),
    ) -> None:
        """
        @param settings: Lines of its configuration; a list makes several.
        @param login: The arguments of AUTH.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = freePort() if port is None else port
        # Socket paths are short; trial's folders aren't always.
        self.path = str(Path(os.path.relpath(folder)) / "s")
        self.login = login
        self.process: subprocess.Popen[bytes] | None = None
        self._sentinel = sentinel
        lines = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": str(folder.resolve()),
            **({} if sentinel else {"save": '""', "appendonly": "no"}),
            **(settings or {}),
        }
        text = ""
        for name, value in lines.items():
            for each in value if isinstance(value, list) else [value]:
                text += f"{name} {each}\n"
        self._config = folder / "redis.conf"
        self._config.write_text(text)

    def start(self) -> None:
        """
        Start it, and wait until it answers.
        """
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                ["redis-server", str(self._config), *(["--sentinel"] if self._sentinel else [])],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + STARTING
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                time.sleep(0.02)
        text = (self.folder / "output.log").read_text("utf-8", "replace")
        self.stop()
        raise AssertionError(f"redis-server doesn't start:\n{text}")

    def ask(self, *words: str | bytes) -> Any:
        """
        Run one command over a connection of its own, in the open.
        """
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            stream = client.makefile("rwb")
            if self.login:
                _run(stream, ("AUTH", *self.login))
            return _run(stream, words)

    def signal(self, number: signal.Signals) -> None:
        """
        Send it a signal.
        """
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """
        End it at once, paused or not.
        """
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def _run(stream: Any, words: tuple[str | bytes, ...]) -> Any:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    stream.write(b"*%d\r\n" % len(parts))
    for part in parts:
        stream.write(b"$%d\r\n%b\r\n" % (len(part), part))
    stream.flush()
    return _read(stream)


def _read(stream: Any) -> Any:
    """
    Read one reply; errors are given as text that begins with a minus sign.
    """
    line = stream.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else stream.read(size + 2)[:-2]
    if kind == b"*":
        return [_read(stream) for _ in range(max(int(rest), 0))]
    if kind == b":":
        return int(rest)
    return rest.decode() if kind == b"+" else line.decode()
