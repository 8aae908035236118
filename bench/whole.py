# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The whole of dnsguard, as benchmarks set it up: a long block list, two client
groups, and its queries counted and stored.

Nothing here imports dnsguard: what is measured may be another copy of it.
"""

from __future__ import annotations

import sys
from pathlib import Path


def configuration(
    data: Path,
    port: int,
    upstream: int,
    listed: Path,
    *,
    entries: int = 100_000,
    caching: str = "",
    more: str = "",
) -> str:
    """
    Everything on.

    @param data: The folder for what it keeps.
    @param upstream: The upstream's port on loopback.
    @param listed: The block list.
    @param entries: How many the cache in memory has room for.
    @param caching: What the section C{cache} has besides, after a comma.
    @param more: Lines of configuration besides.
    """
    return f"""
data_directory: {data}
server:
  listen: [127.0.0.1:{port}]
  reuse_port_listeners: 1
upstreams: [127.0.0.1:{upstream}]
blocklists: {{sources: [{{name: long, url: {listed}}}]}}
client_identification:
  enabled: true
  clients:
    - {{ip: 192.0.2.0/24, group_id: one}}
    - {{ip: 198.51.100.0/24, group_id: two}}
client_groups:
  - {{id: one, blocklist: {{denylist: [one.example]}}}}
  - {{id: two, blocklist: {{denylist: [two.example]}}}}
cache: {{lru_size: {entries}{caching}}}
{more}
"""


def command(config: Path) -> list[str]:
    """
    What runs it as C{twistd dnsguard} does.
    """
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    return [*twistd, "-n", "--pidfile=", "dnsguard", "--config", str(config)]


def writeList(path: Path, ads: int, names: int, below: str = "blocked.example") -> None:
    """
    Write a list of so many names, some of which are what C{bench/flood.c} asks
    for as ads.

    @param below: The domain of the others.
    """
    with path.open("w") as file:
        file.writelines(f"ads{number}.example.org\n" for number in range(ads))
        file.writelines(f"listed-{number}.{below}\n" for number in range(names - ads))
