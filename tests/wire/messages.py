# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Messages made by Twisted Names, for the wire package to be compared with.
"""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.names import dns

NAMES = st.sampled_from(
    [b"www.example.org", b"example.org", b"MAIL.example.org", b"a.b.c.example.net", b""]
)
TTLS = st.integers(0, 0x7FFFFFFF)


def _record(name: bytes, ttl: int, payload: dns.IEncodableRecord) -> dns.RRHeader:
    return dns.RRHeader(name, payload.TYPE, dns.IN, ttl, payload)


PAYLOADS = st.one_of(
    st.just("192.0.2.1").map(dns.Record_A),
    st.just("2001:db8::1").map(dns.Record_AAAA),
    NAMES.map(dns.Record_CNAME),
    NAMES.map(dns.Record_NS),
    st.builds(dns.Record_MX, st.integers(0, 9), NAMES),
    st.builds(dns.Record_SRV, st.just(1), st.just(2), st.just(53), NAMES),
    st.builds(
        dns.Record_NAPTR, st.just(1), st.just(2), st.just(b"u"), st.just(b"x"), st.just(b""), NAMES
    ),
    st.binary(max_size=20).map(lambda text: dns.Record_TXT(text)),
    st.builds(dns.Record_SOA, NAMES, NAMES, st.just(1), st.just(2), st.just(3), st.just(4), TTLS),
)
RECORDS = st.lists(st.builds(_record, NAMES, TTLS, PAYLOADS), max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> dns.Message:
    """
    A response with one question and records in all sections.
    """
    message = dns.Message(draw(st.integers(0, 65535)), answer=1, rCode=draw(st.integers(0, 15)))
    message.queries = [dns.Query(draw(NAMES), draw(st.sampled_from([1, 28, 255])), dns.IN)]
    message.answers = draw(RECORDS)
    message.authority = draw(RECORDS)
    message.additional = draw(RECORDS)
    return message
