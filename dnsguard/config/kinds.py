# -*- test-case-name: tests.config.test_kinds -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What values mean: flags, words, text, lists.

A kind reads a node of the tree, says in words what it expects, and writes a
value the way an operator would, for the reference page.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from dnsguard.config.problem import KeyPath, Place, Problem, Severity, shown
from dnsguard.config.references import expand, readSecret
from dnsguard.config.tree import Mapping as MappingNode
from dnsguard.config.tree import Node, Scalar, Sequence

__all__ = [
    "FAULTY",
    "Choice",
    "Context",
    "Flag",
    "Kind",
    "Many",
    "ScalarKind",
    "Text",
]

FAULTY: Any = object()
"""Given instead of a value that can't be used; the context has the problem."""


@attrs.define
class Context:
    """
    What goes along while a tree is converted.

    @ivar environ: The process's environment, for references.
    @ivar readFile: Reads the file of a C{${file:...}} reference.
    @ivar problems: What was found wrong so far.
    """

    environ: Mapping[str, str] = attrs.field(factory=dict)
    readFile: Callable[[str], str] = readSecret
    problems: list[Problem] = attrs.field(factory=list)

    def error(self, place: Place, path: KeyPath, message: str) -> None:
        """
        Note that a value can't be used.
        """
        self.problems.append(Problem.at(place, path, message))

    def warn(self, place: Place, path: KeyPath, message: str) -> None:
        """
        Note something that doesn't stand in the way.
        """
        self.problems.append(Problem.at(place, path, message, Severity.WARNING))


class Kind(Protocol):
    """
    What a value means.

    @ivar expected: What is expected, in words that follow "expected".
    """

    @property
    def expected(self) -> str: ...

    def convert(self, node: Node, path: KeyPath, context: Context) -> Any:
        """
        Make the value of a node.

        @param path: Where it stands.
        @return: The value, or L{FAULTY} after telling the context why.
        """

    def show(self, value: Any) -> str:
        """
        Write a value as in YAML.
        """


def described(node: Node) -> str:
    """
    Say what kind of node was found instead of the expected one.
    """
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, MappingNode):
        return "a map"
    return "nothing" if node.missing else shown(node.text)


@attrs.frozen
class ScalarKind:
    """
    Base of kinds whose value is a single piece of text.
    """

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        raise NotImplementedError

    @property
    def secret(self) -> bool:
        """
        Must the value never be shown?
        """
        return False

    def read(self, text: str) -> Any:
        """
        Make the value.

        @raise ValueError: It isn't one. A message of its own says why; without
            one the text is quoted and L{expected} told.
        """
        raise NotImplementedError

    def resolve(self, text: str, context: Context) -> str:
        """
        Put in what references stand for, where the kind allows them.
        """
        return text

    def convert(self, node: Node, path: KeyPath, context: Context) -> Any:
        """
        Make the value of a scalar.
        """
        if not isinstance(node, Scalar):
            context.error(node.place, path, f"expected {self.expected}, not {described(node)}")
            return FAULTY
        try:
            return self.read(self.resolve(node.text, context))
        except ValueError as error:
            value = "the value" if self.secret else shown(node.text)
            reason = str(error) or f"expected {self.expected}"
            context.error(node.place, path, f"{value}: {reason}")
            return FAULTY

    def show(self, value: Any) -> str:
        """
        Write a value as in YAML.
        """
        return str(value)


@attrs.frozen
class Flag(ScalarKind):
    """
    Yes or no.
    """

    @property
    def expected(self) -> str:
        return "true or false"

    def read(self, text: str) -> bool:
        """
        Read any of YAML 1.1's words.
        """
        word = text.lower()
        if word in {"true", "yes", "on"}:
            return True
        if word in {"false", "no", "off"}:
            return False
        raise ValueError

    def show(self, value: Any) -> str:
        return "true" if value else "false"


@attrs.frozen
class Text(ScalarKind):
    """
    Text on one line.

    @ivar what: What it is, in words.
    @ivar pattern: What it must look like, as a regular expression, or empty.
    @ivar least: The fewest characters.
    @ivar most: The most characters.
    @ivar references: May C{${env:NAME}} and C{${file:/path}} stand in it?
    @ivar hidden: Must it never be shown?
    @ivar fold: Are capitals the same as small letters?
    """

    what: str = "text"
    pattern: str = ""
    least: int = 1
    most: int = 4096
    references: bool = False
    hidden: bool = False
    fold: bool = False

    @property
    def expected(self) -> str:
        return self.what

    @property
    def secret(self) -> bool:
        return self.hidden

    def read(self, text: str) -> str:
        """
        Take the text, without space around it.
        """
        text = text.strip()
        if not self.least <= len(text) <= self.most:
            raise ValueError
        if not text.isprintable():
            raise ValueError("a control character stands in it")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise ValueError
        return text.lower() if self.fold else text

    def resolve(self, text: str, context: Context) -> str:
        if not self.references:
            return text
        return expand(text, context.environ, context.readFile)

    def show(self, value: Any) -> str:
        return str(value) if value else '""'


@attrs.frozen
class Choice(ScalarKind):
    """
    One of a few words: the values of an enumeration.

    @ivar words: The enumeration.
    @ivar synonyms: Other words, and those they stand for.
    """

    words: type[enum.Enum]
    synonyms: Mapping[str, str] = attrs.field(factory=dict, hash=False)

    @property
    def expected(self) -> str:
        return f"one of {', '.join(word.value for word in self.words)}"

    def read(self, text: str) -> enum.Enum:
        """
        Read one of the words, in whatever letter case.
        """
        word = text.strip().lower()
        try:
            return self.words(self.synonyms.get(word, word))
        except ValueError:
            raise ValueError("") from None

    def show(self, value: Any) -> str:
        return str(value.value)


@attrs.frozen
class Many:
    """
    A list of values of one kind, as a tuple.

    @ivar member: The members' kind.
    @ivar least: The fewest members.
    @ivar single: May a list of one be written as its only member?
    """

    member: Kind
    least: int = 0
    single: bool = False

    @property
    def expected(self) -> str:
        words = f"a list; each member {self.member.expected}"
        return words if not self.least else f"{words}; at least {self.least}"

    def convert(self, node: Node, path: KeyPath, context: Context) -> Any:
        """
        Make the values of all members.
        """
        if not isinstance(node, Sequence):
            if not self.single:
                context.error(node.place, path, f"expected a list, not {described(node)}")
                return FAULTY
            node = Sequence(node.place, (node,))
        values = []
        for index, item in enumerate(node.items):
            if isinstance(item, Scalar) and item.missing:
                context.error(item.place, (*path, index), "nothing stands behind this dash")
                values.append(FAULTY)
            else:
                values.append(self.member.convert(item, (*path, index), context))
        if any(value is FAULTY for value in values):
            return FAULTY
        if len(values) < self.least:
            context.error(node.place, path, f"needs at least {self.least} of them")
            return FAULTY
        return tuple(values)

    def show(self, value: Any) -> str:
        """
        Write the list in one line.
        """
        return f"[{', '.join(self.member.show(member) for member in value)}]"
