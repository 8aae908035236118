# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What starts, stops and ticks.
"""
