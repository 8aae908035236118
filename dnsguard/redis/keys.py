# -*- test-case-name: tests.redis.test_keys -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What things are called in Redis.

Instances, and other programs that read the same Redis, agree on these names;
they are written down in C{docs/redis-keys.rst}. In a cluster all metadata share
one slot, so that one command may touch several of them.
"""

from __future__ import annotations

from dnsguard.caching.key import InvalidKey, Key, fromStoreText, storeText
from dnsguard.wire.names import ROOT

try:
    from dnsguard.caching._key import plainText  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: the long way, always.
    plainText = None

__all__ = ["Names", "answerName", "answerPatterns", "readAnswerName"]

_ESCAPES = str.maketrans({letter: "\\" + letter for letter in "\\*?[]^"})
"""Letters that mean something in a pattern."""


def answerName(key: Key) -> bytes:
    """
    Where an answer is.
    """
    return (plainText is not None and plainText(key)) or storeText(key).encode("ascii")


def readAnswerName(name: bytes) -> Key | None:
    """
    The key of a name in Redis; L{None} if it isn't one of an answer.
    """
    try:
        return fromStoreText(name.decode("ascii"))
    except (UnicodeDecodeError, InvalidKey):
        return None


def answerPatterns(qname: bytes, below: bool) -> tuple[bytes, ...]:
    """
    Patterns that find the answers for a name, and perhaps others: check each
    name found.

    @param below: Those for the names below it as well.
    """
    if qname == ROOT:
        return (b"dns:*",) if below else (b"dns::*",)
    # An answer's name begins so, whatever its type.
    text = storeText((qname, 0, 0, 0))[len("dns:") : -len(":0:0")].translate(_ESCAPES)
    patterns = [f"dns:{text}:*"]
    if below:
        patterns.append(f"dns:*.{text}:*")
    return tuple(pattern.encode("ascii") for pattern in patterns)


class Names:
    """
    The names of what isn't an answer.

    @ivar index: The sorted set of all answers' names by soft expiry.
    @ivar clearings: How often something was cleared, as a number.
    @ivar channel: Where clearings are told of.
    @ivar patterns: Patterns that find all that C{clear} deletes.
    """

    def __init__(self, cluster: bool = False) -> None:
        """
        @param cluster: Do they have to share a slot?
        """
        meta = b"{dnsmeta}" if cluster else b"dnsmeta"
        self.index = meta + b":expiry:index"
        self.clearings = meta + b":clearings"
        self.channel = b"dnsmeta:clear"
        self.patterns = (b"dns:*", meta + b":*")
        self._lock = meta + b":refresh:"
        self._hits = meta + b":hit:"
        self._sweepHits = meta + b":hit:sweep:"
        self._task = meta + b":task:"

    def lock(self, name: bytes) -> bytes:
        """
        The refresh lock of the answer of a name.
        """
        return self._lock + name

    def hits(self, name: bytes) -> bytes:
        """
        The hit counter of the answer of a name.
        """
        return self._hits + name

    def sweepHits(self, name: bytes) -> bytes:
        """
        The sweeper's hit counter of the answer of a name.
        """
        return self._sweepHits + name

    def task(self, word: str) -> bytes:
        """
        The claim on some common work.
        """
        return self._task + word.encode("ascii")
