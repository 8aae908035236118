# -*- test-case-name: tests.policy.test_clients -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Who asks.

It stands here, below the query that carries it, because the policy is what
knows clients by name.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

__all__ = ["Asker"]


@attrs.frozen
class Asker:
    """
    Who asks.

    @ivar address: The IP address in canonical text, empty for nobody.
    @ivar clientName: The configured name of that client, or empty.
    @ivar groupID: The client group it belongs to, or empty.
    """

    address: str = ""
    clientName: str = ""
    groupID: str = ""

    ANONYMOUS: ClassVar[Asker]
    INTERNAL: ClassVar[Asker]


Asker.ANONYMOUS = Asker()
Asker.INTERNAL = Asker(clientName="internal")
