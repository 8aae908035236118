# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
dnsguard as its users run it: a process of its own, asked over real sockets.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from dnsguard.wire.edns import EDNS
from dnsguard.wire.names import fromText

__all__ = ["DNSGuardProcess", "askTCP", "askUDP", "request"]

ROOT = Path(__file__).parents[2]

STARTING = 60.0
"""Seconds a process gets to answer its first query, on a busy machine."""


def request(name: str, type: int = 1, id: int = 0x1234, edns: EDNS | None = None) -> bytes:
    """
    A plain query, RD set, with the name's letter case as given.
    """
    wire = bytearray(fromText(name))
    at = 0
    for label in name.rstrip(".").split("."):
        if label:
            wire[at + 1 : at + 1 + len(label)] = label.encode("ascii")
            at += 1 + len(label)
    header = struct.pack("!HHHHHH", id, 0x0100, 1, 0, 0, 0 if edns is None else 1)
    question = bytes(wire) + struct.pack("!HH", type, 1)
    return header + question + (b"" if edns is None else edns.encode())


def askUDP(port: int, message: bytes, timeout: float = 15.0, host: str = "127.0.0.1") -> bytes:
    """
    Send one datagram and give the one that comes back.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect((host, port))
        client.send(message)
        return client.recv(65535)


def askTCP(
    port: int, *messages: bytes, timeout: float = 15.0, host: str = "127.0.0.1"
) -> list[bytes]:
    """
    Send messages over one connection, all at once, and give as many replies
    in the order in which they come.
    """
    replies: list[bytes] = []
    with socket.create_connection((host, port), timeout) as client:
        client.sendall(b"".join(struct.pack("!H", len(each)) + each for each in messages))
        stream = client.makefile("rb")
        while len(replies) < len(messages):
            (length,) = struct.unpack("!H", stream.read(2))
            replies.append(stream.read(length))
    return replies


class DNSGuardProcess:
    """
    One C{twistd -n dnsguard} process in a folder of its own.

    @ivar port: The port its listeners have on 127.0.0.1.
    @ivar log: The file that both of its output streams go to.
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        port: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self.folder = folder
        self.log = folder / "output.log"
        self.config = folder / "dnsguard.yaml"
        self.config.write_text(config, "utf-8")
        surroundings = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(folder),
            **(environment or {}),
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from twisted.scripts.twistd import run; run()",
                    "-n",
                    "--pidfile=",
                    "dnsguard",
                    "--config",
                    str(self.config),
                ],
                cwd=folder,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        """
        What the process has printed so far.
        """
        return self.log.read_text("utf-8", "replace")

    def waitUntilAnswering(self, name: str = "localhost") -> float:
        """
        Wait for the first answer, to a local name.

        @return: The seconds it took.
        @raise AssertionError: The process died or stayed silent.
        """
        started = time.monotonic()
        while time.monotonic() - started < STARTING:
            if self.process.poll() is not None:
                break
            try:
                askUDP(self.port, request(name), timeout=0.2)
            except OSError:
                time.sleep(0.02)
                continue
            return time.monotonic() - started
        self.stop()
        raise AssertionError(f"no answer from dnsguard:\n{self.output()}")

    def signal(self, number: signal.Signals) -> None:
        """
        Send the process a signal.
        """
        self.process.send_signal(number)

    def stop(self) -> int:
        """
        Ask the process to stop, as a service manager does, and wait for it.

        @return: Its exit status.
        """
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
                return -signal.SIGKILL
        return self.process.returncode
