# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A whole process whose Redis has something the matter with it: DNS is answered
all the same, one line says what it is, and when it is over Redis is used again.
"""

from __future__ import annotations

import signal
import time

from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess
from tests.support.rediscase import RedisCase
from tests.support.redisserver import RedisServer

NAME = "odd.example.org"
KEY = f"dns:{NAME}:1:1"


class FaultTests(RedisCase):
    """
    One server, and what can be wrong with it.
    """

    def using(self, server: RedisServer, ready: bool = True) -> DNSGuardProcess:
        """
        A process that uses a server.
        """
        return self.guard("first", f'address: "127.0.0.1:{server.port}"', ready)

    def lines(self, process: DNSGuardProcess, words: str) -> int:
        """
        How many lines of a process's log have some words.
        """
        return sum(words in line for line in process.output().splitlines())

    def goesOn(self, server: RedisServer, process: DNSGuardProcess) -> None:
        """
        Wait until a server is written to again.
        """
        before = server.ask("DBSIZE")
        self.waitFor(lambda: server.ask("DBSIZE") > before, process)

    def test_down(self) -> None:
        """
        A server that isn't there when dnsguard starts is used once it is.
        """
        server = self.redis()
        server.stop()
        process = self.using(server, ready=False)
        load = self.load(process, "d")
        self.waitFor(lambda: "going on without it" in process.output(), process)
        server.start()
        self.waitFor(lambda: "is in use" in process.output(), process)
        self.goesOn(server, process)
        self.assertGreater(load.answered(), 20)
        self.assertEqual(self.lines(process, "going on without it"), 1)
        self.assertEqual(self.lines(process, "is left alone"), 0)

    def test_killed(self) -> None:
        """
        So is one that dies, and comes back.
        """
        server = self.redis()
        process = self.using(server)
        load = self.load(process, "k")
        time.sleep(0.3)
        server.signal(signal.SIGKILL)
        self.waitFor(lambda: "is left alone" in process.output(), process)
        time.sleep(1.0)
        server.stop()
        server.start()
        self.waitFor(lambda: self.lines(process, "is in use") == 2, process)
        self.goesOn(server, process)
        self.assertGreater(load.answered(), 50)
        self.assertEqual(self.lines(process, "is left alone"), 1)

    def test_slow(self) -> None:
        """
        One that says nothing is left alone until it does.
        """
        server = self.redis()
        process = self.using(server)
        load = self.load(process, "s")
        time.sleep(0.3)
        server.signal(signal.SIGSTOP)
        self.waitFor(lambda: "is left alone" in process.output(), process)
        time.sleep(2.5)
        self.assertEqual(self.lines(process, "is left alone"), 1)
        server.signal(signal.SIGCONT)
        self.waitFor(lambda: self.lines(process, "is in use") == 2, process)
        self.goesOn(server, process)
        self.assertGreater(load.answered(), 50)

    def refuses(self, server: RedisServer, begin: tuple[str, ...], end: tuple[str, ...]) -> None:
        """
        Check what comes of a server that can't be written to.
        """
        process = self.using(server)
        self.resolve(process, "before.example.org")
        self.waitFor(lambda: server.ask("EXISTS", "dns:before.example.org:1:1") == 1, process)
        server.ask(*begin)
        load = self.load(process, "w")
        self.waitFor(lambda: "answers can't be kept" in process.output(), process)
        # What it has is still used.
        other = self.guard("second", f'address: "127.0.0.1:{server.port}"')
        self.resolve(other, "before.example.org")
        self.assertEqual(self.upstream.names.count("before.example.org"), 1)
        server.ask(*end)
        self.goesOn(server, process)
        self.assertGreater(load.answered(), 20)
        self.assertEqual(self.lines(process, "answers can't be kept"), 1)
        self.assertEqual(self.lines(process, "is left alone"), 0)

    def test_full(self) -> None:
        """
        A server without room is read.
        """
        self.refuses(
            self.redis(),
            ("CONFIG", "SET", "maxmemory", "1"),
            ("CONFIG", "SET", "maxmemory", "0"),
        )

    def test_readOnly(self) -> None:
        """
        So is one that has become a replica.
        """
        server = self.redis()
        server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        self.refuses(
            server,
            # Of a server that isn't there, so it keeps what it has.
            ("REPLICAOF", "127.0.0.1", str(freePort())),
            ("REPLICAOF", "NO", "ONE"),
        )

    def test_loading(self) -> None:
        """
        One that is still reading its file is used when it has.
        """
        settings = {"dbfilename": "dump.rdb", "loading-process-events-interval-bytes": 1024}
        server = self.redis(settings=settings)
        server.ask("EVAL", "for i = 1, 9999 do redis.call('SET', i, 'some data') end", "0")
        server.ask("SAVE")
        server.stop()
        slow = self.redis(settings={**settings, "key-load-delay": 2000}, port=server.port)
        process = self.using(slow, ready=False)
        load = self.load(process, "l")
        self.waitFor(lambda: "LOADING" in process.output(), process)
        self.assertIn("going on without it", process.output())
        slow.ask("CONFIG", "SET", "key-load-delay", "0")
        self.waitFor(lambda: "is in use" in process.output(), process)
        self.goesOn(slow, process)
        self.assertGreater(load.answered(), 20)
        self.assertEqual(self.lines(process, "LOADING"), 1)

    def odd(self, *command: str | bytes) -> None:
        """
        Check what comes of something odd under an answer's key.
        """
        server = self.redis()
        process = self.using(server)
        server.ask(*command)
        self.resolve(process, NAME)
        self.assertEqual(self.upstream.names.count(NAME), 1)
        # An answer has taken its place, and is good for others.
        self.waitFor(lambda: server.ask("TYPE", KEY) == "hash", process)
        address = self.upstream.addressOf(NAME)
        self.waitFor(lambda: server.ask("HGET", KEY, "msg")[-4:] == address, process)
        other = self.guard("second", f'address: "127.0.0.1:{server.port}"')
        self.resolve(other, NAME)
        self.assertEqual(self.upstream.names.count(NAME), 1)
        self.assertEqual(self.lines(process, f"{KEY}: "), 1)
        self.assertEqual(self.lines(process, "is left alone"), 0)

    def test_wrongType(self) -> None:
        """
        What isn't an answer gives way to one.
        """
        self.odd("LPUSH", KEY, "x")

    def test_corrupt(self) -> None:
        """
        So does what was one, or says so.
        """
        self.odd("HSET", KEY, "msg", "x" * 40, "soft_expiry", "9999999999", "stored_ttl", "300")

    def test_anotherName(self) -> None:
        """
        So does the answer to another question, which must reach nobody.
        """
        wire = b"\0\0\x81\x80\0\1\0\1\0\0\0\0\4evil\7example\3org\0\0\1\0\1"
        wire += b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"
        self.odd("HSET", KEY, "msg", wire, "soft_expiry", "9999999999")
