# -*- test-case-name: tests.control.config.test_editor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The configuration as JSON, without its secrets.

What is secret is said where a key is declared. Keys that no declaration knows
might be anything, so they aren't shown either.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Any

from dnsguard.config.convert import Section
from dnsguard.config.keys import keysOf
from dnsguard.config.kinds import Flag
from dnsguard.config.model import Config
from dnsguard.config.quantities import Integer
from dnsguard.config.tree import Mapping, Node, Scalar, Sequence

__all__ = ["HIDDEN", "asWritten", "changes", "effective"]

HIDDEN = "***"
"""Stands for a secret."""

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_ARGUMENTS = re.compile(r"(?<=[?#])(?!\*\*\*$).+")

_CONFIG = Section(Config)


def effective(config: Config, root: Node) -> dict[str, Any]:
    """
    Give all that is in force, defaults included, with keys as in YAML.

    @param root: The tree that the configuration was made of.
    """
    shown: dict[str, Any] = _value(_CONFIG, config, root)
    return shown


def _value(kind: Any, value: Any, node: Node | None) -> Any:
    if value is None:
        return None
    if isinstance(kind, Section):
        entries = node.entries if isinstance(node, Mapping) else {}
        return {
            key.name: _value(
                key.kind,
                getattr(value, key.attribute),
                entries[key.name].value if key.name in entries else None,
            )
            for key in keysOf(kind.section).values()
        }
    if hasattr(kind, "member"):
        nodes: tuple[Node | None, ...] = node.items if isinstance(node, Sequence) else ()
        if len(nodes) != len(value):
            nodes = (None,) * len(value)
        return [
            _value(kind.member, member, each) for member, each in zip(value, nodes, strict=True)
        ]
    if kind.secret:
        return HIDDEN if value else ""
    if getattr(kind, "references", False):
        # What a reference stands for may be secret; the reference isn't.
        return _address(node.text if isinstance(node, Scalar) else str(value))
    if isinstance(kind, Flag | Integer):
        return value
    return str(value.value) if isinstance(value, enum.Enum) else kind.show(value).strip('"')


def asWritten(node: Node) -> Any:
    """
    Give what one file says.
    """
    return _written(_CONFIG, node)


def _written(kind: Any, node: Node) -> Any:
    if isinstance(node, Mapping):
        keys = keysOf(kind.section) if isinstance(kind, Section) else {}
        return {
            name: _written(keys[name].kind, entry.value) if name in keys else HIDDEN
            for name, entry in node.entries.items()
        }
    if isinstance(node, Sequence):
        member = getattr(kind, "member", kind)
        return [_written(member, item) for item in node.items]
    if node.missing:
        return None
    while hasattr(kind, "member"):
        kind = kind.member
    if getattr(kind, "secret", False) and "${" not in node.text:
        return HIDDEN if node.text else ""
    return _address(node.text)


def _address(text: str) -> str:
    """
    Take user, password and arguments out of what may be a URL.
    """
    if "://" not in text or "${" in text:
        return text
    return _ARGUMENTS.sub(HIDDEN, _CREDENTIALS.sub(f"{HIDDEN}@", text))


def changes(before: Node, after: Node) -> list[dict[str, Any]]:
    """
    Say what differs between two files: paths, and what is there, without
    secrets. A secret that has changed is told as such.
    """
    old, new = dict(_leaves(before, _CONFIG)), dict(_leaves(after, _CONFIG))
    return [
        {
            "path": path,
            "before": old[path][1] if path in old else None,
            "after": new[path][1] if path in new else None,
        }
        for path in {**old, **new}
        if old.get(path, (None,))[0] != new.get(path, (None,))[0]
    ]


def _leaves(node: Node, kind: Any, path: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """
    Give each value with its path: as it is, to compare, and as it is shown.
    """
    if isinstance(node, Mapping) and node.entries:
        keys = keysOf(kind.section) if isinstance(kind, Section) else {}
        for name, entry in node.entries.items():
            inner = keys[name].kind if name in keys else None
            yield from _leaves(entry.value, inner, f"{path}.{name}" if path else name)
    elif isinstance(node, Sequence) and node.items:
        for number, item in enumerate(node.items):
            yield from _leaves(item, getattr(kind, "member", None), f"{path}[{number}]")
    else:
        text = (
            node.text if isinstance(node, Scalar) else "{}" if isinstance(node, Mapping) else "[]"
        )
        yield path, (text, HIDDEN if kind is None else _written(kind, node))
