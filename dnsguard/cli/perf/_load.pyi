from collections.abc import Callable, Sequence
from socket import socket
from typing import Unpack

from dnsguard.cli.perf.questions import Questions
from dnsguard.cli.perf.slots import Limits
from dnsguard.cli.perf.tally import Tally

class DatagramLoad:
    sent: int
    over: int
    def __init__(
        self,
        sockets: Sequence[socket],
        questions: Questions,
        tally: Tally,
        **limits: Unpack[Limits],
    ) -> None: ...
    def step(self, seconds: float) -> bool: ...

class StreamLoad:
    sent: int
    over: int
    def __init__(
        self,
        connect: Callable[[], socket],
        questions: Questions,
        tally: Tally,
        **limits: Unpack[Limits],
    ) -> None: ...
    def step(self, seconds: float) -> bool: ...
    def close(self) -> None: ...
