# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which of five costs a sample of a profile belongs to.

A sample is a stack, innermost frame first, and each frame is C{function (file)}. From
the inside out, the first frame that says something decides: C{memcpy} is a copy
wherever it is called from, and what a function of the query store calls is a row. What
C{perf} sees in the interpreter it can't tell apart: that part is split as C{py-spy}
sees it, which knows the Python functions as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

__all__ = [
    "CATEGORIES",
    "FIVE",
    "INTERPRETER",
    "STORE",
    "categoryOf",
    "perfStacks",
    "pySpyStacks",
    "shares",
]

ROWS = "rows: encoding and storing"
REDIS = "Redis: the client, its octets and calls"
MEMORY = "allocation and copies"
COLLECTOR = "allocation: Python's collector"
LOCKS = "locks: futex, mutex, the interpreter's"
UDP = "UDP system calls, kernel included"
STORE = "rows: in the store's own process"
REPLAY = "requests, replies: the listener's C"
MODULES = "dnsguard's other modules"
WAITING = "waiting for events: epoll, poll"
INTERPRETER = "the interpreter"
OTHER = "the rest"
FIVE = (ROWS, REDIS, MEMORY, LOCKS, UDP)
CATEGORIES = (
    ROWS, STORE, REDIS, MEMORY, COLLECTOR, LOCKS, UDP, REPLAY, MODULES, WAITING, INTERPRETER, OTHER
)  # fmt: skip

_RULES = (
    # The kernel's first: it has functions of the same names as the C library.
    (LOCKS, r"futex.*\(\[kernel"),
    (REDIS, r"^(inet_)?tcp_.*\(\[kernel"),
    (UDP, r"^udp_|sys_(send|recv)(m?msg|to|from)?( |$)|sys_(send|recv)m?msg.*\(\[kernel"),
    (WAITING, r"(sys|do)_e?poll.*\(\[kernel"),
    (LOCKS, r"^(take|drop)_gil|pthread_(mutex|cond)|^PyThread_(acquire|release)|lll_lock|^sem_"),
    (LOCKS, r"^lock_PyThread|(threading|queue)\.py"),
    (COLLECTOR, r"^(gc_|visit_(decref|reachable)|(update|subtract)_refs)"),
    (MEMORY, r"^(?!.*\[kernel).*([mc]alloc|realloc|memcpy|memmove|memset|dealloc|unlink_chunk)"),
    (MEMORY, r"^_*(Py(Object|Mem)_(Malloc|Free|GC)|PyType_GenericAlloc|(c|_int_)?free\b)"),
    (UDP, r"^_*(libc_)?(send|recv)(m?msg|to|from)\b|^sock_(sendto|recvfrom)|internet/udp\.py"),
    (REDIS, r"dnsguard/redis/|hiredis|txredisapi|internet/tcp\.py|rediscache|(send|recv) \(libc"),
    (ROWS, r"dnsguard/querystore/|simplejson|_speedups|duckdb|(row|run) \(.*naive\.py"),
    (MEMORY, r"(__init__|reply) \(.*naive\.py"),
    (REPLAY, r"dnsguard/replay/"),
    (MODULES, r"dnsguard/|build/lib/dnsguard"),
    (OTHER, r"naive\.py"),
    (WAITING, r"^_*epoll_wait|^_*poll\b"),
)  # fmt: skip
_COMPILED = tuple((category, re.compile(rule)) for category, rule in _RULES)
_PYTHON = re.compile(r"\.py(:\d+)?\)$")


def categoryOf(stack: Iterable[str], python: bool = False) -> str:
    """
    Where a sample belongs.

    @param stack: Its frames, innermost first.
    @param python: Shall Python functions decide as well?
    """
    interpreted = False
    for frame in stack:
        if _PYTHON.search(frame) and not python:
            # That far perf sees: the evaluation loop.
            return INTERPRETER
        for category, rule in _COMPILED:
            if rule.search(frame):
                return category
        interpreted |= "python" in frame or ".py" in frame
    return INTERPRETER if interpreted else OTHER


def perfStacks(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """
    Read what C{perf script -F pid,ip,sym,dso} says.

    @return: Process and stack of each sample.
    """
    process, stack = 0, list[str]()
    for line in lines:
        words = line.split(maxsplit=1)
        if not words:
            if stack:
                yield process, stack
            stack = []
        elif line[0] == "\t" or len(words) > 1:
            stack.append(words[1].strip() if len(words) > 1 else "")
        else:
            process = int(words[0])
    if stack:
        yield process, stack


def pySpyStacks(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """
    Read what C{py-spy record --format raw} has written.

    @return: Number of samples, and their stack.
    """
    for line in lines:
        frames, _, count = line.rstrip().rpartition(" ")
        if count.isdigit():
            yield int(count), frames.split(";")[::-1]


def shares(
    samples: Iterable[tuple[int, list[str]]], process: int, spied: Iterable[tuple[int, list[str]]]
) -> dict[str, float]:
    """
    Sum a profile up.

    @param samples: Of perf. Without any py-spy has to do: of it threads are left out
        that wait for locks and events, which for py-spy look busy.
    @param process: The server. Others are processes that it has started.
    @param spied: Of py-spy.
    @return: By category: its share of all samples.
    """
    found: Counter[str] = Counter()
    for pid, stack in samples:
        found[categoryOf(stack) if pid == process else STORE] += 1
    within: Counter[str] = Counter()
    for count, stack in spied:
        native = categoryOf(stack)
        if native == INTERPRETER or (not found and native not in (LOCKS, WAITING)):
            within[categoryOf(stack, python=True)] += count
    interpreted = found.pop(INTERPRETER, 0) if within else 0
    # Without perf all there is comes from py-spy.
    weight = (interpreted or (0 if found else 1)) / max(1, within.total())
    shared = {category: float(count) for category, count in found.items()}
    for category, count in within.items():
        shared[category] = shared.get(category, 0.0) + count * weight
    total = sum(shared.values()) or 1.0
    return {category: value / total for category, value in shared.items()}
