# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Configuration files into values. Pure: no Twisted in here.
"""
