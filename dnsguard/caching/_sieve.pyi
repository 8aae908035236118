# Copyright (c) The dnsguard developers. See LICENSE for details.
from typing import TypeVar

from dnsguard.caching.key import Key
from dnsguard.caching.sieve import Sieve

V = TypeVar("V")

STEPS: int
EVICTIONS: int

class CompiledSieve(Sieve[Key, V]): ...
