# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Listeners, and the one place where replies are made.
"""
