# -*- test-case-name: tests.control.config.test_document -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Changing a YAML file as its owner would: what isn't changed stays as it is,
comments and order included.

ruamel.yaml keeps a comment with the value it follows, so that the words above
a section belong to the end of the one before. Here they are taken along when
that end is removed, or something is put behind it. What comes out is read
again, and has to say what was wanted and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from difflib import SequenceMatcher
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.tokens import CommentToken
from ruamel.yaml.util import load_yaml_guess_indent

from dnsguard.config.document import DocumentError, parseDocument
from dnsguard.config.tree import Mapping, Node, Sequence

__all__ = ["MAX_OCTETS", "EditError", "patched", "plain"]

MAX_OCTETS = 1 << 20
"""The largest file that is edited: reading it takes a second."""


class EditError(Exception):
    """
    A file can't be changed as wanted.
    """


def patched(text: str, patch: AnyMapping[str, Any]) -> str:
    """
    Change a file. Takes its time: for threads.

    @param text: What is in it; one that the configuration can be read from.
    @param patch: An RFC 7396 merge patch: maps are merged, null removes, and
        anything else replaces what is there.
    @return: What is to be in it.
    @raise EditError: It can't be done.
    """
    if len(text) > MAX_OCTETS:
        raise EditError("the file is too large to be changed here; change it by hand")
    try:
        wanted = _merged(plain(parseDocument(text.encode(), "file")), patch)
        result = _edited(text, patch)
        got = plain(parseDocument(result.encode(), "file"))
    except (YAMLError, DocumentError) as problem:
        first = str(problem).splitlines()[0]
        raise EditError(f"the file can't be changed: {first}") from None
    if _full(got) != _full(wanted):
        raise EditError("the file is written in a way that can't be changed here")
    return result


def plain(node: Node) -> Any:
    """
    Give what a tree says, without places: dicts, lists, texts, and L{None}.
    """
    if isinstance(node, Mapping):
        return {name: plain(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return None if node.missing else node.text


def _full(value: Any) -> Any:
    """
    Leave out sections that say nothing.
    """
    if not isinstance(value, dict):
        return value
    full = {name: _full(member) for name, member in value.items()}
    return {name: member for name, member in full.items() if member not in ({}, None)}


def _merged(base: Any, patch: Any) -> Any:
    """
    Merge a patch into what L{plain} gives.
    """
    if not isinstance(patch, AnyMapping):
        return _said(patch)
    result = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _said(value: Any) -> Any:
    """
    Give a value of JSON as L{plain} would.
    """
    if isinstance(value, list):
        return [_said(member) for member in value]
    if isinstance(value, AnyMapping):
        return {name: _said(member) for name, member in value.items()}
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _edited(text: str, patch: AnyMapping[str, Any]) -> str:
    _, indent, offset = load_yaml_guess_indent(text)
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    indent = indent or 2
    if offset is None:
        offset = 0 if text.strip() and indent == 2 and "\n- " in text else 2
    yaml.indent(mapping=_mapIndent(text), sequence=offset + 2, offset=offset)
    root = yaml.load(text)
    if root is None:
        # Nothing but comments: they stay in front.
        root = CommentedMap()
        head = text if not text or text.endswith("\n") else f"{text}\n"
    else:
        head = ""
    _merge(root, patch)
    if not root:
        return head
    out = StringIO()
    yaml.dump(root, out)
    return head + out.getvalue()


def _mapIndent(text: str) -> int:
    """
    Find how far the file indents: as its first map within a map does.
    """
    outer = None
    for line in text.splitlines():
        bare = line.lstrip(" ")
        depth = len(line) - len(bare)
        if not bare or bare.startswith("#"):
            continue
        if outer is not None and depth > outer and not bare.startswith("-"):
            return min(depth - outer, 8)
        opens = bare.split(" #")[0].rstrip().endswith(":") and not bare.startswith("-")
        outer = depth if opens else None
    return 2


def _merge(base: CommentedMap, patch: AnyMapping[str, Any]) -> str:
    """
    Merge a patch into a map.

    @return: What stood behind its last value, if nothing is left of it.
    """
    left = ""
    # Removing comes last, so that comments have something to stay behind.
    for name, value in sorted(patch.items(), key=lambda item: item[1] is None):
        old = base.get(name)
        if value is None:
            if name in base:
                left = _remove(base, name)
        elif isinstance(value, AnyMapping) and isinstance(old, CommentedMap):
            behind = _merge(old, value)
            if not old:
                # An empty section says nothing, and has no place for comments.
                left = _remove(base, name, behind)
        elif isinstance(value, list) and isinstance(old, CommentedSeq) and old and value:
            _replaceItems(old, value)
        else:
            _put(base, name, value)
    return left


def _put(base: CommentedMap, name: str, value: Any) -> None:
    """
    Set a key, new or not.
    """
    new = _node(value)
    if name in base:
        rest = _takeRest(base, name)
        base[name] = new
        tokens = base.ca.items.get(name)
        if tokens and len(tokens) > 3:
            # What stood before the first of what was there.
            tokens[3] = None
    else:
        last = _lastKey(base)
        rest = "" if last is None else _takeRest(base, last)
        base[name] = new
    _giveRest(base, name, rest)


def _remove(base: Any, name: Any, behind: str = "") -> str:
    """
    Remove a key or a member; what is said behind it, of what follows, stays.

    @param behind: More of what is said there.
    @return: The same, if nothing is left that it could stay behind.
    """
    rest = _takeRest(base, name) + behind
    keys = list(base) if isinstance(base, CommentedMap) else list(range(len(base)))
    at = keys.index(name)
    del base[name]
    if isinstance(base, CommentedMap):
        base.ca.items.pop(name, None)
    if not base:
        return rest
    if at > 0:
        _giveRest(base, keys[at - 1], rest)
    elif rest.strip():
        first = next(iter(base)) if isinstance(base, CommentedMap) else 0
        lines = [line.strip().removeprefix("#").removeprefix(" ") for line in rest.splitlines()]
        base.yaml_set_comment_before_after_key(
            first, before="\n".join(lines).strip("\n"), indent=base.lc.col or 0
        )
    return ""


def _replaceItems(old: CommentedSeq, new: list[Any]) -> None:
    """
    Make a list another one, leaving alone the members that stay.
    """
    before = [_shape(member) for member in old]
    after = [_shape(_node(member)) for member in new]
    edits = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    tail = _takeRest(old, len(old) - 1) if old else ""
    for kind, start, end, first, last in reversed(edits):
        if kind in ("delete", "replace"):
            for place in reversed(range(start, end)):
                _remove(old, place)
        if kind in ("insert", "replace"):
            for number, member in enumerate(new[first:last]):
                old.insert(start + number, _node(member))
    if old:
        _giveRest(old, len(old) - 1, tail)


def _shape(value: Any) -> str:
    """
    Something equal for equal values.
    """
    if isinstance(value, AnyMapping):
        return repr(sorted((str(name), _shape(member)) for name, member in value.items()))
    if isinstance(value, list):
        return repr([_shape(member) for member in value])
    return repr(_said(value))


def _node(value: Any) -> Any:
    """
    Give a value of JSON as ruamel.yaml keeps it.
    """
    if isinstance(value, AnyMapping):
        return CommentedMap((name, _node(member)) for name, member in value.items())
    if isinstance(value, list):
        return CommentedSeq(_node(member) for member in value)
    return value


# Comments behind values.


def _lastKey(base: Any) -> Any:
    if isinstance(base, CommentedMap):
        return next(reversed(base), None)
    return len(base) - 1 if base else None


def _end(base: Any, name: Any) -> tuple[Any, Any]:
    """
    Find the last value inside a value: comments behind it are kept there.
    """
    value = base[name]
    while isinstance(value, CommentedMap | CommentedSeq) and value and not value.fa.flow_style():
        base, name = value, _lastKey(value)
        value = base[name]
    return base, name


def _slot(base: Any) -> int:
    return 2 if isinstance(base, CommentedMap) else 0


def _takeRest(base: Any, name: Any) -> str:
    """
    Take off the lines that stand behind a value, but for what is on its own
    line.
    """
    base, name = _end(base, name)
    tokens = base.ca.items.get(name)
    token = tokens[_slot(base)] if tokens and len(tokens) > _slot(base) else None
    if token is None:
        return ""
    own, newline, rest = token.value.partition("\n")
    if not rest:
        return ""
    if own.strip():
        token.value = own + newline
    else:
        tokens[_slot(base)] = None
    return str(rest)


def _giveRest(base: Any, name: Any, rest: str) -> None:
    """
    Put lines behind a value.
    """
    if not rest:
        return
    base, name = _end(base, name)
    slot = _slot(base)
    tokens = base.ca.items.setdefault(name, [None, None, None, None])
    while len(tokens) <= slot:
        tokens.append(None)
    if tokens[slot] is None:
        tokens[slot] = CommentToken(f"\n{rest}", CommentMark(0), None)
    else:
        tokens[slot].value = tokens[slot].value.rstrip("\n") + f"\n{rest}"
