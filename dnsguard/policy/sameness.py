# -*- test-case-name: tests.policy.test_likeness -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Whether two parts of policies, made at different times, say the same.

Parts are made anew with each policy and are told apart by identity: comparing
what is in them takes too long for whoever only wants to know which is which. Those
that can be compared at all have a method of this function's name.
"""

from __future__ import annotations

from typing import Any

__all__ = ["isSame"]


def isSame(before: Any, after: Any) -> bool:
    """
    Do two parts of policies say the same of every name?

    @return: False when that isn't known.
    """
    if before is after:
        return True
    compare = getattr(before, "isSame", None)
    return compare is not None and type(before) is type(after) and bool(compare(after))
