# -*- test-case-name: tests.redis.test_client -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What Redis says when it says no.

An error reply is one command's outcome among many in a pipeline, so it stands
among the replies instead of being raised. Its first word tells what to do:
leave the server alone, stop writing, or look elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from dnsguard.errors import StoreError

__all__ = ["REFUSES_WRITES", "UNUSABLE", "Command", "ErrorReply", "IRedis", "Reply", "orRaise"]

Command = tuple[bytes, ...]
"""One command: its name and arguments."""

Reply = Any
"""
L{bytes}, L{int}, L{None}, a list of these, or an exception: an L{ErrorReply},
or another L{StoreError} where the command's server couldn't be asked.
"""

UNUSABLE = frozenset({"LOADING", "NOAUTH", "WRONGPASS", "MASTERDOWN", "CLUSTERDOWN", "BUSY"})
"""The server can do nothing for us just now, whatever we ask."""

REFUSES_WRITES = frozenset({"READONLY", "OOM", "MISCONF", "NOREPLICAS", "NOPERM"})
"""It won't be written to: a replica, full, its disk broken, forbidden."""


class ErrorReply(StoreError):
    """
    An error reply from Redis.

    @ivar code: Its first word, such as C{WRONGTYPE}.
    """

    def __init__(self, store: str, text: str) -> None:
        super().__init__(store, text[:200])
        self.code = text.split(" ", 1)[0]


class IRedis(Protocol):
    """
    Something that runs commands: one connection, or a whole cluster.
    """

    name: str

    @property
    def available(self) -> bool:
        """
        Is it worth asking? If not, all fails at once.
        """

    def execute(self, commands: Sequence[Command], octets: bytes = b"") -> Awaitable[list[Reply]]:
        """
        Run commands in order, in one round trip where that is possible.

        @param octets: The commands as they are sent, if that is known already.
        @return: A L{Deferred <twisted.internet.defer.Deferred>} of their
            replies; fails with L{StoreError} if none could be had in time.
        """

    def servers(self) -> Sequence[IRedis]:
        """
        The single servers that hold all keys between them.
        """


def orRaise(reply: Reply) -> Reply:
    """
    Give a reply that is none of an error.

    @raise StoreError: It is one.
    """
    if isinstance(reply, Exception):
        raise reply
    return reply
