# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Reading and changing the configuration through the control API.
"""
