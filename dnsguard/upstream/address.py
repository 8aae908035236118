# -*- test-case-name: tests.upstream.test_address -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Where an upstream is and how it is spoken to, read from one line of text.

Every way of writing an address that people know from other resolvers is read
here, also the ones that can't be dialled, so that the error says what is wrong
with the address instead of calling C{https} a host name.
"""

from __future__ import annotations

import enum
import ipaddress
import re

import attrs

__all__ = ["SUPPORTED", "InvalidAddress", "Scheme", "UpstreamAddress"]


class Scheme(enum.Enum):
    """
    What is spoken to an upstream. The values are the words of the config.
    """

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    HTTPS = "https"
    QUIC = "quic"


SUPPORTED = (Scheme.UDP, Scheme.TCP)
"""The schemes that can be dialled."""

_DEFAULT_PORTS = {
    Scheme.UDP: 53,
    Scheme.TCP: 53,
    Scheme.TLS: 853,
    Scheme.HTTPS: 443,
    Scheme.QUIC: 853,
}

_ADDRESS = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?:\[(?P<bracketed>[^\[\]/]*)\]|(?P<bare>[^\[\]:/]*))"
    r"(?::(?P<port>[^:/]*))?(?P<path>/.*)?"
)
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class InvalidAddress(ValueError):
    """
    A text is no upstream address, or one that can't be dialled.

    @ivar text: The text.
    @ivar reason: What is wrong with it, in a few words.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, reason)
        self.text = text
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.text[:100]!r}: {self.reason}"


@attrs.frozen
class UpstreamAddress:
    """
    One upstream's scheme, host and port.

    @ivar scheme: What is spoken.
    @ivar host: An IP address in canonical text, or a host name in lower case.
    @ivar port: The port.
    @ivar path: The path and query of an C{https} address, else empty.
    """

    scheme: Scheme
    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str, protocol: str = "") -> UpstreamAddress:
        """
        Read C{192.0.2.1}, C{192.0.2.1:5353}, C{[2001:db8::1]:53}, or one of
        them behind C{udp://}, C{tcp://}, C{tls://}, C{quic://} or C{https://}.

        @param protocol: The scheme that a config names beside the address;
            empty when it doesn't.
        @raise InvalidAddress: It can't be read.
        """
        stripped = text.strip()
        bare = _ipAddress(stripped)
        if bare is not None:
            # The one form with colons that aren't a port's: an IPv6 address.
            scheme = _scheme(text, "", protocol)
            return cls(scheme, bare, _DEFAULT_PORTS[scheme])
        found = _ADDRESS.fullmatch(stripped)
        if found is None:
            raise InvalidAddress(text, "not of the form host, host:port or scheme://host:port")
        scheme = _scheme(text, found["scheme"] or "", protocol)
        path = found["path"] or ""
        if path and scheme is not Scheme.HTTPS:
            raise InvalidAddress(text, f"a path belongs to https, not to {scheme.value}")
        if scheme is Scheme.HTTPS:
            path = path or "/dns-query"
        return cls(
            scheme,
            _host(text, found["bracketed"], found["bare"]),
            _port(text, found["port"], scheme),
            path,
        )

    @property
    def isLiteral(self) -> bool:
        """
        Is the host an IP address, rather than a name to look up?
        """
        return _ipAddress(self.host) is not None

    def supported(self) -> UpstreamAddress:
        """
        Give the same address if queries can be sent to it.

        @raise InvalidAddress: They can't.
        """
        if self.scheme not in SUPPORTED:
            known = " and ".join(scheme.value for scheme in SUPPORTED)
            raise InvalidAddress(
                str(self), f"{self.scheme.value} upstreams aren't supported; {known} are"
            )
        if not self.isLiteral:
            # Looking a name up would need a resolver: in most places, this one.
            raise InvalidAddress(
                str(self), f"a {self.scheme.value} upstream needs an IP address, not a name"
            )
        return self

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.scheme is Scheme.HTTPS:
            port = "" if self.port == _DEFAULT_PORTS[Scheme.HTTPS] else f":{self.port}"
            return f"https://{host}{port}{self.path}"
        return f"{self.scheme.value}://{host}:{self.port}"


def _scheme(text: str, written: str, protocol: str) -> Scheme:
    """
    Make one scheme of the one written in the address and the one beside it.
    """
    word = (written or protocol or Scheme.UDP.value).lower()
    try:
        scheme = Scheme(word)
    except ValueError:
        known = ", ".join(scheme.value for scheme in Scheme)
        raise InvalidAddress(text, f"unknown scheme {word!r}, known are {known}") from None
    if written and protocol and protocol.lower() != word:
        raise InvalidAddress(text, f"says {word}, but its protocol says {protocol.lower()}")
    return scheme


def _host(text: str, bracketed: str | None, bare: str | None) -> str:
    """
    Check the host part, and give it in canonical form.
    """
    if bracketed is not None:
        address = _ipAddress(bracketed)
        if address is None or ":" not in address:
            raise InvalidAddress(text, f"{bracketed!r} is no IPv6 address")
        return address
    host = bare or ""
    if not host:
        raise InvalidAddress(text, "no host")
    address = _ipAddress(host)
    if address is not None:
        return address
    labels = host.rstrip(".").split(".")
    if labels[-1].isdigit():
        raise InvalidAddress(text, f"{host!r} is no IPv4 address")
    if len(host) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise InvalidAddress(text, f"{host!r} is no host name")
    return host.rstrip(".").lower()


def _port(text: str, written: str | None, scheme: Scheme) -> int:
    """
    Check the port part, if there is one.
    """
    if written is None:
        return _DEFAULT_PORTS[scheme]
    if not (written.isascii() and written.isdigit() and 0 < int(written[:6]) < 65536):
        raise InvalidAddress(text, f"port {written[:20]!r} isn't between 1 and 65535")
    return int(written)


def _ipAddress(text: str) -> str | None:
    """
    Give an IP address in canonical text, or L{None} if it isn't one.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
