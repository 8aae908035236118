# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Those who are told of each query answered.
"""
