# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a compiled set of millions of names costs to build, to keep and to ask.

Usage: C{python bench/domainset.py [--names 5000000] [--asked 100000]}. Writes so
many names, as long and as alike as those of public block lists, to a file, has
the list worker make a set of them in its own process, maps that in a fresh one,
and asks it for names from all over it: listed ones, names below listed ones, and
names that aren't listed. A lookup is the CPU time that a loop in Python takes for
one, the loop included. Run it from the project's folder, built in place.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dnsguard.policy.domainset import COMPILED, DomainSet
from dnsguard.services.listworker import Job
from dnsguard.wire.names import fromText

ROUNDS = 7
SYLLABLES = [
    first + vowel + last
    for first in ("b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "tr", "st")
    for vowel in "aeiou"
    for last in ("", "n", "r", "s", "t", "l")
]
ENDINGS = ["com"] * 10 + [
    "net",
    "org",
    "info",
    "top",
    "xyz",
    "ru",
    "de",
    "co.uk",
    "com.br",
    "shop",
]
BELOW = ["ads", "track", "www", "click", "pixel", "stats", "cdn", "go", "login", "secure"]


def listed(seed: int) -> Iterator[str]:
    """
    Give names, endlessly: four in ten are domains, the others stand below one.
    """
    rng = random.Random(seed)
    choice = rng.choice
    while True:
        domain = f"{choice(SYLLABLES)}{choice(SYLLABLES)}{choice(SYLLABLES)}"
        domain += choice(("", "", "-", choice(SYLLABLES))) + str(rng.randrange(1000))
        domain += "." + choice(ENDINGS)
        below = rng.random()
        if below < 0.4:
            yield domain
        elif below < 0.8:
            yield f"{choice(BELOW)}.{domain}"
        else:
            yield f"{choice(SYLLABLES)}{rng.randrange(10000)}.{choice(BELOW)}.{domain}"


def writeNames(path: Path, count: int) -> None:
    """
    Write a list of so many names.
    """
    with path.open("w") as file:
        file.writelines(f"{name}\n" for name in islice(listed(1), count))


def compiled(source: Path, target: Path) -> float:
    """
    Have the worker make a set of a list.

    @return: The seconds it took.
    """
    job = Job((("list", str(source), "digest"),), str(target))
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dnsguard.services.listworker"],
        input=job.dump(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def mapped(path: Path) -> float:
    """
    Map a set in a process that hasn't seen it, until it has answered a question.

    @return: The seconds it took.
    """
    code = (
        "import sys, time; from dnsguard.policy.domainset import DomainSet;"
        "started = time.perf_counter(); domains = DomainSet.load(sys.argv[1]);"
        "domains.lookup(b'\\3www\\7example\\3org\\0'); print(time.perf_counter() - started)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, check=True
    )
    return float(found.stdout)


def lookups(domains: DomainSet, names: list[bytes]) -> list[float]:
    """
    Ask for each name, several times over.

    @return: Microseconds a lookup took, for each round, the fastest first.
    """
    lookup = domains.lookup
    rounds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for name in names:
            lookup(name)
        rounds.append((time.thread_time() - started) / len(names) * 1e6)
    return sorted(rounds)


def spread(path: Path, every: int, count: int, prefix: str = "") -> list[bytes]:
    """
    Give one in so many lines of a list, in no order, with something in front.
    """
    with path.open() as file:
        names = [fromText(prefix + line.strip()) for line in islice(file, 0, None, every)][:count]
    random.Random(2).shuffle(names)
    # As octets that lie one behind the other in memory, as those of packets do.
    return [bytes(bytearray(name)) for name in names]


def rows(directory: Path, names: int, asked: int) -> Iterable[tuple[str, str]]:
    """
    Measure, and say what was measured.
    """
    source, target = directory / "names.txt", directory / "lists.set"
    writeNames(source, names)
    yield "build, in the worker's process", f"{compiled(source, target):.1f} s"
    domains = DomainSet.load(target)
    size = target.stat().st_size
    yield "names", f"{len(domains):,}"
    yield "octets a name", f"{size / len(domains):.1f}"
    yield "load, and the first question", f"{mapped(target) * 1e3:.2f} ms"
    started = time.perf_counter()
    domains.verify()
    yield "verify the whole file (a thread's affair)", f"{time.perf_counter() - started:.2f} s"
    every = max(1, names // asked)
    kinds = {
        "listed": spread(source, every, asked),
        "below a listed one": spread(source, every, asked, "www."),
        "not listed": [fromText(name) for name in islice(listed(3), asked)],
    }
    kinds["not listed"] = [name for name in kinds["not listed"] if domains.lookup(name) is None]
    for kind, asking in kinds.items():
        missed = sum(domains.lookup(name) is None for name in asking)
        assert missed == (len(asking) if kind == "not listed" else 0)
        found = lookups(domains, asking)
        yield (
            f"lookup, {len(asking):,} names {kind}",
            f"{found[len(found) // 2]:.3f} us (best round {found[0]:.3f})",
        )


def main() -> None:
    """
    Print the table.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[1])
    parser.add_argument("--names", type=int, default=5_000_000)
    parser.add_argument("--asked", type=int, default=100_000)
    options = parser.parse_args()
    print(f"compiled twin: {COMPILED}", flush=True)
    with tempfile.TemporaryDirectory(prefix="dnsguard-") as directory:
        for what, value in rows(Path(directory), options.names, options.asked):
            print(f"{what:44}{value}", flush=True)


if __name__ == "__main__":
    main()
