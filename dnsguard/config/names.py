# -*- test-case-name: tests.config.test_names -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Kinds for domain names and for the rules operators write about them.
"""

from __future__ import annotations

import attrs
import idna
import re2

from dnsguard.config.kinds import ScalarKind

__all__ = ["MAX_PATTERN", "Domain", "Rule", "domainText"]

MAX_PATTERN = 2048
"""The longest regular expression, in characters."""

_PATTERNS = re2.Options()
_PATTERNS.log_errors = False
_PATTERNS.max_mem = 1 << 20


def domainText(text: str) -> str:
    """
    Bring a domain name into the form used inside: lower case, A-labels, no
    final dot.

    @raise ValueError: It can't be a name; the message says why.
    """
    name = text.strip().removesuffix(".").lower()
    if not name:
        raise ValueError("a domain name is needed")
    labels = name.split(".")
    try:
        labels = [
            label if label.isascii() else idna.encode(label, uts46=True).decode("ascii")
            for label in labels
        ]
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"not a domain name: {error}") from None
    for label in labels:
        if not 0 < len(label) <= 63:
            raise ValueError("not a domain name: a label has 1 to 63 characters")
        if not label.isprintable() or any(character in " /\\\"'" for character in label):
            raise ValueError("not a domain name: an odd character stands in it")
    name = ".".join(labels)
    if len(name) > 253:
        raise ValueError("not a domain name: longer than 253 characters")
    return name


@attrs.frozen
class Domain(ScalarKind):
    """
    A domain name, lower-cased, with A-labels and without final dot.

    @ivar wildcard: May it begin with C{*.}?
    """

    wildcard: bool = False

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        return "a domain name" + (", or *. and a domain name" if self.wildcard else "")

    def read(self, text: str) -> str:
        """
        Read a name.
        """
        text = text.strip()
        prefix = ""
        if self.wildcard and text.startswith("*."):
            prefix, text = "*.", text[2:]
        if "*" in text:
            raise ValueError(
                "only one *, in front, can stand in it"
                if self.wildcard
                else "no * can stand in it"
            )
        return prefix + domainText(text)


@attrs.frozen
class Rule(ScalarKind):
    """
    A domain, which means itself and all names below it, or C{/regex/}.
    """

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        return "a domain name or /regular expression/"

    def read(self, text: str) -> str:
        """
        Read a rule; a domain comes out as by L{Domain}, a pattern as it is.
        """
        text = text.strip()
        if len(text) < 2 or not (text.startswith("/") and text.endswith("/")):
            return domainText(text.removeprefix("*."))
        if len(text) - 2 > MAX_PATTERN:
            raise ValueError(f"a regular expression has at most {MAX_PATTERN} characters")
        if len(text) == 2:
            raise ValueError("an empty regular expression would match every name")
        try:
            re2.compile(text[1:-1], _PATTERNS)
        except re2.error as error:
            reason = error.args[0] if error.args else error
            if isinstance(reason, bytes):
                reason = reason.decode("utf-8", "replace")
            raise ValueError(f"not a regular expression: {reason}") from None
        return text
