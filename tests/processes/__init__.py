# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes}.
"""
