# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Several processes that serve as one; see C{docs/processes.rst}.
"""
