# -*- test-case-name: tests.control.test_schema -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What goes in and out, as JSON Schema: said once, checked and published.

The few words of JSON Schema 2020-12 that the API needs, checked here with
messages that name the place; what OpenAPI shows is the very same dict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "ANYTHING",
    "DONE",
    "Invalid",
    "Schema",
    "check",
    "decimal",
    "fromText",
    "integer",
    "listOf",
    "mapOf",
    "nullable",
    "record",
    "text",
    "truth",
    "word",
]

Schema = Mapping[str, Any]

ANYTHING: Schema = {}

_MOST_TEXT = 4096
_MOST_ITEMS = 10_000
# JSON can say halves of characters, which UTF-8 can't.
_ODD = re.compile("[\0\ud800-\udfff]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)

_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}

_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}


class Invalid(Exception):
    """
    A value isn't what its schema says.

    @ivar place: Where: C{targets[2].url}; empty for the whole.
    @ivar reason: What is wrong.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


def _bounds(least: float | None, most: float | None) -> dict[str, Any]:
    bounds = {"minimum": least, "maximum": most}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _described(schema: dict[str, Any], meaning: str, more: Mapping[str, Any]) -> Schema:
    if meaning:
        schema["description"] = meaning
    schema.update(more)
    return schema


def text(meaning: str = "", *, least: int = 0, most: int = _MOST_TEXT, **more: Any) -> Schema:
    """
    Text.

    @param more: C{default=}, for query parameters.
    """
    return _described({"type": "string", "minLength": least, "maxLength": most}, meaning, more)


def word(words: Sequence[str], meaning: str = "", **more: Any) -> Schema:
    """
    One of a few words.
    """
    return _described({"type": "string", "enum": list(words)}, meaning, more)


def integer(
    least: int | None = None, most: int | None = None, meaning: str = "", **more: Any
) -> Schema:
    """
    A whole number.
    """
    return _described({"type": "integer", **_bounds(least, most)}, meaning, more)


def decimal(
    least: float | None = None, most: float | None = None, meaning: str = "", **more: Any
) -> Schema:
    """
    A number.
    """
    return _described({"type": "number", **_bounds(least, most)}, meaning, more)


def truth(meaning: str = "", **more: Any) -> Schema:
    """
    True or false.
    """
    return _described({"type": "boolean"}, meaning, more)


def listOf(member: Schema, meaning: str = "", *, most: int = _MOST_ITEMS) -> Schema:
    """
    A list of things of one kind.
    """
    return _described({"type": "array", "items": member, "maxItems": most}, meaning, {})


def mapOf(member: Schema, meaning: str = "") -> Schema:
    """
    An object with any names, and values of one kind.
    """
    return _described({"type": "object", "additionalProperties": member}, meaning, {})


def record(
    fields: Mapping[str, Schema],
    meaning: str = "",
    *,
    optional: Sequence[str] = (),
    open: bool = False,
) -> Schema:
    """
    An object with these fields.

    @param optional: Those that needn't be there.
    @param open: May others be there, too?
    """
    required = [name for name in fields if name not in optional]
    schema: dict[str, Any] = {"type": "object", "properties": dict(fields)}
    if required:
        schema["required"] = required
    if not open:
        schema["additionalProperties"] = False
    return _described(schema, meaning, {})


def nullable(schema: Schema) -> Schema:
    """
    The same, or null.
    """
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*kinds, "null"]}


DONE: Schema = record({"ok": truth(), "warning": text()}, optional=("warning",))
"""What is answered where there is nothing to say but that it is done."""


def check(schema: Schema, value: Any, place: str = "") -> None:
    """
    Check a value that came as JSON.

    @param place: What to call it.
    @raise Invalid: What is wrong first, and where.
    """
    kinds = schema.get("type")
    if kinds is None:
        return
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if not any(_is(kind, value) for kind in kinds):
        raise Invalid(place, f"expected {' or '.join(_WORDS[kind] for kind in kinds)}")
    if "enum" in schema and value is not None and value not in schema["enum"]:
        raise Invalid(place, f"expected one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, str):
        _checkSize(schema, value, place, "Length", "characters")
    elif isinstance(value, dict):
        _checkFields(schema, value, place)
    elif isinstance(value, list):
        _checkSize(schema, value, place, "Items", "of them")
        for number, member in enumerate(value):
            check(schema["items"], member, f"{place}[{number}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _checkBounds(schema, value, place)


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def _checkSize(schema: Schema, value: Any, place: str, word: str, what: str) -> None:
    least, most = schema.get(f"min{word}", 0), schema.get(f"max{word}")
    if len(value) < least:
        raise Invalid(place, f"at least {least} {what}")
    if most is not None and len(value) > most:
        raise Invalid(place, f"at most {most} {what}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise Invalid(place, "odd characters stand in it")
    if isinstance(value, str) and _ODD.search(value):
        raise Invalid(place, "a character stands in it that can't be written down")


def _checkBounds(schema: Schema, value: float, place: str) -> None:
    # Written so that NaN, which compares to nothing, is refused, too.
    if "minimum" in schema and not value >= schema["minimum"]:
        raise Invalid(place, f"at least {schema['minimum']}")
    if "maximum" in schema and not value <= schema["maximum"]:
        raise Invalid(place, f"at most {schema['maximum']}")


def _checkFields(schema: Schema, value: dict[str, Any], place: str) -> None:
    fields = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            raise Invalid(_below(place, name), "is needed")
    for name, member in value.items():
        if name in fields:
            check(fields[name], member, _below(place, name))
        elif others is False:
            raise Invalid(_below(place, name[:60]), "no such field")
        elif isinstance(others, Mapping):
            check(others, member, _below(place, name[:60]))


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def fromText(schema: Schema, value: str, place: str) -> Any:
    """
    Read a query parameter.

    @raise Invalid: It isn't what the schema says.
    """
    kind = schema.get("type", "string")
    read: Any = value
    if kind == "integer":
        if not _INTEGER.fullmatch(value):
            raise Invalid(place, "expected a whole number")
        read = int(value)
    elif kind == "number":
        if not _DECIMAL.fullmatch(value):
            raise Invalid(place, "expected a number")
        read = float(value)
    elif kind == "boolean":
        if value.lower() not in {"true", "false", "1", "0"}:
            raise Invalid(place, "expected true or false")
        read = value.lower() in {"true", "1"}
    check(schema, read, place)
    return read
