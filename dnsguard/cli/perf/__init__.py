# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard perf}: how fast a server answers, and whether it answers right.

Questions are sent and replies are read in batches, by a compiled module where
there is one: what measures mustn't be what is measured.
"""
