# -*- test-case-name: tests.cli.test_query -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A reply's records and reasons as text.

The message is taken apart by dnsguard's own code, which a damaged record or
option doesn't stop: what makes a reply odd is what one wants to see. How a
record's data is written is known to dnspython.
"""

from __future__ import annotations

from typing import Any

import dns.edns
import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from dnsguard.cli.exchange import Exchange
from dnsguard.wire.edns import EDE_OPTION
from dnsguard.wire.layout import MalformedMessage
from dnsguard.wire.mnemonics import className, typeName
from dnsguard.wire.names import ROOT, toText
from dnsguard.wire.records import Record, split

__all__ = ["Sections", "errorsOf", "sectionsOf"]

Sections = dict[str, list[dict[str, Any]]]


def errorsOf(found: Exchange) -> list[dict[str, Any]]:
    """
    Give what the reply says about why it is what it is (RFC 8914).
    """
    errors = []
    for code, data in found.layout.edns.options if found.layout.edns else ():
        if code == EDE_OPTION and len(data) >= 2:
            number = int.from_bytes(data[:2], "big")
            try:
                meaning = dns.edns.EDECode(number).name.replace("_", " ").capitalize()
            except ValueError:
                meaning = ""
            text = data[2:].rstrip(b"\0").decode("utf-8", "replace")
            errors.append({"code": number, "meaning": meaning, "text": text})
    return errors


def sectionsOf(found: Exchange) -> Sections:
    """
    Give the records of each section, ready to be shown.

    @raise MalformedMessage: They can't be told apart.
    """
    try:
        sections = split(found.reply, found.layout)
    except IndexError:
        raise MalformedMessage("a name runs over the end") from None
    return {
        title: [_shown(record) for record in records]
        for title, records in zip(("answer", "authority", "additional"), sections, strict=True)
    }


def _shown(record: Record) -> dict[str, Any]:
    klass = int.from_bytes(record.body[2:4], "big")
    name = toText(record.owner)
    return {
        "name": name if record.owner == ROOT else name + ".",
        "ttl": record.ttl,
        "class": className(klass),
        "type": typeName(record.type),
        "data": _data(record, klass),
    }


def _data(record: Record, klass: int) -> str:
    """
    Write a record's data; in the form for unknown types (RFC 3597 §5) if it
    isn't what its type says.
    """
    data = record.data
    try:
        kind = dns.rdataclass.RdataClass.make(klass), dns.rdatatype.RdataType.make(record.type)
        return dns.rdata.from_wire(*kind, data, 0, len(data)).to_text()
    except (dns.exception.DNSException, ValueError):
        return f"\\# {len(data)} {data.hex()}".rstrip()
