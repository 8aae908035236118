# -*- test-case-name: tests.processes.test_orders -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a helper is to go by: all of it at once, numbered.

Orders are whole and never differences: a helper that has just been started is
told the same as one that has been there for weeks, and one that missed some
needs the last only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from dnsguard.processes.link import Message

__all__ = ["Orders", "Traced"]


@attrs.frozen
class Traced:
    """
    What is traced.

    @ivar events: Kinds of events.
    @ivar clients: Networks of clients: packed addresses and lengths of prefixes.
    @ivar names: Wire names; none: all.
    @ivar groups: Ids of groups of clients.
    """

    events: tuple[str, ...] = ()
    clients: tuple[tuple[bytes, int], ...] = ()
    names: tuple[bytes, ...] = ()
    groups: tuple[str, ...] = ()


@attrs.frozen
class Orders:
    """
    What holds.

    @ivar revision: Grows with each change.
    @ivar config: The configuration in force, as octets that only the assembly
        reads.
    @ivar lists: The file of the compiled lists; empty: there are no lists.
    @ivar listsNumber: Changes with what is in the file.
    @ivar pauses: By group id: until when blocking is paused by hand.
    @ivar level: How serious must be what is logged.
    @ivar traced: What is traced.
    @ivar maxKeys: How many answers a shared cache may have, if somebody said.
    """

    revision: int
    config: bytes
    lists: str = ""
    listsNumber: int = 0
    pauses: Mapping[str, float] = attrs.field(factory=dict)
    level: str = "info"
    traced: Traced = Traced()
    maxKeys: int | None = None

    def encode(self) -> Message:
        """
        Give what a L{Link <dnsguard.processes.link.Link>} carries.
        """
        fields: dict[str, Any] = {
            "revision": self.revision,
            "lists": self.lists,
            "listsNumber": self.listsNumber,
            "pauses": dict(self.pauses),
            "level": self.level,
            "events": list(self.traced.events),
            "clients": [[address.hex(), length] for address, length in self.traced.clients],
            "names": [name.hex() for name in self.traced.names],
            "groups": list(self.traced.groups),
            "maxKeys": self.maxKeys,
        }
        return fields, self.config

    @classmethod
    def decode(cls, fields: Mapping[str, Any], payload: bytes) -> Orders:
        """
        Read what L{encode} gave.
        """
        return cls(
            fields["revision"],
            payload,
            fields["lists"],
            fields["listsNumber"],
            fields["pauses"],
            fields["level"],
            Traced(
                tuple(fields["events"]),
                tuple((bytes.fromhex(address), length) for address, length in fields["clients"]),
                tuple(map(bytes.fromhex, fields["names"])),
                tuple(fields["groups"]),
            ),
            fields["maxKeys"],
        )
