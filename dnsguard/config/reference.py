# -*- test-case-name: tests.config.test_reference -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The reference page C{docs/configuration.rst}, written from the declarations.

Run C{python -m dnsguard.config.reference docs/configuration.rst} after a key
was changed; a test fails until it's done.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.document import parseDocument
from dnsguard.config.keys import Key, keysOf
from dnsguard.config.load import PACKAGED_DEFAULTS
from dnsguard.config.model import Config
from dnsguard.config.pending import pendingKeys
from dnsguard.config.tree import Mapping, Node, find

__all__ = ["reference"]

_PREAMBLE = Path(__file__).with_name("reference.txt")


def reference() -> str:
    """
    Write the page.
    """
    defaults = parseDocument(PACKAGED_DEFAULTS.read_bytes(), "default.yaml")
    parts = [_PREAMBLE.read_text("utf-8").rstrip(), "", _heading("Keys", "-")]
    plain = [key for key in keysOf(Config).values() if _section(key) is None]
    for key in plain:
        parts.append(_entry(key, (key.name,), defaults))
    for key in keysOf(Config).values():
        section = _section(key)
        if section is not None:
            parts += _sectionParts(section, key, (key.name,), _suffix(key), defaults)
    parts += ["", _heading("Keys that are known but ignored", "-"), _PENDING, ""]
    parts += [f"- ``{name}``: {reason}" for name, reason in pendingKeys()]
    return "\n".join(parts) + "\n"


_PENDING = """Files written for other versions may set these. Each is named in a warning."""


def _sectionParts(
    section: type, owner: Key, path: tuple[str, ...], suffix: str, defaults: Node
) -> Iterator[str]:
    """
    A section with its keys, then the sections in it.
    """
    name = ".".join(path) + suffix
    yield ""
    yield _heading(f"``{name}``", "~")
    yield inspect.cleandoc(section.__doc__ or "")
    yield ""
    if suffix:
        yield f"A list of maps. {owner.meaning} {_default(owner)}"
        yield ""
    keys = keysOf(section).values()
    for key in keys:
        if _section(key) is None or _isUpstreams(key):
            yield _entry(key, (*path[:-1], path[-1] + suffix, key.name), defaults)
    for key in keys:
        inner = _section(key)
        if inner is not None and not _isUpstreams(key):
            yield from _sectionParts(
                inner, key, (*path[:-1], path[-1] + suffix, key.name), _suffix(key), defaults
            )


def _isUpstreams(key: Key) -> bool:
    """
    Is it a list of upstreams within another section? Those are described once.
    """
    section = _section(key)
    return section is not None and _shorthand(key) == "address" and bool(_suffix(key))


def _shorthand(key: Key) -> str:
    kind: Any = key.kind
    while hasattr(kind, "member"):
        kind = kind.member
    return getattr(kind, "shorthand", "")


def _section(key: Key) -> type | None:
    """
    The class of a key that is a section or a list of them.
    """
    kind: Any = key.kind
    while hasattr(kind, "member"):
        kind = kind.member
    return kind.section if isinstance(kind, Section) else None


def _suffix(key: Key) -> str:
    """
    C{[]} for each list around the section.
    """
    kind: Any = key.kind
    brackets = ""
    while hasattr(kind, "member"):
        kind, brackets = kind.member, brackets + "[]"
    return brackets


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _entry(key: Key, path: tuple[str, ...], defaults: Node) -> str:
    """
    One key: its path, what it does, what it expects, what holds without it.
    """
    lines = [f"``{'.'.join(path)}``", f"    {key.meaning}", ""]
    expected = key.kind.expected.replace("*", "\\*")
    lines.append(f"    Expects {expected}.")
    lines.append(f"    {_default(key)}")
    shipped = find(defaults, path)
    if shipped is not None and not isinstance(shipped.value, Mapping):
        value = getattr(shipped.value, "text", "a list of its own")
        lines.append(f"    The packaged defaults set ``{value}``.")
    for alias in key.aliases:
        lines.append(f"    Also: ``{alias}``.")
    for alias in key.deprecated:
        lines.append(f"    Deprecated: ``{alias}``.")
    return "\n".join([*lines, ""])


def _default(key: Key) -> str:
    """
    What holds without a key.
    """
    if key.needed:
        return "Must be set."
    if key.unset:
        return f"Default: {key.unset}."
    default = key.default
    assert not isinstance(default, attrs.Factory)  # type: ignore[arg-type]
    if default == ():
        return "Default: none."
    return f"Default: ``{key.kind.show(default)}``."


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), "utf-8")
