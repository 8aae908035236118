# -*- test-case-name: tests.assembly.test_guard -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to listeners and the limits of the server.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from dnsguard.config.model import Config
from dnsguard.config.sections.server import AUTO, MOST_PROCESSES, ListenProtocol, ServerConfig
from dnsguard.interfaces import IReplayStore
from dnsguard.replay import newStore, pathInUse
from dnsguard.server.address import ListenAddress
from dnsguard.server.corridor import ServerLimits
from dnsguard.server.counters import PastSockets
from dnsguard.server.factory import GuardServerFactory
from dnsguard.server.listeners import ListenerService, UDPListener
from dnsguard.server.reply import ReplyLimits
from dnsguard.server.stream import StreamLimits

__all__ = [
    "listenerCount",
    "makeListeners",
    "makeReplayStore",
    "processCount",
    "replayBounds",
    "serverLimits",
    "streamLimits",
]

MOST_LISTENERS = 16


def serverLimits(config: Config) -> ServerLimits:
    """
    Say what the server does at most.
    """
    cap = int(config.cache.clientTTLCap)
    return ServerLimits(
        replies=ReplyLimits(
            payloadSize=config.server.maxUDPSize,
            ttlCap=cap or None,
            keepaliveSeconds=config.server.tcpIdleTimeout,
        ),
        pending=config.server.maxInFlight,
        answerSeconds=config.network.upstreamTimeout + 5.0,
    )


def streamLimits(server: ServerConfig) -> StreamLimits:
    """
    Say what connections may take.
    """
    return StreamLimits(
        idleSeconds=server.tcpIdleTimeout,
        readSeconds=server.readTimeout,
        writeSeconds=server.writeTimeout,
        pipelined=server.tcpMaxInFlight,
        connections=server.tcpMaxConnections,
        connectionsPerAddress=server.tcpMaxConnectionsPerClient,
    )


def processCount(server: ServerConfig) -> int:
    """
    Say how many processes share an address.
    """
    if server.processes == AUTO:
        return min(MOST_PROCESSES, _cpus())
    return server.processes


def listenerCount(server: ServerConfig) -> int:
    """
    Say how many UDP sockets of one process share an address.
    """
    if not server.reusePort:
        return 1
    if server.reusePortListeners is not None:
        return server.reusePortListeners
    return max(1, min(MOST_LISTENERS, _cpus()) // processCount(server))


def _cpus() -> int:
    """
    Say how many CPUs there are for us.
    """
    return len(os.sched_getaffinity(0))


def replayBounds(config: Config) -> dict[str, int]:
    """
    Say how much the store of finished replies may hold. It is made once.
    """
    settings = config.server.replay
    return {
        "maxEntries": settings.maxEntries,
        "maxBytes": settings.maxBytes,
        "ringSize": settings.ringSize,
    }


def makeReplayStore(config: Config) -> IReplayStore:
    """
    Make the store of finished replies.
    """
    return newStore(compiled=None, payloadLimit=config.server.maxUDPSize, **replayBounds(config))


def makeListeners(
    config: Config,
    reactor: Any,
    server: GuardServerFactory,
    replay: Any,
    past: PastSockets,
    inherited: Sequence[tuple[ListenAddress, socket.socket]] = (),
) -> ListenerService:
    """
    Make the service that listens.

    @param replay: The L{IReplayStore <dnsguard.interfaces.IReplayStore>}; a
        compiled one, where L{pathInUse} says that compiled ones are used.
    @param past: Where to leave what was counted on sockets that are closed.
    @param inherited: Sockets that another process has bound, instead of
        addresses.
    """
    settings = config.server
    byDefault = settings.listen == ServerConfig().listen
    compiled, _ = pathInUse()
    makeListener = None
    if compiled:

        def makeListener(bound: socket.socket, address: ListenAddress) -> UDPListener:
            from dnsguard.replay.listener import CompiledDatagramListener, ListenerMode

            return CompiledDatagramListener(
                bound,
                server,
                reactor,
                replay=replay,
                wildcard=address.isWildcard,
                mode=ListenerMode(settings.replay.mode.value),
            )

    return ListenerService(
        reactor,
        server,
        [
            # A machine without IPv6 can still run on the packaged defaults.
            ListenAddress(address.host, address.port, byDefault and ":" in address.host)
            for address in settings.listen
        ],
        streams=server.streams if ListenProtocol.TCP in settings.protocols else None,
        datagrams=ListenProtocol.UDP in settings.protocols,
        sockets=listenerCount(settings) if compiled else 1,
        helpers=0 if inherited else processCount(settings) - 1,
        inherited=inherited,
        makeListener=makeListener,
        receiveBuffer=settings.receiveBuffer,
        replay=replay,
        past=past,
    )
