# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The memory cache's cores: entries, SIEVE, TTL arithmetic, refresh decisions. Pure: no Twisted in here.
"""
