# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The resolvers that dnsguard is measured beside, each as a forwarder with a cache.

All are set up for the same work: one thread, one upstream on loopback, a cache
large enough for the run, no validation, no logging of queries, and as many TCP
connections and queries under way on each of them as the load makes. A peer that
isn't on this machine is left out and named.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs

__all__ = ["PEERS", "Peer", "installed"]

Configure = Callable[[Path, int, int], list[str]]
"""Folder, port to listen on and upstream's port in; command out."""


@attrs.frozen
class Peer:
    """
    One resolver.

    @ivar name: What the table calls it.
    @ivar binary: Its program.
    @ivar configure: Writes its configuration and gives the command to run.
    @ivar version: The arguments that make it print its version.
    """

    name: str
    binary: str
    configure: Configure
    version: tuple[str, ...]

    def path(self) -> str | None:
        """
        Where its program is, or L{None}.
        """
        for folder in (None, "/usr/sbin", "/usr/local/sbin", str(Path.home() / "go" / "bin")):
            found = shutil.which(self.binary, path=folder)
            if found:
                return found
        return None

    def describe(self) -> str:
        """
        The first line it prints of its own version.
        """
        path = self.path()
        if path is None:
            return "not installed"
        done = subprocess.run(
            [path, *self.version], capture_output=True, text=True, check=False, timeout=20
        )
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return lines[0].strip() if lines else "unknown version"


def _unbound(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "unbound.conf").write_text(
        f"""
server:
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: "{folder}/unbound.log"
    verbosity: 0
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
    so-rcvbuf: 4m
    so-sndbuf: 4m
    outgoing-range: 8192
    num-queries-per-thread: 4096
    incoming-num-tcp: 1024
    outgoing-num-tcp: 64
    msg-cache-size: 256m
    rrset-cache-size: 512m
    minimal-responses: yes
    serve-expired: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
remote-control:
    control-enable: no
"""
    )
    return ["-d", "-c", str(folder / "unbound.conf")]


def _dnsdist(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "dnsdist.conf").write_text(
        f"""
setLocal("127.0.0.1:{port}", {{reusePort=true, maxInFlight=128}})
newServer({{address="127.0.0.1:{upstream}", sockets=16, healthCheckMode="up"}})
pc = newPacketCache(1000000, {{maxTTL=86400, minTTL=0, temporaryFailureTTL=0}})
getPool(""):setCache(pc)
setMaxUDPOutstanding(65535)
setUDPSocketBufferSizes(4194304, 4194304)
setSecurityPollSuffix("")
"""
    )
    return ["--supervised", "--disable-syslog", "-C", str(folder / "dnsdist.conf")]


def _pdnsRecursor(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "recursor.conf").write_text(
        f"""
local-address=127.0.0.1
local-port={port}
forward-zones-recurse=.=127.0.0.1:{upstream}
threads=1
pdns-distributes-queries=no
reuseport=no
dnssec=off
socket-dir={folder}
quiet=yes
loglevel=0
security-poll-suffix=
max-cache-entries=2000000
max-packetcache-entries=1000000
dont-query=
max-mthreads=4096
max-tcp-clients=1024
max-concurrent-requests-per-tcp-connection=128
"""
    )
    return [f"--config-dir={folder}", "--daemon=no", "--disable-syslog=yes"]


def _dnsmasq(folder: Path, port: int, upstream: int) -> list[str]:
    return [
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--listen-address=127.0.0.1",
        f"--port={port}",
        f"--server=127.0.0.1#{upstream}",
        "--cache-size=100000",
        "--dns-forward-max=4096",
        "--user=root",
        "--pid-file=",
    ]


def _bind(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "named.conf").write_text(
        f"""
options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    forward only;
    forwarders port {upstream} {{ 127.0.0.1; }};
    dnssec-validation no;
    recursion yes;
    allow-query {{ any; }};
    recursive-clients 10000;
    tcp-clients 1024;
    max-cache-size 512m;
    minimal-responses yes;
}};
controls {{ }};
logging {{ category default {{ null; }}; }};
"""
    )
    return ["-f", "-n", "1", "-c", str(folder / "named.conf")]


def _kresd(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "kresd.conf").write_text(
        f"""
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
net.ipv6 = false
cache.open(200 * MB, 'lmdb://{folder}/cache')
trust_anchors.remove('.')
policy.add(policy.all(policy.FORWARD({{'127.0.0.1@{upstream}'}})))
log_level('crit')
"""
    )
    return ["-n", "-c", str(folder / "kresd.conf"), str(folder)]


def _dnsproxy(folder: Path, port: int, upstream: int) -> list[str]:
    return [
        "--listen=127.0.0.1",
        f"--port={port}",
        f"--upstream=127.0.0.1:{upstream}",
        "--cache",
        "--cache-size=67108864",
        "--ratelimit=0",
    ]


def _blocky(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "blocky.yml").write_text(
        f"""
upstreams:
  groups:
    default:
      - udp:127.0.0.1:{upstream}
ports:
  dns: 127.0.0.1:{port}
caching:
  minTime: 5m
  prefetching: false
log:
  level: error
"""
    )
    return ["serve", "--config", str(folder / "blocky.yml")]


def _coredns(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "Corefile").write_text(
        f"""
.:{port} {{
    bind 127.0.0.1
    cache 3600 {{
        success 1000000
    }}
    forward . 127.0.0.1:{upstream}
}}
"""
    )
    return ["-conf", str(folder / "Corefile"), "-quiet"]


PEERS = (
    Peer("unbound", "unbound", _unbound, ("-V",)),
    Peer("dnsdist", "dnsdist", _dnsdist, ("--version",)),
    Peer("pdns-recursor", "pdns_recursor", _pdnsRecursor, ("--version",)),
    Peer("kresd", "kresd", _kresd, ("-V",)),
    Peer("bind9", "named", _bind, ("-V",)),
    Peer("dnsmasq", "dnsmasq", _dnsmasq, ("--version",)),
    Peer("dnsproxy", "dnsproxy", _dnsproxy, ("--version",)),
    Peer("coredns", "coredns", _coredns, ("-version",)),
    Peer("blocky", "blocky", _blocky, ("version",)),
)


def installed() -> list[Peer]:
    """
    The peers whose programs are on this machine.
    """
    return [peer for peer in PEERS if peer.path()]
