# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The rules, as immutable pictures: lists, records, clients, groups, times.
Pure: no Twisted in here.
"""
