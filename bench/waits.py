# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How long a thread waits for its core, and who has it meanwhile.

Usage: C{perf sched record -C 0 -o FILE -- sleep 1.5} beside a load, then
C{python bench/waits.py FILE}. Looks at the thread that runs most on core 0 while the
server has it alone: the one that answers. A wait is from when it is woken, or has
to stop, to when it runs again. What is printed is for some lengths the share of
all time by which waits are longer: of questions that come evenly, so many wait
for longer; and what other threads of those waits.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from typing import NamedTuple

SWITCH = re.compile(
    r"\[(\d+)\].* (\d+\.\d+): +sched:sched_switch: .*prev_pid=(\d+) .*prev_state=(\S+) "
    r"==> .*next_pid=(\d+)"
)
WAKE = re.compile(r" (\d+\.\d+): +sched:sched_wak(?:ing|eup): .*pid=(\d+)")
LENGTHS = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2e-3, 4e-3)


class Event(NamedTuple):
    """
    Somebody is woken (C{before} is 0), or runs in the place of another one.
    """

    at: float
    before: int
    state: str
    after: int


def events(path: str) -> list[Event]:
    """
    Read what happened on core 0, and whom others woke.
    """
    command = ["perf", "sched", "script", "-i", path, "-F", "comm,tid,cpu,time,event,trace"]
    found = []
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        if switch := SWITCH.search(line):
            core, at, before, state, after = switch.groups()
            if int(core) == 0:
                found.append(Event(float(at), int(before), state, int(after)))
        elif wake := WAKE.search(line):
            found.append(Event(float(wake[1]), 0, "", int(wake[2])))
    return found


def busiest(found: list[Event]) -> int:
    """
    The thread that runs most.
    """
    ran: dict[int, float] = defaultdict(float)
    last = found[0].at
    for event in found:
        if event.state:
            ran[event.before] += event.at - last
            last = event.at
    ran.pop(0, None)
    return max(ran, key=lambda thread: ran[thread])


def waits(found: list[Event], thread: int) -> list[dict[int, float]]:
    """
    Say of each wait who had the core for how long.
    """
    waited: list[dict[int, float]] = []
    holders: dict[int, float] | None = None
    runs, last = False, 0.0
    for event in found:
        if not event.state:
            if event.after == thread and holders is None and not runs:
                holders, last = defaultdict(float), event.at
            continue
        if holders is not None:
            holders[event.before] += event.at - last
            last = event.at
        if event.after == thread:
            runs = True
            if holders is not None:
                waited.append(holders)
                holders = None
        elif event.before == thread:
            runs = False
            if event.state.startswith("R"):
                holders, last = defaultdict(float), event.at
    return waited


def main() -> None:
    """
    Print the table.
    """
    found = events(sys.argv[1])
    thread = busiest(found)
    whole = found[-1].at - found[0].at
    waited = waits(found, thread)
    print(f"thread {thread}, {whole:.2f} s\n{'us':>6} {'waits':>7} {'later':>8}  held by")
    for length in LENGTHS:
        long = [holders for holders in waited if sum(holders.values()) > length]
        late = sum(sum(holders.values()) - length for holders in long)
        shares: dict[int, float] = defaultdict(float)
        for holders in long:
            for holder, seconds in holders.items():
                shares[holder] += seconds / whole
        most = sorted(shares.items(), key=lambda each: -each[1])[:5]
        names = ", ".join(f"{holder}: {share:.2%}" for holder, share in most)
        print(f"{length * 1e6:6.0f} {len(long):7} {late / whole:8.3%}  {names}")


if __name__ == "__main__":
    main()
