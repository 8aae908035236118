# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
DNS messages as octets: scanning, rewriting and naming them without decoding
records. Pure: this package imports nothing but the standard library.
"""
