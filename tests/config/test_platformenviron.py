# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.platformenviron}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.load import loadText
from dnsguard.config.model import Config
from dnsguard.errors import ConfigError


class PlatformTests(SynchronousTestCase):
    """
    Tests for L{platformTree}, as loading applies it.
    """

    def config(self, text: str = "", **environ: str) -> Config:
        """
        The configuration of a text and an environment.
        """
        loaded = loadText(text, environ=environ)
        self.assertEqual(loaded.warnings, ())
        return loaded.config

    def test_port(self) -> None:
        """
        CONTROL_PORT replaces the port alone, of whatever address.
        """
        for text, host in [
            ("", "127.0.0.1"),
            ("control: {listen: '0.0.0.0:1'}", "0.0.0.0"),
            ("control: {listen: '[::1]:1'}", "::1"),
        ]:
            listen = self.config(text, CONTROL_PORT="9000").control.listen
            self.assertEqual((listen.host, listen.port), (host, 9000))

    def test_wrongPort(self) -> None:
        """
        A port that is none is told with the variable's name.
        """
        for port in ("x", "0", "70000", "-1"):
            with self.assertRaises(ConfigError) as caught:
                self.config(CONTROL_PORT=port)
            self.assertIn("environment variable CONTROL_PORT", str(caught.exception))

    def test_queryStore(self) -> None:
        """
        The query store's size, retention and password; it can only be switched
        off.
        """
        store = self.config(
            "query_store: {password: old}",
            QUERY_STORE_MAX_SIZE_MB="7",
            QUERY_STORE_RETENTION_HOURS="9",
            QUERY_STORE_PASSWORD="pa$${env:x}",
        ).queryStore
        self.assertEqual((store.maxSizeMB, store.retentionHours), (7, 9))
        self.assertEqual(store.password, "pa$${env:x}")
        for word, enabled in [("false", False), ("0", False), ("true", True), ("", True)]:
            self.assertIs(self.config(CLICKHOUSE_ENABLED=word).queryStore.enabled, enabled)
        text = "query_store: {enabled: false}"
        self.assertFalse(self.config(text, CLICKHOUSE_ENABLED="1").queryStore.enabled)

    def test_passwordFile(self) -> None:
        """
        ADMIN_PASSWORD_FILE says where the password's hash is.
        """
        control = self.config(ADMIN_PASSWORD_FILE="/run/secrets/password").control
        self.assertEqual(control.passwordFile, "/run/secrets/password")

    def test_belowOwnVariables(self) -> None:
        """
        dnsguard's own variables go before these; these before the file; empty
        ones count for nothing.
        """
        text = "control: {listen: '127.0.0.1:1'}"
        environ = {"CONTROL_PORT": "2", "DNSGUARD__CONTROL__LISTEN": "127.0.0.2:3"}
        self.assertEqual(self.config(text, **environ).control.listen.port, 3)
        self.assertEqual(self.config(text, CONTROL_PORT="2").control.listen.port, 2)
        self.assertEqual(self.config(text, CONTROL_PORT="").control.listen.port, 1)
