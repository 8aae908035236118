# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A real ClickHouse engine for tests, in a process of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

__all__ = ["MISSING", "ClickHouseServer"]

MISSING = (
    ""
    if all(map(find_spec, ("chdb", "clickhouse_connect")))
    else "needs the packages chdb-core-lite, pandas, pyarrow and clickhouse-connect"
)
"""Why there can't be a server, or empty."""

_SCRIPT = Path(__file__).with_name("chdbserver.py")


class ClickHouseServer:
    """
    One server, which tests may stop, kill and start again.
    """

    _shared: ClickHouseServer | None = None

    def __init__(self, password: str = "", certificate: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dnsguard-clickhouse-"))
        self._password = password
        self._certificate = certificate
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        atexit.register(self.close)

    @classmethod
    def shared(cls) -> ClickHouseServer:
        """
        Give a running server that many tests may use, each its own database.
        """
        if cls._shared is None:
            cls._shared = cls()
            cls._shared.start()
        return cls._shared

    @property
    def address(self) -> str:
        """
        Where it listens.
        """
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """
        Start it; it has what it had before.
        """
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(_SCRIPT),
                str(self.folder / "data"),
                self._password,
                str(self.port),
                self._certificate,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def fault(self, mode: str, count: int = 1) -> None:
        """
        Have it fail the next inserts: C{500}, C{500%20afterwards} or C{cut}.
        """
        with urlopen(f"{self.address}/fault?mode={mode}&count={count}") as reply:
            reply.read()

    def inserts(self) -> list[dict[str, dict[str, str]]]:
        """
        The C{arguments} in the address, and the C{headers}, of the last inserts.
        """
        with urlopen(f"{self.address}/inserts") as reply:
            found: list[dict[str, dict[str, str]]] = json.loads(reply.read())
            return found

    def freeze(self) -> None:
        """
        Stop it dead.
        """
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """
        Let it go on.
        """
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """
        End it without warning.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def close(self) -> None:
        """
        End it and forget what it had.
        """
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
