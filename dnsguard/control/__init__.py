# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The control API: watching and changing a server that runs, by HTTP.
"""
