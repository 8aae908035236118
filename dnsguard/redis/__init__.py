# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
L1: the answers that several instances share in Redis.
"""
