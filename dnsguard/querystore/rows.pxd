# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{rows.py} as it is compiled: what of it is called without looking it up.
"""

from dnsguard.answer cimport Answer


cpdef bytes framedFact(bytes qname, int type, int cls, Answer answer, tuple frame)
