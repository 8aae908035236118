# -*- test-case-name: tests.config.sections.test_redis -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{cache.redis}: the cache that several instances share.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Flag, Many, ScalarKind, Text
from dnsguard.config.quantities import Duration, Integer

__all__ = ["RedisConfig", "RedisMode", "RedisServer", "RedisTLSConfig"]

_SERVER = re.compile(
    r"(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9_][A-Za-z0-9_.-]{0,252}))(?::([0-9]{1,5}))?", re.ASCII
)


class RedisMode(enum.Enum):
    """
    What there is: one server, some that stand in for each other, or many that
    share the keys.
    """

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@attrs.frozen
class RedisServer:
    """
    Where a server is.

    @ivar host: A host's name or address.
    @ivar port: Its port; L{None}: the usual one.
    """

    host: str
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


@attrs.frozen
class Server(ScalarKind):
    """
    A kind: C{host:port}.
    """

    @property
    def expected(self) -> str:
        return "host:port such as redis.example.org:6379 or [2001:db8::1]:6379"

    def read(self, text: str) -> RedisServer:
        """
        Read an address.
        """
        match = _SERVER.fullmatch(text.strip())
        if match is None:
            raise ValueError
        port = None if match[3] is None else int(match[3])
        if port is not None and not 0 < port < 65536:
            raise ValueError("a port is a number from 1 to 65535")
        return RedisServer(match[1] or match[2], port)

    def show(self, value: RedisServer) -> str:
        return f'"{value}"'


@attrs.frozen
class Servers(ScalarKind):
    """
    A kind: none, one or several C{host:port}, parted by commas.
    """

    @property
    def expected(self) -> str:
        return "host:port, or several parted by commas"

    def read(self, text: str) -> tuple[RedisServer, ...]:
        """
        Read addresses.
        """
        return tuple(Server().read(part) for part in text.split(",") if part.strip())

    def show(self, value: tuple[RedisServer, ...]) -> str:
        return '"' + ",".join(map(str, value)) + '"'


_FILE = Text("a path", least=0)


@attrs.frozen
class RedisTLSConfig:
    """
    Whether the connection is encrypted. The server's certificate is always
    checked.
    """

    enabled: bool = key(Flag(), False, meaning="Is it?")
    caFile: str = key(
        _FILE,
        "",
        meaning="A PEM file of authorities to trust instead of the machine's.",
    )
    certificateFile: str = key(
        _FILE, "", meaning="A PEM file with our own certificate, if the server wants one."
    )
    keyFile: str = key(_FILE, "", meaning="Its key, if that isn't in the same file.")
    serverName: str = key(
        Text("a host name", least=0),
        "",
        unset="the host that is connected to",
        meaning="The name that the server's certificate must be for.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        A key belongs to a certificate.
        """
        if self.keyFile and not self.certificateFile:
            yield Fault(("key_file",), "without certificate_file it is the key to nothing")


@attrs.frozen
class RedisConfig:
    """
    Answers that several instances share, and that survive a restart.
    """

    address: tuple[RedisServer, ...] = key(
        Servers(),
        (),
        unset="there is no shared cache",
        meaning="""The server, ``host:port``. Several, parted by commas, are Sentinels or nodes of
            a cluster, as ``mode`` says.""",
    )
    unixSocket: str = key(
        _FILE, "", meaning="The server's socket in the file system, instead of ``address``."
    )
    db: int = key(Integer(0, 65535), 0, meaning="The number of the database.")
    username: str = key(
        Text("a user's name", least=0),
        "",
        meaning="The user to log in as; none for servers without.",
    )
    password: str = key(
        Text("a password", least=0, references=True, hidden=True),
        "",
        meaning="The password. Better ``${env:NAME}`` or ``${file:/path}``.",
    )
    tls: RedisTLSConfig = key(Section(RedisTLSConfig), RedisTLSConfig(), meaning="Encryption.")
    mode: RedisMode = key(
        Choice(RedisMode),
        RedisMode.STANDALONE,
        meaning="""``standalone``: one server. ``sentinel``: Sentinels say which server is the
            master. ``cluster``: a Redis Cluster.""",
    )
    masterName: str = key(
        Text("a name", least=0), "", meaning="What Sentinels call the master: for that mode."
    )
    sentinelAddrs: tuple[RedisServer, ...] = key(
        Many(Server(), single=True), (), meaning="The Sentinels, unless ``address`` has them."
    )
    sentinelUsername: str = key(
        Text("a user's name", least=0),
        "",
        meaning="The user to log in as at Sentinels, which have users of their own.",
    )
    sentinelPassword: str = key(
        Text("a password", least=0, references=True, hidden=True),
        "",
        meaning="The Sentinels' password; none for those without. ``password`` is the servers'.",
    )
    clusterAddrs: tuple[RedisServer, ...] = key(
        Many(Server(), single=True),
        (),
        meaning="Some nodes of the cluster, unless ``address`` has them.",
    )
    timeout: float = key(
        Duration(least=0.005, most=2),
        0.05,
        meaning="""How long a lookup may take before it counts as failed and Redis is left alone
            for a moment. No query waits for longer.""",
    )
    maxKeys: int = key(
        Integer(0, 2**40, "answers"),
        10_000,
        meaning="The most answers kept in it; those asked for least go. 0: there is no bound.",
    )
    degradedOnUnavailable: bool = key(
        Flag(),
        True,
        meaning="""Start without Redis if it can't be reached? If not, dnsguard stops, with a
            message. Once it runs, it goes on without Redis in either case, and uses it again when
            it is back.""",
    )

    @property
    def enabled(self) -> bool:
        """
        Is there to be a shared cache?
        """
        return bool(self.servers or self.unixSocket)

    @property
    def servers(self) -> tuple[RedisServer, ...]:
        """
        The servers that the mode is about.
        """
        if self.mode is RedisMode.SENTINEL:
            return self.sentinelAddrs or self.address
        if self.mode is RedisMode.CLUSTER:
            return self.clusterAddrs or self.address
        return self.address

    def faults(self) -> Iterator[Fault]:
        """
        Each mode has what it needs.
        """
        mode = self.mode
        if self.unixSocket:
            if mode is not RedisMode.STANDALONE:
                yield Fault(("unix_socket",), "only a standalone server has one", ("mode",))
            if self.address:
                yield Fault(("unix_socket",), "there is an address as well", ("address",))
            if self.tls.enabled:
                yield Fault(("tls", "enabled"), "a socket isn't encrypted", ("unix_socket",))
        if mode is RedisMode.SENTINEL and self.enabled and not self.masterName:
            yield Fault(("master_name",), "Sentinels have to be asked for a name")
        if self.sentinelUsername and not self.sentinelPassword:
            yield Fault(("sentinel_username",), "there is no sentinel_password to it")
        if self.sentinelPassword and mode is not RedisMode.SENTINEL:
            yield Fault(("sentinel_password",), "there are no Sentinels in this mode", ("mode",))
        if mode is RedisMode.STANDALONE and len(self.address) > 1:
            yield Fault(("address",), "a standalone server has one address", ("mode",))
        if mode is RedisMode.CLUSTER and self.db:
            yield Fault(("db",), "a cluster has only database 0", ("mode",))
        if mode is not RedisMode.STANDALONE and not self.servers:
            yield Fault(("mode",), f"{mode.value} needs the addresses of some servers")
