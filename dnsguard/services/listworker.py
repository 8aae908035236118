# -*- test-case-name: tests.services.test_listworker -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Turning copies of block lists into one compiled set, in a process of its own.

Parsing millions of lines in a thread would hold Python's lock for seconds, and
the reactor with it. So this module is also a program, C{python -m
dnsguard.services.listworker}: it reads one L{Job} as JSON from its standard
input, writes the compiled set to a file and its L{Report}s as JSON to standard
output. It touches no network and knows nothing of who runs it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import attrs

from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import newBuilder, save
from dnsguard.policy.listparser import parseList
from dnsguard.policy.setformat import readHeader
from dnsguard.priority import LATER, stepBack

__all__ = ["PARSER", "Job", "Report", "compileLists", "inputsOf"]

PARSER = 1
"""Is raised when lists are to be parsed anew although they haven't changed."""

_CHUNK = 1 << 16


@attrs.frozen
class Job:
    """
    What to compile.

    @ivar lists: The name, file and digest of each list.
    @ivar output: The file to write.
    """

    lists: tuple[tuple[str, str, str], ...]
    output: str

    def dump(self) -> bytes:
        """
        The job as JSON.
        """
        return json.dumps({"lists": self.lists, "output": self.output}).encode("ascii")

    @classmethod
    def load(cls, text: bytes) -> Job:
        """
        Read what L{dump} wrote.
        """
        facts = json.loads(text)
        return cls(
            tuple((name, path, digest) for name, path, digest in facts["lists"]), facts["output"]
        )


@attrs.frozen
class Report:
    """
    What became of one list.

    @ivar name: Its name.
    @ivar lines: Lines in it.
    @ivar entries: Names accepted, repeated ones included.
    @ivar names: Distinct names.
    @ivar rejected: Lines rejected.
    @ivar reasons: How many for each reason, in words.
    @ivar examples: The first rejected lines, each with number and reason.
    @ivar seconds: What reading it took.
    """

    name: str
    lines: int
    entries: int
    names: int
    rejected: int
    reasons: dict[str, int]
    examples: tuple[str, ...]
    seconds: float


def inputsOf(lists: tuple[tuple[str, str, str], ...]) -> list[str]:
    """
    Say what a compiled set was made of, as it is kept in its header: equal
    inputs give equal sets.
    """
    return [f"parser {PARSER}", *(f"{digest} {name}" for name, _, digest in lists)]


def _chunks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def compileLists(job: Job) -> tuple[Report, ...]:
    """
    Do a job.

    @raise OSError: A copy can't be read, or the set can't be written.
    @raise PolicyError: The lists are too many or too long.
    """
    builder = newBuilder()
    found = []
    for name, path, _ in job.lists:
        builder.addSource(name)
        started = time.monotonic()
        summary = parseList(_chunks(path), builder.add, builder.scan)
        found.append((name, summary, time.monotonic() - started))
    reports = [
        Report(
            name,
            summary.lines,
            summary.entries,
            0,
            summary.rejected,
            {reason.value: count for reason, count in summary.reasons.items()},
            tuple(map(str, summary.examples)),
            round(seconds, 3),
        )
        for name, summary, seconds in found
    ]
    data = builder.build(
        {"inputs": inputsOf(job.lists), "reports": [attrs.asdict(report) for report in reports]}
    )
    save(data, job.output)
    return reportsIn(readHeader(data, job.output))


def reportsIn(header: Any) -> tuple[Report, ...]:
    """
    Give the reports that a compiled set keeps of its lists.
    """
    reports = [Report(**facts) for facts in header.facts.get("reports", ())]
    return tuple(
        attrs.evolve(report, names=source.names, examples=tuple(report.examples))
        for report, source in zip(reports, header.sources, strict=True)
    )


def main() -> int:
    """
    Be the program: 0 for success, 1 with one line on standard error.
    """
    stepBack(LATER)
    try:
        reports = compileLists(Job.load(sys.stdin.buffer.read()))
    except (PolicyError, OSError, ValueError, KeyError, MemoryError) as reason:
        print(str(reason).strip() or type(reason).__name__, file=sys.stderr)
        return 1
    json.dump([attrs.asdict(report) for report in reports], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
