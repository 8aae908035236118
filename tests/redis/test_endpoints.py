# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.endpoints}.
"""

from __future__ import annotations

from pathlib import Path

import trustme
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.redis.endpoints import ClientTLS, Place, TurnsEndpoint, endpointOf
from tests.redis.wires import FakeEndpoint


class PlaceTests(SynchronousTestCase):
    """
    Tests for L{Place} and L{endpointOf}.
    """

    def test_words(self) -> None:
        """
        A place is written as it is configured.
        """
        for place, text in [
            (Place("redis", 1), "redis:1"),
            (Place("2001:db8::1"), "[2001:db8::1]:6379"),
            (Place(path="/run/s"), "/run/s"),
        ]:
            self.assertEqual(str(place), text)

    def test_ways(self) -> None:
        """
        There are sockets, hosts, and hosts over TLS.
        """
        reactor = MemoryReactorClock()
        self.assertIsInstance(endpointOf(Place(path="/run/s"), reactor), UNIXClientEndpoint)
        self.assertIsInstance(endpointOf(Place("redis"), reactor), HostnameEndpoint)
        secret = endpointOf(Place("redis"), reactor, ClientTLS())
        self.assertNotIsInstance(secret, HostnameEndpoint)

    def test_turns(self) -> None:
        """
        Of several each is taken in turn.
        """
        one, two = FakeEndpoint(), FakeEndpoint()
        one.refusing = two.refusing = ConnectionError()
        turns = TurnsEndpoint([one, two])
        for _ in range(3):
            self.failureResultOf(turns.connect(None), ConnectionError)
        self.assertEqual((one.attempts, two.attempts), (2, 1))


class ClientTLSTests(SynchronousTestCase):
    """
    Tests for L{ClientTLS}.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = trustme.CA()
        self.own = self.authority.issue_cert("client.example.org")

    def write(self, name: str, *blobs: trustme.Blob) -> str:
        """
        Write a file.
        """
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    def test_files(self) -> None:
        """
        Authorities, and a certificate with its key in the same file or not,
        are read.
        """
        authorities = self.write("ca", self.authority.cert_pem, trustme.CA().cert_pem)
        certificate = self.write("cert", self.own.cert_chain_pems[0])
        key = self.write("key", self.own.private_key_pem)
        both = self.write("both", self.own.cert_chain_pems[0], self.own.private_key_pem)
        for tls in (
            ClientTLS.load(authorities, certificate, key, "redis.example.org"),
            ClientTLS.load(authorities, both),
        ):
            self.assertIsNotNone(tls.trustRoot)
            self.assertIsNotNone(tls.certificate)
        self.assertEqual(ClientTLS.load(), ClientTLS())

    def test_unusable(self) -> None:
        """
        A file that can't be used is named.
        """
        certificate = self.write("cert", self.own.cert_chain_pems[0])
        key = self.write("key", trustme.CA().issue_cert("x.example.org").private_key_pem)
        broken = self.write("broken")
        Path(broken).write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        missing = str(self.folder / "missing")
        for arguments, named in [
            ((missing,), missing),
            ((key,), key),
            ((broken,), broken),
            (("", certificate), certificate),
            (("", certificate, key), certificate),
            (("", certificate, missing), missing),
        ]:
            error = self.assertRaises(ValueError, ClientTLS.load, *arguments)
            self.assertIn(named, str(error))
