# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the policy promises to those who apply it.

It stands here and not with the other interfaces, which know Twisted;
L{dnsguard.interfaces} shows it among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from dnsguard.policy.snapshot import Policy

__all__ = ["IPolicies"]


class IPolicies(Interface):
    """
    The place where the current policy is looked up.
    """

    current: Policy = Attribute("The current L{dnsguard.policy.snapshot.Policy}.")

    def publish(policy: Policy) -> None:
        """
        Make a policy the current one. Can't fail.

        @param policy: The L{dnsguard.policy.snapshot.Policy}.
        """

    def subscribe(subscriber: Callable[[Policy], None]) -> Callable[[], None]:
        """
        Have a callable called with each policy published from now on.

        @return: A callable of no arguments that ends the subscription.
        """
