from typing import Any

from dnsguard.policy.setformat import Header
from dnsguard.policy.settable import Place

class Table:
    header: Header
    def __init__(self, buffer: Any, header: Header, selected: bytes) -> None: ...
    def lookup(self, qname: bytes) -> Place | None: ...
    def matches(self, qname: bytes) -> list[Place]: ...
