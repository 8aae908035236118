# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{cached.py} as it is compiled: what of it is called without looking it up.
"""

from dnsguard.answer cimport Answer
from dnsguard.query cimport QueryFacts


cpdef freshAnswer(entry, double remaining, double replaySeconds)
cpdef entryOf(QueryFacts query, Answer answer, double now, policy, bint hot=*, createdAt=*)
