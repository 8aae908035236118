from collections.abc import Callable, Sequence
from typing import Any

class ReplayedRows:
    octets: int
    placed: int
    met: int
    def __init__(self, encode: Callable[[Any], bytes]) -> None: ...
    def __len__(self) -> int: ...
    def begin(self, facts: list[bytes], anew: bool = False) -> None: ...
    def meet(self, batch: Any, clientIndex: Callable[[bytes], int], most: int) -> int: ...
    def translate(
        self,
        batch: Any,
        clientIndex: Callable[[bytes], int],
        rows: bytearray,
        room: int,
        threshold: int,
        seed: int,
    ) -> tuple[int, int]: ...

def rowBinary(
    rows: bytes | bytearray,
    clients: Sequence[bytes],
    facts: Sequence[bytes],
    protocols: Sequence[bytes],
    instance: bytes,
) -> bytes: ...
