# -*- test-case-name: tests.config.test_migrate -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Older spellings of a file into today's, before it is laid over another one.

The file itself isn't rewritten: whoever wrote it reads in a warning what to
change. Renames stand with the keys they lead to; what takes more than moving
a value is a function here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dnsguard.config.convert import allPaths
from dnsguard.config.kinds import Context
from dnsguard.config.model import Config
from dnsguard.config.problem import pathText
from dnsguard.config.quantities import Integer
from dnsguard.config.tree import Entry, Mapping, Scalar, Sequence, find, insert, remove

__all__ = ["CONFIG_VERSION", "migrate"]

CONFIG_VERSION = 2
"""
The C{config_version} that files are read as. Versions 1 and 2 differ in keys
of C{cache.refresh} only, and what they'd add are defaults here.
"""


def migrate(root: Mapping, context: Context) -> Mapping:
    """
    Bring one file into today's form.

    @param context: Is told of each older spelling.
    """
    root = _version(root, context)
    root = _clientMap(root, context)
    root = _queryStore(root, context)
    for old, new, deprecated in _renames():
        root = _rename(root, old, new, deprecated, context)
    return root


def _renames() -> Iterator[tuple[tuple[str, ...], tuple[str, ...], bool]]:
    """
    Each other path a key has or had, the path it has, and whether to say so.
    """
    for path, key in allPaths(Config):
        new = tuple(path.split("."))
        for olds, deprecated in ((key.aliases, False), (key.deprecated, True)):
            for old in olds:
                yield tuple(old.split(".")), new, deprecated


def _rename(
    root: Mapping,
    old: tuple[str, ...],
    new: tuple[str, ...],
    deprecated: bool,
    context: Context,
) -> Mapping:
    """
    Move the value of one key.
    """
    entry = find(root, old)
    if entry is None:
        return root
    root = remove(root, old)
    if _given(root, new):
        context.warn(entry.place, old, f"ignored, as {pathText(new)} is set as well")
        return root
    if deprecated:
        context.warn(entry.place, old, f"deprecated; use {pathText(new)}")
    try:
        return insert(root, new, entry)
    except ValueError:
        return root  # Something on the way isn't a map, which is reported by itself.


def _given(root: Mapping, path: Iterable[str]) -> bool:
    """
    Does the file say something at a path?
    """
    entry = find(root, tuple(path))
    return entry is not None and not (isinstance(entry.value, Scalar) and entry.value.missing)


def _version(root: Mapping, context: Context) -> Mapping:
    """
    Take C{config_version} out; refuse files from the future.
    """
    path = ("config_version",)
    entry = find(root, path)
    if entry is None:
        return root
    version = Integer(1).convert(entry.value, path, context)
    if isinstance(version, int) and version > CONFIG_VERSION:
        context.error(
            entry.value.place,
            path,
            f"made for a later dnsguard: {version}, where this one knows {CONFIG_VERSION}",
        )
    return remove(root, path)


def _clientMap(root: Mapping, context: Context) -> Mapping:
    """
    C{client_identification.clients} was a map of addresses to names.
    """
    path = ("client_identification", "clients")
    entry = find(root, path)
    if entry is None or not isinstance(entry.value, Mapping):
        return root
    context.warn(entry.place, path, "deprecated; use a list of maps with ip, name and group_id")
    clients = tuple(
        Mapping(
            client.place,
            {
                "ip": Entry(client.place, Scalar(client.place, ip, plain=False)),
                "name": client,
            },
        )
        for ip, client in entry.value.entries.items()
    )
    return insert(root, path, Entry(entry.place, Sequence(entry.value.place, clients)))


def _queryStore(root: Mapping, context: Context) -> Mapping:
    """
    C{query_store} had one interval for two, and counted days.
    """
    interval = ("query_store", "flush_interval")
    entry = find(root, interval)
    if entry is not None:
        root = remove(root, interval)
        context.warn(
            entry.place,
            interval,
            "deprecated; use flush_to_store_interval and flush_to_disk_interval",
        )
        for name in ("flush_to_store_interval", "flush_to_disk_interval"):
            if not _given(root, ("query_store", name)):
                root = insert(root, ("query_store", name), entry)
    days = ("query_store", "retention_days")
    entry = find(root, days)
    if entry is None:
        return root
    root = remove(root, days)
    context.warn(entry.place, days, "deprecated; use retention_hours")
    number = Integer(0, 7300, "days").convert(entry.value, days, context)
    hours = ("query_store", "retention_hours")
    if not isinstance(number, int) or _given(root, hours):
        return root
    value = Scalar(entry.value.place, str(number * 24))
    return insert(root, hours, Entry(entry.place, value))
