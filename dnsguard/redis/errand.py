# -*- test-case-name: tests.redis.test_cluster -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Commands on their way through a cluster: to their nodes, and on from there.

A slot may have moved since it was found out who has it, or be moving just now.
Then the node says where to go, and so may the next one. However often that is,
there is one deadline for all of it: whoever waits didn't agree to wait for each
node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, DeferredList
from twisted.python.failure import Failure

from dnsguard.errors import StoreError
from dnsguard.redis.link import Link
from dnsguard.redis.replies import Command, ErrorReply, Reply

__all__ = ["MAX_REDIRECTIONS", "Errand", "Redirections", "isRedirection"]

MAX_REDIRECTIONS = 5
"""How often one command is sent on."""

_REDIRECTIONS = frozenset({"MOVED", "ASK"})


def isRedirection(reply: Reply) -> bool:
    """
    Does a reply say that its command is to go elsewhere?
    """
    return isinstance(reply, ErrorReply) and reply.code in _REDIRECTIONS


@attrs.define
class Redirections:
    """
    What was sent on so far.

    @ivar moved: Commands that were, as a slot has moved.
    @ivar asked: Commands that were, as a slot is moving.
    @ivar overdue: Commands given up because that took too long.
    """

    moved: int = 0
    asked: int = 0
    overdue: int = 0


class Errand:
    """
    Some commands, and where each of them is.
    """

    def __init__(
        self,
        name: str,
        commands: Sequence[Command],
        links: Sequence[Link | None],
        due: float,
        clock: Any,
        redirected: Callable[[ErrorReply, Link], Link | None],
        counted: Redirections,
    ) -> None:
        """
        @param name: What the cluster is called in errors.
        @param links: The node that each command goes to at first; L{None}:
            nobody has its slot.
        @param due: When all has to be answered, by the clock.
        @param redirected: Gives the link that a reply points to.
        """
        self._name = name
        self._commands = commands
        self._links = list(links)
        self._due = due
        self._clock = clock
        self._redirected = redirected
        self._counted = counted

    async def run(
        self, which: Iterable[int], asking: bool = False, seconds: float | None = None
    ) -> list[Reply]:
        """
        Run some of the commands where they are now, one pipeline a node.

        @param which: Their places among all.
        @param asking: Say to each node first that it is known not to be the
            master yet.
        @param seconds: Give up after so long; L{None}: when the links do.
        @return: Their replies, in order.
        """
        which = list(which)
        replies: dict[int, Reply] = {}
        pipelines: dict[Link, list[int]] = {}
        for place in which:
            link = self._links[place]
            if link is None:
                replies[place] = StoreError(self._name, "nobody has that slot")
            else:
                pipelines.setdefault(link, []).append(place)
        waiting = []
        for link, mine in pipelines.items():
            commands = [self._commands[place] for place in mine]
            if asking:
                commands = [part for each in commands for part in ((b"ASKING",), each)]
            waiting.append(link.execute(commands))
        answered: Any = DeferredList(waiting, consumeErrors=True)
        if seconds is not None:
            # The links still wait for their nodes, and learn how these are.
            answered.addTimeout(seconds, self._clock)
        for (worked, result), mine in zip(await answered, pipelines.values(), strict=True):
            if not worked:
                replies.update(dict.fromkeys(mine, self._error(result, len(mine))))
            else:
                replies.update(zip(mine, result[1::2] if asking else result, strict=True))
        return [replies[place] for place in which]

    async def follow(self, replies: list[Reply]) -> list[Reply]:
        """
        Send on what was sent to the wrong node, as long as there is time.

        @param replies: Those to all commands so far.
        @return: The same list, with the last reply to each.
        """
        for _ in range(MAX_REDIRECTIONS):
            moved, asking = self._turn(replies)
            if not moved and not asking:
                break
            self._counted.moved += len(moved)
            self._counted.asked += len(asking)
            for some, flag in ((moved, False), (asking, True)):
                if some:
                    left = max(self._due - self._clock.seconds(), 0.0)
                    again = await self.run(some, flag, left)
                    for place, reply in zip(some, again, strict=True):
                        replies[place] = reply
        return replies

    def _turn(self, replies: Sequence[Reply]) -> tuple[list[int], list[int]]:
        """
        Point commands to the nodes they were told of.

        @return: The places of those whose slot has moved, and is moving.
        """
        moved: list[int] = []
        asking: list[int] = []
        for place, reply in enumerate(replies):
            link = self._links[place]
            if link is None or not isRedirection(reply):
                continue
            to = self._redirected(reply, link)
            if to is not None:
                self._links[place] = to
                (moved if reply.code == "MOVED" else asking).append(place)
        return moved, asking

    def _error(self, reason: Any, count: int) -> StoreError:
        error = reason.value if isinstance(reason, Failure) else reason
        if isinstance(error, CancelledError):
            self._counted.overdue += count
            return StoreError(self._name, "sent on for too long")
        return error if isinstance(error, StoreError) else StoreError(self._name, str(error)[:200])
