# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Where rows of answered queries are kept and looked up.
"""
