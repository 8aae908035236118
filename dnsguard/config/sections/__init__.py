# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The sections of the configuration, one module for those that belong together.

Each class is read top to bottom as the reference page shows it. Spans of time
are in seconds, sizes in octets; L{None} means "not set" and is never the same
as zero.
"""
