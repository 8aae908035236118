# -*- test-case-name: tests.policy.test_problems -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
All that is wrong with a policy, at once.

Who mends a configuration wants the whole list, not the first line of it: those
who read it note each problem with its place and go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from dnsguard.errors import DNSGuardError, PolicyError

__all__ = ["InvalidPolicy", "Problems", "nearest"]


class InvalidPolicy(DNSGuardError):
    """
    No policy can be made of what was given.

    @ivar problems: Each thing that is wrong, with its place, in reading order.
    """

    def __init__(self, problems: Iterable[PolicyError]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Problems:
    """
    A list of problems that grows while a policy is read.
    """

    def __init__(self) -> None:
        self._found: list[PolicyError] = []

    def __iter__(self) -> Iterator[PolicyError]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def note(self, place: str, reason: str) -> None:
        """
        Note one problem.

        @param place: Where it stands: a key path, or C{file:line}.
        @param reason: What is wrong there, in a few words.
        """
        self._found.append(PolicyError(place, reason))

    def add(self, problem: PolicyError | InvalidPolicy) -> None:
        """
        Note the problems that somebody else found, but one for each place:
        a rule may be read for several groups, and by several readers.
        """
        several = problem.problems if isinstance(problem, InvalidPolicy) else (problem,)
        for one in several:
            if all(one.place != old.place for old in self._found):
                self._found.append(one)

    def check(self) -> None:
        """
        @raise InvalidPolicy: Some problem was noted.
        """
        if self._found:
            raise InvalidPolicy(self._found)


def nearest(word: str, known: Iterable[str]) -> str:
    """
    Say which known word an unknown one was probably meant to be.

    @return: C{"; did you mean ...?"}, or nothing when none is near.
    """
    found = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""
