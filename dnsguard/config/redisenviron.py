# -*- test-case-name: tests.config.test_redisenviron -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{REDIS_*} variables, as container platforms set them.

They stand above the file and below C{DNSGUARD__CACHE__REDIS__...}, which say
more exactly what is meant.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from urllib.parse import unquote, urlsplit

from dnsguard.config.kinds import Context
from dnsguard.config.problem import Place
from dnsguard.config.tree import Entry, Mapping, Node, Scalar, Sequence, insert

__all__ = ["redisTree"]

_TEXTS = {
    "REDIS_ADDRESS": "address",
    "REDIS_PASSWORD": "password",
    "REDIS_MODE": "mode",
    "REDIS_MASTER_NAME": "master_name",
}
_LISTS = {"REDIS_SENTINEL_ADDRS": "sentinel_addrs", "REDIS_CLUSTER_ADDRS": "cluster_addrs"}
_DEGRADED = "REDIS_DEGRADED_ON_UNAVAILABLE"
_URL = "REDIS_URL"


def redisTree(environ: AnyMapping[str, str], context: Context) -> Mapping:
    """
    Gather the variables that say where Redis is. Empty ones count as unset.

    C{REDIS_ADDRESS} and C{REDIS_PASSWORD} go before what C{REDIS_URL} says of
    them; C{REDIS_DEGRADED_ON_UNAVAILABLE} can only switch on.
    """
    root = Mapping(Place("configuration"))

    def put(*path: str, value: Node) -> None:
        nonlocal root
        root = insert(root, ("cache", "redis", *path), Entry(value.place, value))

    if url := environ.get(_URL, "").strip():
        place = Place(f"environment variable {_URL}")
        try:
            values = _readURL(url)
        except ValueError:
            # It may have a password in it.
            context.error(
                place, ("cache", "redis"), "expected redis://:password@host:port, or rediss://"
            )
            values = {}
        for path, text in values.items():
            put(*path.split("."), value=_literal(place, text, path))
    for variable, name in _TEXTS.items():
        if text := environ.get(variable, "").strip():
            place = Place(f"environment variable {variable}")
            put(name, value=_literal(place, text, name))
    for variable, name in _LISTS.items():
        if text := environ.get(variable, "").strip():
            place = Place(f"environment variable {variable}")
            parts = [part.strip() for part in text.split(",") if part.strip()]
            put(
                name,
                value=Sequence(place, tuple(Scalar(place, part, plain=False) for part in parts)),
            )
    if environ.get(_DEGRADED, "").strip().lower() in ("true", "1"):
        place = Place(f"environment variable {_DEGRADED}")
        put("degraded_on_unavailable", value=Scalar(place, "true", plain=True))
    return root


def _literal(place: Place, text: str, name: str) -> Scalar:
    """
    Make a value of a text that is to be taken as it is.
    """
    if name == "password":
        # References have no place in it: a dollar sign is one.
        text = text.replace("$", "$$")
    return Scalar(place, text, plain=False)


def _readURL(url: str) -> dict[str, str]:
    """
    Take a URL apart, into values by path.

    @raise ValueError: It is no Redis URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    values = {"address": f"{host}:{parts.port or 6379}"}
    if parts.username:
        values["username"] = unquote(parts.username)
    if parts.password:
        values["password"] = unquote(parts.password)
    if database := parts.path.strip("/"):
        values["db"] = database
    if parts.scheme == "rediss":
        values["tls.enabled"] = "true"
    return values
