from collections.abc import Callable, Sequence

def translate(
    records: bytes | bytearray | memoryview,
    facts: dict[int, int],
    clientIndex: Callable[[bytes], int],
    rows: bytearray,
    room: int,
    threshold: int,
    seed: int,
) -> tuple[int, int]: ...
def rowBinary(
    rows: bytes,
    clients: Sequence[bytes],
    facts: Sequence[bytes],
    protocols: Sequence[bytes],
    instance: bytes,
) -> bytes: ...
