# -*- test-case-name: tests.policy.test_listparser -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Reading block lists, line by line.

Lists come in many syntaxes, often several in one file, and from strangers. A
line is either understood exactly or rejected with a reason that is counted and
shown: guessing at one we don't understand would block names that its author
never meant. Understood are hosts lines with all their names, plain domains,
C{*.domain}, and C{||domain^} without options.

Each of these speaks of the name and all names below it, as in every filter
that people take their lists from; only C{||*.domain^} leaves the name itself
alone. A plain or hosts line that names a whole top-level domain is rejected as
a slip; C{*.zip} or C{||zip^} say it on purpose.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator

import attrs
import idna

from dnsguard.policy.setformat import Scope
from dnsguard.wire.names import MAX_LABEL

__all__ = [
    "MAX_LINE",
    "Example",
    "ListSummary",
    "Rejection",
    "Scan",
    "looksLikePage",
    "nameOf",
    "parseLine",
    "parseList",
]

MAX_LINE = 4096
"""Octets in a line; longer ones are rejected without being kept."""

MAX_EXAMPLES = 10
EXAMPLE_LENGTH = 80

_MAX_TEXT = 253


class Rejection(enum.Enum):
    """
    Why a line is not understood. The values are shown to people.
    """

    NOT_A_NAME = "not a domain name"
    TOP_LEVEL = "a whole top-level domain; write *.domain if that is meant"
    SEVERAL_WORDS = "several words, but not a hosts line"
    OPTIONS = "AdBlock options are not supported"
    EXCEPTION = "an exception; put it in the allowlist"
    COSMETIC = "an element-hiding rule, of use to browsers only"
    DNSMASQ = "a dnsmasq option"
    PATTERN = "an AdBlock pattern that is more than ||domain^"
    REGEX = "a regular expression; put it in the denylist"
    ADDRESS = "an IP address without a name"
    URL = "the address of a page, not of a whole site"
    TOO_LONG = f"a line of more than {MAX_LINE} octets"
    BINARY = "octets that are no text"


Names = list[tuple[bytes, int]]
"""Names in wire form, and the L{Scope} of each."""


@attrs.frozen
class Example:
    """
    One rejected line.

    @ivar line: Its number, from 1.
    @ivar reason: Why.
    @ivar text: The line, cut short, with odd octets escaped.
    """

    line: int
    reason: Rejection
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason.value}: {self.text}"


@attrs.frozen
class ListSummary:
    """
    What became of a list.

    @ivar lines: Lines in it.
    @ivar entries: Names accepted, repeated ones included.
    @ivar rejected: Lines rejected.
    @ivar reasons: How many for each reason.
    @ivar examples: The first rejected lines, at most ten.
    """

    lines: int
    entries: int
    rejected: int
    reasons: dict[Rejection, int]
    examples: tuple[Example, ...]


HOSTS_FILE_NAMES = frozenset(
    b"""
    localhost localhost.localdomain localhost4 localhost4.localdomain4
    localhost6 localhost6.localdomain6 local broadcasthost 0.0.0.0
    ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix
    ip6-allnodes ip6-allrouters ip6-allhosts
    """.split()
)
"""What every hosts file says of its own machine: neither names to block nor mistakes."""

# What nearly all lines are. The last label begins with a letter, so that no
# address is taken for a name.
_SIMPLE = re.compile(
    rb"(?:(?:0\.0\.0\.0|127\.0\.0\.1)[ \t]{1,80}|\*\.)?"
    rb"((?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62})[ \t]{0,80}\r?"
).fullmatch
_ANCHORED = re.compile(rb"\|\|((?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62})\^\r?").fullmatch

_LABEL = re.compile(rb"[a-z0-9_-]{1,63}").fullmatch
_LAST_LABEL = re.compile(rb"[a-z][a-z0-9-]{0,62}").fullmatch
_COSMETIC = re.compile(rb"^##(?:[.\[*]|#[a-z])\S|[^\s#]#[@?$%]*#\S|^#[@?$%]+#\S").search
_COMMENT = re.compile(rb"\s[#!]").search
_REGEX = re.compile(rb"[\\()\[\]{}+?]").search
_DNSMASQ = re.compile(rb"(?:address|local|server|ipset|nftset)=/").match
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search
_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*://([^/:?#@]*)/?").fullmatch
_IPV4 = re.compile(rb"\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?").fullmatch
_IPV6 = re.compile(rb"[0-9a-f:]*:[0-9a-f:.]*:[0-9a-f:.]*(?:%\w+)?(?:/\d+)?").fullmatch
_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|\?xml)\b", re.I | re.S)

_LENGTHS = [bytes([length]) for length in range(MAX_LABEL + 1)]


def _wire(text: bytes) -> bytes:
    """
    Give the wire form of a name whose labels have been checked.
    """
    lengths = _LENGTHS
    return b"".join([lengths[len(label)] + label for label in text.split(b".")]) + b"\0"


def looksLikePage(beginning: bytes) -> bool:
    """
    Is this a web page, such as a server's excuse, instead of a list?

    @param beginning: The first some hundred octets.
    """
    return _PAGE.match(beginning.removeprefix(b"\xef\xbb\xbf")) is not None


def nameOf(text: bytes) -> bytes | Rejection:
    """
    Give the wire form of one written domain name, with at least one label.

    @param text: ASCII or UTF-8; a final dot doesn't matter.
    """
    text = text.lower().removesuffix(b".")
    if not text.isascii():
        try:
            text = idna.encode(text.decode("utf-8"), uts46=True)
        except UnicodeDecodeError:
            return Rejection.BINARY
        except idna.IDNAError:
            return Rejection.NOT_A_NAME
    if _IPV4(text) or _IPV6(text):
        return Rejection.ADDRESS
    labels = text.split(b".")
    if len(text) > _MAX_TEXT or not all(map(_LABEL, labels)) or not _LAST_LABEL(labels[-1]):
        return Rejection.NOT_A_NAME
    return _wire(text)


def parseLine(line: bytes) -> tuple[Names, Rejection | None]:
    """
    Read one line.

    @param line: Without its end.
    @return: The names it lists, none for a blank line or a comment, and why it
        is rejected, if it is. A hosts line with a bad name among good ones is
        both.
    """
    if len(line) > MAX_LINE:
        return [], Rejection.TOO_LONG
    line = line.strip().lower()
    if not line or line[0] in b"!" or line.startswith(b"# "):
        return [], None
    if _CONTROL(line):
        return [], Rejection.BINARY
    if _COSMETIC(line):
        return [], Rejection.COSMETIC
    if line[0] in b"#[;" or line.startswith(b"//"):
        return [], None
    if line.startswith(b"@@"):
        return [], Rejection.EXCEPTION
    if line[0] == 0x2F:
        return [], Rejection.REGEX if line.rfind(b"/") > 0 else Rejection.URL
    comment = _COMMENT(line)
    if comment:
        line = line[: comment.start()].rstrip()
    if b"#" in line and not _DNSMASQ(line):
        if any(sign in line for sign in (b"/", b"|", b"^", b"$", b"*")):
            return [], Rejection.PATTERN
        line = line[: line.index(b"#")]
    words = line.split()
    if len(words) == 1:
        return _parseWord(line)
    if _IPV4(words[0]) or _IPV6(words[0]):
        return _parseHosts(words[1:])
    if b"$" in line or b"|" in line or b"^" in line:
        return [], Rejection.PATTERN
    return [], Rejection.SEVERAL_WORDS


def _parseHosts(words: list[bytes]) -> tuple[Names, Rejection | None]:
    """
    Read the names of a hosts line.
    """
    names: Names = []
    rejection: Rejection | None = None
    for word in words:
        if word in HOSTS_FILE_NAMES:
            continue
        found = _checked(word)
        if isinstance(found, Rejection):
            rejection = rejection or found
        else:
            names.append((found, Scope.SUBTREE))
    return names, rejection


def _checked(word: bytes) -> bytes | Rejection:
    """
    Read a name that must have two labels at least.
    """
    name = nameOf(word)
    if isinstance(name, bytes) and name[name[0] + 1] == 0:
        return Rejection.TOP_LEVEL
    return name


def _parseWord(word: bytes) -> tuple[Names, Rejection | None]:
    """
    Read a line of one word.
    """
    if word in HOSTS_FILE_NAMES:
        return [], None
    found: bytes | Rejection
    if word.startswith(b"||"):
        return _parseAnchored(word[2:])
    if word.startswith(b"*."):
        found = nameOf(word[2:])
    elif address := _SCHEME(word):
        found = _checked(address[1])
    elif b"://" in word:
        found = Rejection.URL
    elif _DNSMASQ(word):
        found = Rejection.DNSMASQ
    elif _REGEX(word) and b"/" not in word:
        found = Rejection.REGEX
    elif b"$" in word:
        found = Rejection.OPTIONS
    elif _IPV4(word) or _IPV6(word):
        found = Rejection.ADDRESS
    elif word[0] in b"|^*" or word[-1] in b"|^*" or b"*" in word:
        found = Rejection.PATTERN
    elif b"/" in word:
        found = Rejection.URL
    else:
        found = _checked(word)
    if isinstance(found, Rejection):
        return [], found
    return [(found, Scope.SUBTREE)], None


def _parseAnchored(pattern: bytes) -> tuple[Names, Rejection | None]:
    """
    Read what follows the C{||} of an AdBlock line.

    Without a C{^} behind it C{||ads.example} means ads.example.net as well;
    taking it for the domain alone blocks less than that, never more.
    """
    if b"$" in pattern:
        return [], Rejection.OPTIONS
    pattern = pattern.removesuffix(b"|").removesuffix(b"^")
    if b"/" in pattern:
        return [], Rejection.URL
    below = pattern.startswith(b"*.")
    pattern = pattern[2:] if below else pattern
    if b"*" in pattern or b"^" in pattern or b"|" in pattern or pattern.endswith(b"."):
        return [], Rejection.PATTERN
    name = nameOf(pattern)
    if isinstance(name, Rejection):
        return [], name
    return [(name, Scope.BELOW if below else Scope.SUBTREE)], None


Scan = Callable[[bytes, int], tuple[int, int, list[tuple[int, bytes]]]]
"""
Takes some whole lines and the number of the first one, adds the names of those
it understands, and gives how many lines there were, how many names were added,
and the lines it leaves to L{parseLine}, with their numbers.
"""


def parseList(
    chunks: Iterable[bytes], add: Callable[[bytes, int, int], object], scan: Scan | None = None
) -> ListSummary:
    """
    Read a whole list.

    Memory is bounded by the size of a chunk, whatever is in the list.

    @param chunks: Its octets, in pieces of any size.
    @param add: Is called with each name's wire form, line and scope; not
        strictly in the order of lines.
    @param scan: Takes the lines that are easy, faster than this does.
    """
    number = entries = 0
    reasons: dict[Rejection, int] = {}
    examples: list[Example] = []
    for block in _blocks(chunks):
        count, added, lines = scan(block, number + 1) if scan else _scan(block, number + 1, add)
        number += count
        entries += added
        for at, line in lines:
            names, rejection = parseLine(line)
            for name, scope in names:
                add(name, at, scope)
            entries += len(names)
            if rejection is not None:
                reasons[rejection] = reasons.get(rejection, 0) + 1
                if len(examples) < MAX_EXAMPLES:
                    examples.append(Example(at, rejection, _shown(line)))
    return ListSummary(number, entries, sum(reasons.values()), reasons, tuple(examples))


def _scan(
    block: bytes, first: int, add: Callable[[bytes, int, int], object]
) -> tuple[int, int, list[tuple[int, bytes]]]:
    """
    Be a L{Scan} for what nearly all lines are.
    """
    entries = 0
    others = []
    lengths = _LENGTHS
    number = first
    for number, line in enumerate(block.split(b"\n"), first):
        simple = _SIMPLE(line) or _ANCHORED(line)
        if simple:
            text = simple[1]
            if len(text) <= _MAX_TEXT and text not in HOSTS_FILE_NAMES:
                wire = b"".join([lengths[len(label)] + label for label in text.split(b".")])
                add(wire + b"\0", number, 0)
                entries += 1
                continue
        if line and not line.startswith(b"# "):
            others.append((number, line))
    return number + 1 - first, entries, others


def _shown(line: bytes) -> str:
    """
    Give the beginning of a line as text that can't upset a log.
    """
    text = line.strip()[:EXAMPLE_LENGTH].decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """
    Cut octets where lines end; of a line that is too long, only as much is
    kept as shows it.
    """
    rest = b""
    first = True
    for chunk in chunks:
        if first and chunk:
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            first = False
        end = chunk.rfind(b"\n")
        if end < 0:
            rest += chunk
        else:
            yield rest + chunk[:end]
            rest = chunk[end + 1 :]
        rest = rest[: MAX_LINE + 1]
    if rest:
        yield rest
