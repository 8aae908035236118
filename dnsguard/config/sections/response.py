# -*- test-case-name: tests.config.sections.test_response -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{response}: what is answered for a blocked name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import attrs

from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Many, ScalarKind
from dnsguard.config.quantities import Duration

__all__ = ["BlockedAnswer", "ResponseConfig"]


_BLOCKED_WORDS = ("nxdomain", "nodata", "null_ip", "refused")
# Not C{null}: that is how YAML says nothing at all.


@attrs.frozen
class BlockedAnswer(ScalarKind):
    """
    A kind: what is answered for a blocked name.
    """

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        return f"{', '.join(_BLOCKED_WORDS)} or an IP address"

    def read(self, text: str) -> str:
        """
        Read one of the words, or an address into canonical text.
        """
        word = text.strip().lower()
        if word in _BLOCKED_WORDS:
            return word
        if "%" in word:
            raise ValueError("no zone can stand in a packet")
        try:
            return str(ipaddress.ip_address(word))
        except ValueError:
            raise ValueError("") from None


@attrs.frozen
class ResponseConfig:
    """
    What is answered for a blocked name.
    """

    blocked: tuple[str, ...] = key(
        Many(BlockedAnswer(), least=1, single=True),
        ("nxdomain",),
        meaning="""``nxdomain``: there is no such name; ``nodata``: it has no such data;
            ``null_ip``: ``0.0.0.0`` and ``::``; ``refused``; or IP addresses, which
            are the answer to A or AAAA, whichever they fit, while other types
            exist but are empty.""",
    )
    blockedTTL: float = key(
        Duration(least=1, most=2**31 - 1),
        3600.0,
        meaning="How long clients may remember it.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        A word stands alone.
        """
        if len(self.blocked) > 1:
            for index, answer in enumerate(self.blocked):
                if answer in _BLOCKED_WORDS:
                    yield Fault(("blocked", index), f"{answer} doesn't go with anything else")
