# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Servers that queries are forwarded to.
"""
