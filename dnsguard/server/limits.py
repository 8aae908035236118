# -*- test-case-name: tests.server.test_corridor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What one server does at most.

Apart from the server, so that they can be changed while it runs.
"""

from __future__ import annotations

import attrs

from dnsguard.server.reply import ReplyLimits

__all__ = ["ServerLimits"]


@attrs.frozen
class ServerLimits:
    """
    What one server does at most.

    @ivar replies: The limits of replies.
    @ivar pending: How many queries may wait for their answers. Those that
        are answered at once don't count and are always answered.
    @ivar answerSeconds: How long a query may wait; needs a clock.
    """

    replies: ReplyLimits = attrs.field(factory=ReplyLimits)
    pending: int = 10_000
    answerSeconds: float = 20.0
