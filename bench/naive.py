# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What dnsguard would cost if it did the five things it doesn't: a small forwarder
with a cache, written as one writes it first, of stock parts.

Usage: C{python bench/naive.py PORT UPSTREAM REDIS [--rows FILE]}, which are ports on
127.0.0.1. C{bench/bottlenecks.py} puts the same load on it as on dnsguard. Nothing is
slow on purpose; each of these is what a tutorial shows:

  - I{rows}: each query is a dictionary, and one line of JSON (simplejson)
  - I{Redis}: the cache is asked about each query, hot or not: four C{HGET} by
    txredisapi, as the fields have been laid out to be read one by one
  - I{objects and copies}: an object for each datagram, a coroutine for each query,
    and a message that is cut to pieces and joined again
  - I{locks}: one lock around the table that two threads use, and a queue (which
    has another one) between them
  - I{UDP}: C{DatagramProtocol}, so one C{recvfrom} and one C{sendto} for each datagram
"""

from __future__ import annotations

import argparse
import queue
import struct
import threading
import time
from pathlib import Path
from typing import Any

import simplejson  # type: ignore[import-untyped]
import txredisapi
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
FIELDS = (b"msg", b"soft_expiry", b"stored_ttl", b"auth_ttl")
Address = tuple[str, int]


class Question:
    """
    A request, taken apart.
    """

    def __init__(self, request: bytes) -> None:
        self.began = time.time()
        self.number = request[:2]
        self.edns = request[11] == 1
        self.question = request[12:-11] if self.edns else request[12:]
        self.qType, self.qClass = struct.unpack("!HH", self.question[-4:])
        labels, at = [], 0
        while self.question[at]:
            labels.append(self.question[at + 1 : at + 1 + self.question[at]].lower())
            at += self.question[at] + 1
        self.name = b".".join(labels).decode("ascii")
        self.key = f"dns:{self.name}:{self.qType}:{self.qClass}"

    def reply(self, message: bytes, ttl: int) -> bytes:
        """
        Make the reply of what is cached: head, question, one record, OPT.
        """
        record = message[12 + len(self.question) :]
        record = record[:6] + struct.pack("!I", ttl) + record[10:]
        head = self.number + message[2:10] + struct.pack("!H", self.edns)
        return head + self.question + record + (OPT if self.edns else b"")


class Rows(threading.Thread):
    """
    The thread that writes rows, and counts them by name.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.lock = threading.Lock()
        self.hits: dict[str, int] = {}
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue(100_000)

    def run(self) -> None:
        """
        Encode and write, for ever.
        """
        with self.path.open("w") as file:
            while True:
                row = self.waiting.get()
                with self.lock:
                    self.hits[row["question_name"]] = self.hits.get(row["question_name"], 0) + 1
                file.write(simplejson.dumps(row) + "\n")


class Upstream(DatagramProtocol):
    """
    Whom to ask what isn't cached. One socket, ids in order: this is about other costs.
    """

    transport: Any

    def __init__(self, port: int) -> None:
        self.port = port
        self.number = 0
        self.waiting: dict[bytes, Deferred[bytes]] = {}

    def startProtocol(self) -> None:
        self.transport.connect("127.0.0.1", self.port)

    def ask(self, question: bytes) -> Deferred[bytes]:
        """
        Ask a question.
        """
        self.number = (self.number + 1) & 0xFFFF
        number = struct.pack("!H", self.number)
        self.transport.write(number + b"\1\0\0\1\0\0\0\0\0\0" + question)
        return self.waiting.setdefault(number, Deferred())

    def datagramReceived(self, datagram: bytes, address: Address) -> None:
        waiting = self.waiting.pop(datagram[:2], None)
        if waiting is not None:
            waiting.callback(datagram)


class Naive(DatagramProtocol):
    """
    The server.
    """

    _log = Logger()
    transport: Any

    def __init__(self, redis: Any, upstream: Upstream, rows: Rows) -> None:
        self.redis = redis
        self.upstream = upstream
        self.rows = rows

    def datagramReceived(self, datagram: bytes, address: Address) -> None:
        answered = Deferred.fromCoroutine(self.answer(datagram, address))
        answered.addErrback(lambda failure: self._log.failure("not answered", failure))

    async def answer(self, datagram: bytes, address: Address) -> None:
        """
        Look it up, or ask; answer; note.
        """
        question = Question(datagram)
        with self.rows.lock:
            hits = self.rows.hits.get(question.name, 0)
        message, expiry, stored, _ = await gatherResults(
            [self.redis.hget(question.key, field) for field in FIELDS]
        )
        if message is None:
            outcome, ttl = "upstream", 3600
            message = await self.upstream.ask(question.question)
            values = (message, int(question.began) + ttl, ttl, ttl)
            await self.redis.hmset(question.key, dict(zip(FIELDS, values, strict=True)))
        else:
            outcome, ttl = "cached", min(int(stored), int(expiry) - int(question.began))
        self.transport.write(question.reply(message, ttl), address)
        self.rows.waiting.put(self.row(question, address, outcome, hits, message))

    def row(
        self, question: Question, address: Address, outcome: str, hits: int, message: bytes
    ) -> dict[str, Any]:
        """
        What is stored of a query, as many columns as dnsguard stores.
        """
        return {
            "ts": question.began,
            "instance": "one",
            "client_ip": address[0],
            "client_name": "",
            "protocol": "udp",
            "question_name": question.name,
            "qtype": question.qType,
            "qclass": question.qClass,
            "outcome": outcome,
            "rcode": message[3] & 15,
            "answer": ".".join(map(str, message[-4:])),
            "upstream": "" if outcome == "cached" else f"127.0.0.1:{self.upstream.port}",
            "rule": "",
            "list": "",
            "group": "default",
            "hits": hits,
            "duration_us": int((time.time() - question.began) * 1e6),
        }


def main() -> None:
    """
    Serve until a signal.
    """
    parser = argparse.ArgumentParser(description="A forwarder as one writes it first.")
    parser.add_argument("port", type=int)
    parser.add_argument("upstream", type=int)
    parser.add_argument("redis", type=int)
    parser.add_argument("--rows", type=Path, default=Path("/dev/null"))
    options = parser.parse_args()
    reactor: Any = installed
    redis = txredisapi.lazyConnection(
        "127.0.0.1", options.redis, charset=None, convertNumbers=False
    )
    upstream, rows = Upstream(options.upstream), Rows(options.rows)
    rows.start()
    reactor.listenUDP(0, upstream, "127.0.0.1")
    reactor.listenUDP(options.port, Naive(redis, upstream, rows), "127.0.0.1", 4096)
    reactor.run()


if __name__ == "__main__":
    main()
