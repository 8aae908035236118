# -*- test-case-name: tests.observers.test_exclusion -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which queries are never recorded: by name, by pattern, by client.

Patterns are the operator's, names are anybody's, so patterns are matched by a
library whose time grows with the name's length alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import re2

from dnsguard.errors import PolicyError
from dnsguard.wire.names import InvalidName, fromText, parents, toText

__all__ = ["Exclusion"]

MAX_PATTERN = 1024
"""Characters in a pattern."""


class Exclusion:
    """
    Decides what isn't recorded.
    """

    def __init__(
        self,
        domains: Iterable[str] = (),
        clients: Iterable[str] = (),
        place: str = "query_store",
    ) -> None:
        """
        @param domains: Names, each meaning itself and all below it (a leading
            C{*.} says no more), or patterns between slashes, found anywhere in
            the name's text.
        @param clients: Addresses or client names; letter case doesn't count.
        @param place: The key path that errors name.
        @raise PolicyError: A name or pattern can't be understood.
        """
        self._names: set[bytes] = set()
        self._patterns: list[re2._Regexp] = []
        self._clients = frozenset(client.strip().casefold() for client in clients)
        for number, text in enumerate(domains):
            self._add(text.strip(), f"{place}.exclude_domains[{number}]")

    def _add(self, text: str, place: str) -> None:
        """
        Take one name or pattern in.
        """
        if len(text) > 2 and text.startswith("/") and text.endswith("/"):
            self._patterns.append(_compiled(text[1:-1], place))
            return
        try:
            name = fromText(text.removeprefix("*."))
        except InvalidName as reason:
            raise PolicyError(place, str(reason)) from None
        if name == b"\0":
            raise PolicyError(place, "would exclude every name")
        self._names.add(name)

    def __bool__(self) -> bool:
        return bool(self._names or self._patterns or self._clients)

    def excludesName(self, qname: bytes) -> bool:
        """
        Are queries for this name left out?

        @param qname: The name, lower-cased, in wire form.
        """
        if self._names and any(name in self._names for name in parents(qname)):
            return True
        if not self._patterns:
            return False
        text = toText(qname)
        return any(pattern.search(text) for pattern in self._patterns)

    def excludesClient(self, address: str, name: str) -> bool:
        """
        Are this client's queries left out?

        @param address: Its address as text.
        @param name: Its configured name, or empty.
        """
        if not self._clients:
            return False
        return address.casefold() in self._clients or (
            bool(name) and name.casefold() in self._clients
        )


def _compiled(pattern: str, place: str) -> re2._Regexp:
    """
    Compile one pattern.
    """
    if len(pattern) > MAX_PATTERN:
        raise PolicyError(place, f"pattern over {MAX_PATTERN} characters")
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as reason:
        text = reason.args[0] if reason.args else reason
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        raise PolicyError(place, f"bad pattern: {text}") from None
