# -*- test-case-name: tests.config.test_nearest -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The known word that a mistyped one is nearest to.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["distance", "nearest"]

_MOST_CHARACTERS = 64


def nearest(word: str, known: Iterable[str]) -> str | None:
    """
    The known word with the least edit distance.

    @return: L{None} if even that one differs in more than a third of its
        letters, for then it was hardly meant.
    """
    if len(word) > _MOST_CHARACTERS:
        return None
    word = word.lower().replace("-", "_")
    ranked = sorted((distance(word, other), other) for other in known)
    if ranked and ranked[0][0] <= max(1, len(ranked[0][1]) // 3):
        return ranked[0][1]
    return None


def distance(left: str, right: str) -> int:
    """
    How many letters to insert, drop, change or swap with their neighbour to
    make one word of the other.
    """
    before: list[int] = []
    above = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]
