# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The chain and its elements.
"""
