# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Random and mutated packets, the same ones for the same seed.
"""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

from dnsguard.wire.edns import EDNS
from tests.support.requests import requestFor

__all__ = ["corpus", "packets"]

_NAMES: list[str | bytes] = [
    "www.example.org",
    "example.org",
    "big.example.org",
    "nobody.example.org",
    "failing.example.org",
    "later.example.org",
    "other.example.org",
    ".",
    "a" * 63 + "." + "b" * 63 + ".example.org",
    b"\x03a.b\x02..\x07example\x03org\0",
    b"\x03wWw\x07eXample\x03oRG\0",
]
_TYPES = [0, 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 43, 65, 249, 250, 251, 252, 254, 255, 257, 65535]
_RECORD = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\2\1"


def corpus(folder: Path) -> list[bytes]:
    """
    Packets from a folder of gzipped JSON lines with a member C{hex}.
    """
    return [
        bytes.fromhex(json.loads(line)["hex"])
        for path in sorted(folder.glob("*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]


def packets(count: int, seed: int, more: list[bytes] | None = None) -> Iterator[bytes]:
    """
    So many packets: some valid, most almost valid, a few just octets.

    @param more: Further packets to begin from; each comes as it is, too.
    """
    chance = random.Random(seed)
    given = list(more or ())
    seeds = [_seed(chance) for _ in range(400)] + given
    for number in range(count):
        if number < len(given):
            yield given[number]
        elif chance.random() < 0.05:
            yield chance.randbytes(chance.randrange(80))
        else:
            yield _mutated(chance, seeds)


def _seed(chance: random.Random) -> bytes:
    """
    A request that is valid, or wrong on purpose.
    """
    edns = None
    if chance.random() < 0.6:
        options = tuple(
            (chance.choice([3, 8, 10, 11, 12, 65001]), chance.randbytes(chance.randrange(9)))
            for _ in range(chance.randrange(3))
        )
        edns = EDNS(
            chance.choice([0, 0, 0, 1]),
            chance.choice([0, 512, 1232, 4096, 65535]),
            chance.random() < 0.5,
            0,
            options,
        )
    more = _RECORD * chance.choice([0, 0, 0, 1, 2])
    opt = 0 if edns is None else 1
    return requestFor(
        chance.choice(_NAMES),
        chance.choice(_TYPES),
        chance.choice([1, 1, 1, 1, 3, 255]),
        id=chance.randrange(65536),
        flags=chance.choice([0, 0x0100, 0x0110, 0x0120, 0x0130, chance.randrange(65536)]),
        edns=edns,
        more=more,
        counts=(1, 0, 0, opt + len(more) // len(_RECORD)),
    )


def _mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """
    A seed with some damage, or none.
    """
    packet = bytearray(chance.choice(seeds))
    for _ in range(chance.choice([0, 1, 1, 2, 3, 8])):
        place = chance.randrange(len(packet) + 1)
        kind = chance.randrange(8)
        if kind == 0 and place < len(packet):
            packet[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(packet):
            packet[place] = chance.choice([0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF, 0x29])
        elif kind == 2:
            del packet[place:]
        elif kind == 3:
            packet[place:place] = chance.randbytes(chance.randrange(1, 12))
        elif kind == 4:
            del packet[place : place + chance.randrange(1, 12)]
        elif kind == 5:
            packet[place:place] = struct.pack("!H", 0xC000 | chance.randrange(64))
        elif kind == 6 and len(packet) >= 12:
            struct.pack_into(
                "!H", packet, chance.choice([4, 6, 8, 10]), chance.choice([0, 1, 2, 65535])
            )
        elif kind == 7:
            packet += chance.choice(seeds)[place:]
    return bytes(packet[:4096])
