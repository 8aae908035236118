# -*- test-case-name: tests.cli.perf.test_questions -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What to ask for: names from a file, or made up, as messages ready to be sent.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from dnsguard.wire.layout import HEADER, RD
from dnsguard.wire.names import InvalidName, fromText

__all__ = ["MOST_NAMES", "Questions", "generate", "readNames"]

MOST_NAMES = 5_000_000

PREFIXES = [
    "www",
    "mail",
    "api",
    "cdn",
    "img",
    "static",
    "app",
    "shop",
    "news",
    "blog",
    "video",
    "music",
    "login",
    "auth",
    "data",
    "edge",
    "media",
    "files",
    "docs",
    "search",
]
ROOTS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "island",
    "juniper",
    "kestrel",
    "lagoon",
    "meadow",
    "nebula",
    "orchard",
    "prairie",
    "quartz",
    "river",
]
TLDS = ["com", "net", "org", "io", "dev", "app", "info", "co"]


def generate(number: int, random: Random) -> list[str]:
    """
    Make up names, all different.
    """
    return [
        f"{random.choice(PREFIXES)}-{place}.{random.choice(ROOTS)}.{random.choice(TLDS)}"
        for place in range(number)
    ]


def readNames(path: str | Path) -> list[str]:
    """
    Read names, one a line; empty lines and those that begin with C{#} aside.

    @raise OSError: The file can't be read.
    @raise ValueError: There are none, too many, or one isn't a name; says where.
    """
    names = []
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            word = line.strip()
            if not word or word.startswith("#"):
                continue
            try:
                fromText(word)
            except InvalidName as problem:
                raise ValueError(f"{path}:{number}: {problem}") from None
            names.append(word)
            if len(names) > MOST_NAMES:
                raise ValueError(f"{path}: more than {MOST_NAMES:,} names")
    if not names:
        raise ValueError(f"{path}: no names in it")
    return names


class Questions:
    """
    Messages, one after the other.

    @ivar octets: All of them, each with the id 0.
    @ivar offsets: Where each begins, and where the last one ends.
    """

    def __init__(self, names: Iterable[str], type: int) -> None:
        """
        @raise InvalidName: One isn't a name.
        """
        head = HEADER.pack(0, RD, 1, 0, 0, 0)
        tail = struct.pack("!HH", type, 1)
        offsets = array("Q", [0])
        pieces = bytearray()
        for name in names:
            pieces += head
            pieces += fromText(name)
            pieces += tail
            offsets.append(len(pieces))
        self.octets = bytes(pieces)
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> bytes:
        return self.octets[self.offsets[place] : self.offsets[place + 1]]


def shuffled(names: Sequence[str], random: Random) -> list[str]:
    """
    Give names in another order.
    """
    mixed = list(names)
    random.shuffle(mixed)
    return mixed
