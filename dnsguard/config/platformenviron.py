# -*- test-case-name: tests.config.test_platformenviron -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Variables that container platforms and their templates set, by names of their
own.

They stand above the file and below C{DNSGUARD__...}, which say more exactly
what is meant. Empty ones count as unset.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence as AnySequence

from dnsguard.config.kinds import Context
from dnsguard.config.problem import Place
from dnsguard.config.tree import Entry, Mapping, Node, Scalar, find, insert

__all__ = ["platformTree"]

_LISTEN = ("control", "listen")
_DEFAULT_LISTEN = "127.0.0.1:8081"

_TEXTS = {
    "QUERY_STORE_MAX_SIZE_MB": ("query_store", "max_size_mb"),
    "QUERY_STORE_RETENTION_HOURS": ("query_store", "retention_hours"),
    "QUERY_STORE_PASSWORD": ("query_store", "password"),
    "ADMIN_PASSWORD_FILE": ("control", "password_file"),
}


def platformTree(
    environ: AnyMapping[str, str], below: AnySequence[Node], context: Context
) -> Mapping:
    """
    Gather the variables into a tree.

    C{CLICKHOUSE_ENABLED} can only switch the query store off; C{CONTROL_PORT}
    replaces the port of what C{control.listen} says.

    @param below: The layers that this one goes over, the lowest first.
    """
    root = Mapping(Place("configuration"))
    for variable, path in _TEXTS.items():
        text = environ.get(variable, "").strip()
        if text:
            place = Place(f"environment variable {variable}")
            if path[-1] == "password":
                # References have no place in it: a dollar sign is one.
                text = text.replace("$", "$$")
            root = insert(root, path, Entry(place, Scalar(place, text, plain=False)))
    if environ.get("CLICKHOUSE_ENABLED", "").strip().lower() in {"false", "0"}:
        place = Place("environment variable CLICKHOUSE_ENABLED")
        value = Scalar(place, "false")
        root = insert(root, ("query_store", "enabled"), Entry(place, value))
    port = environ.get("CONTROL_PORT", "").strip()
    if port:
        place = Place("environment variable CONTROL_PORT")
        if port.isascii() and port.isdigit():
            value = Scalar(place, f"{_listen(below).rpartition(':')[0]}:{port}", plain=False)
            root = insert(root, _LISTEN, Entry(place, value))
        else:
            context.error(place, _LISTEN, "a port is a number from 1 to 65535")
    return root


def _listen(layers: AnySequence[Node]) -> str:
    """
    What the layers say of C{control.listen}.
    """
    for layer in reversed(layers):
        entry = find(layer, _LISTEN)
        if entry is not None and isinstance(entry.value, Scalar) and not entry.value.missing:
            return entry.value.text
    return _DEFAULT_LISTEN
