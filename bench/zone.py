# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
An upstream on loopback that knows real names: unbound with local data.

Usage: C{python bench/zone.py NAMES [--port 5399] [--count 10000]}, where NAMES is a
file with one domain a line, most popular first. Each name, with and without
C{www}, gets an address in 198.18.0.0/15, the block for such tests (RFC 2544),
and a TTL such as popular names have. Runs until Ctrl-C.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

TTLS = (60, 300, 300, 300, 3600)
"""Most popular names have TTLs of minutes."""


def record(name: str) -> str:
    """
    One name's record, the same one at each run.
    """
    number = zlib.crc32(name.encode("idna"))
    address = f"198.{18 + (number >> 16 & 1)}.{number >> 8 & 255}.{number & 255}"
    return f"local-data: '{name} {TTLS[number % len(TTLS)]} A {address}'\n"


def configuration(names: list[str], port: int, folder: Path) -> str:
    """
    What unbound is told.
    """
    records = "".join(record(name) + record(f"www.{name}") for name in names)
    return f"""
server:
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    num-threads: 1
    module-config: "iterator"
    local-zone: "." static
    local-data: ". 3600 SOA a.root-servers.example nobody.invalid 1 1800 900 604800 300"
{records}
remote-control:
    control-enable: no
"""


def main() -> None:
    """
    Serve until Ctrl-C.
    """
    parser = argparse.ArgumentParser(description="An upstream that knows real names.")
    parser.add_argument("names", type=Path)
    parser.add_argument("--port", type=int, default=5399)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    unbound = shutil.which("unbound") or shutil.which("unbound", path="/usr/sbin")
    if unbound is None:
        sys.exit("this needs unbound")
    names = options.names.read_text("utf-8").split()[: options.count]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "unbound.conf"
        path.write_text(configuration(names, options.port, folder), "utf-8")
        print(f"{len(names)} names on 127.0.0.1:{options.port}", flush=True)
        # Ended by a signal or not, nothing is left running.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        server = subprocess.Popen([unbound, "-d", "-c", str(path)])
        try:
            server.wait()
        except KeyboardInterrupt:
            print()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
