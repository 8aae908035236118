# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Whole processes that share a real Redis, and lose it.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from pathlib import Path

import trustme

from tests.support.ports import freePort
from tests.support.rediscase import RedisCase


class StandaloneTests(RedisCase):
    """
    One server, reached in all the ways there are.
    """

    def test_shared(self) -> None:
        """
        A name that one instance resolved is in L1 for another one.
        """
        server = self.redis()
        self.shares(server, f'address: "127.0.0.1:{server.port}"')

    def test_paused(self) -> None:
        """
        A server with a password and a database number that stalls for longer
        than all patience is used again when it goes on.
        """
        server = self.redis(
            settings={"user": ["guard on >secret ~* &* +@all", "default off"]},
            login=("guard", "secret"),
        )
        process = self.guard(
            "first",
            f'address: "127.0.0.1:{server.port}", db: 3, username: guard, password: secret',
        )
        load = self.load(process, "p")
        time.sleep(0.3)
        server.signal(signal.SIGSTOP)
        self.waitFor(lambda: "left alone" in process.output(), process)
        # Longer than connecting and logging in may take.
        time.sleep(4.5)
        server.signal(signal.SIGCONT)
        self.waitFor(lambda: process.output().count("is in use") == 2, process)
        self.assertGreater(load.answered(), 100)

    def test_socket(self) -> None:
        """
        A socket in the file system will do.
        """
        server = self.redis(settings={"unixsocket": "s"})
        # Short enough for a socket's address, wherever the tests are run.
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        (folder / "s").symlink_to(server.folder / "s")
        self.shares(server, f"unix_socket: {folder / 's'}")

    def test_tls(self) -> None:
        """
        An encrypted connection is made to the server that the certificate is
        for, and to no other one.
        """
        authority, stranger = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        stranger.cert_pem.write_to_path(str(self.folder / "stranger.pem"))
        own = authority.issue_cert("127.0.0.1")
        own.cert_chain_pems[0].write_to_path(str(self.folder / "cert.pem"))
        own.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        port = freePort()
        server = self.redis(
            settings={
                "tls-port": port,
                "tls-cert-file": self.folder / "cert.pem",
                "tls-key-file": self.folder / "key.pem",
                "tls-ca-cert-file": self.folder / "ca.pem",
                "tls-auth-clients": "no",
            }
        )
        text = 'address: "127.0.0.1:{}", tls: {{enabled: true, ca_file: "{}"}}'
        self.shares(server, text.format(port, self.folder / "ca.pem"))
        process = self.guard("third", text.format(port, self.folder / "stranger.pem"), ready=False)
        self.waitFor(lambda: "going on without it" in process.output(), process)
        self.resolve(process, "open.example.org")
        self.assertEqual(server.ask("EXISTS", "dns:open.example.org:1:1"), 0)

    def test_needed(self) -> None:
        """
        Without leave to go on without Redis, a process that can't reach it
        ends with a message.
        """
        text = f'address: "127.0.0.1:{freePort()}", degraded_on_unavailable: false'
        process = self.guard("first", text, ready=False)
        process.process.wait(60)
        self.assertIn("degraded_on_unavailable is off", process.output())

    def test_reload(self) -> None:
        """
        Another server can be used from one moment to the next, or none.
        """
        one, two = self.redis("one"), self.redis("two")
        process = self.guard("first", f'address: "127.0.0.1:{one.port}"')
        self.resolve(process, "one.example.org")
        self.waitFor(lambda: one.ask("EXISTS", "dns:one.example.org:1:1") == 1, process)
        text = process.config.read_text()
        process.config.write_text(text.replace(str(one.port), str(two.port)))
        process.signal(signal.SIGHUP)
        self.waitFor(lambda: process.output().count("is in use") == 2, process)
        self.waitFor(lambda: "configuration reloaded" in process.output(), process)
        self.resolve(process, "two.example.org")
        self.waitFor(lambda: two.ask("EXISTS", "dns:two.example.org:1:1") == 1, process)
        self.assertEqual(one.ask("EXISTS", "dns:two.example.org:1:1"), 0)
        process.config.write_text(text.replace("address", "# address").replace("}", "\n }"))
        process.signal(signal.SIGHUP)
        self.waitFor(lambda: len(two.ask("CLIENT", "LIST").splitlines()) == 1, process)
        self.resolve(process, "three.example.org")
