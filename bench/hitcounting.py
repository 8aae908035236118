# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What counting hits costs: half a million a second from the replay store.

Run C{python -m bench.hitcounting} from the root. Names are asked for as often
as Zipf's law says. A batch has as many queries as one drain gives; a second of
them is counted, taken over and shared, and the processor time that took is set
against the second.
"""

from __future__ import annotations

import random
import time
from itertools import accumulate

from twisted.internet.task import Clock

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.observers.hitcounter import HitCounter
from dnsguard.replay.batch import RECORD, ReplayBatch
from dnsguard.replay.bounds import DRAIN_LIMIT
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.names import fromText
from tests.support.answerstore import FakeAnswerStore, SharedAnswers

RATE = 500_000
SECONDS = 5


def batches(names: int, entries: dict[int, ReplayedAnswer]) -> list[ReplayBatch]:
    """
    A second's batches.
    """
    weights = list(accumulate(1 / rank for rank in range(1, names + 1)))
    chance = random.Random(1)
    return [
        ReplayBatch(
            b"".join(
                RECORD.pack(0, number, 20_000, 100, 0, 4, bytes(16))
                for number in chance.choices(range(names), cum_weights=weights, k=DRAIN_LIMIT)
            ),
            entries.__getitem__,
        )
        for _ in range(-(-RATE // DRAIN_LIMIT))
    ]


def measure(names: int, shared: bool) -> None:
    """
    Print what one number of names costs.
    """
    answer = Answer.failure(0, Outcome.CACHED)
    entries = {
        number: ReplayedAnswer(
            fromText(f"host{number}.example.org"), 1, 1, Outcome.CACHED, 0, "", None, answer
        )
        for number in range(names)
    }
    second = batches(names, entries)
    clock = Clock()
    rates: HitRates[Key] = HitRates(20_000, 60.0)
    counts: SlidingCounts[Key] = SlidingCounts(20_000, 48 * 3600.0)
    store = SharedAnswers(clock)
    counter = HitCounter(
        rates,
        clock,
        counts=counts if shared else None,
        store=FakeAnswerStore(store) if shared else None,
        sweepWindow=48 * 3600.0,
    )
    began = time.process_time()
    for _ in range(SECONDS):
        for batch in second:
            counter.queriesReplayed(batch)
        clock.advance(1)
        counter.flush()
        clock.advance(0)
    spent = (time.process_time() - began) / SECONDS
    hits = sum(map(len, second))
    print(
        f"{names:7} names, {'with' if shared else 'without'} a shared store:"
        f" {hits} hits/s take {100 * spent:.2f} % of a core;"
        f" {store.commands / SECONDS:.0f} operations/s on at most 100 keys each"
    )


def main() -> None:
    """
    Measure a few numbers of names.
    """
    for names in (100, 1000, 10_000):
        for shared in (False, True):
            measure(names, shared)


if __name__ == "__main__":
    main()
