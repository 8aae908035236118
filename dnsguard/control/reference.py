# -*- test-case-name: tests.control.test_reference -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The page of the control API, written from its OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from dnsguard.control.openapi import COMMON

__all__ = ["reference"]

_PREAMBLE = Path(__file__).with_name("reference.txt")
_WIDTH = 88
_DEEPEST = 10


def reference(document: Mapping[str, Any]) -> str:
    """
    Write the page.

    @param document: As L{dnsguard.control.openapi.openAPI} makes it.
    """
    parts = [_PREAMBLE.read_text("utf-8").rstrip(), "", _heading("Endpoints", "-")]
    for tag in document["tags"]:
        parts += [_heading(tag["name"], "~"), fill(tag["description"], _WIDTH), ""]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    parts += _operation(method, path, operation)
    return "\n".join(parts).rstrip() + "\n"


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"``{method.upper()} {path}``"
    facts = [f"Role: {operation['x-role']}."]
    if "x-aliases" in operation:
        facts.append(f"Also: {', '.join(f'``{alias}``' for alias in operation['x-aliases'])}.")
    if "x-rate-limit-seconds" in operation:
        facts.append(f"Once in {operation['x-rate-limit-seconds']:g} seconds.")
    yield _indented(operation["summary"])
    yield ""
    yield _indented(" ".join(facts))
    yield ""
    parameters = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
    if parameters:
        yield _indented("Parameters:")
        yield ""
        for each in parameters:
            schema = each["schema"]
            words = _kind(schema) + ("; needed" if each["required"] else "")
            if "default" in schema:
                words += f"; {_text(schema['default'])} by default"
            yield from _item(each["name"], words, schema)
        yield ""
    if "requestBody" in operation:
        needed = "" if operation["requestBody"]["required"] else ", which may be left out"
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        most = operation["requestBody"]["x-most-octets"] >> 10
        yield from _shape(f"Body of at most {most} KiB{needed}", schema)
    for kind, content in operation["responses"]["200"]["content"].items():
        if kind == "application/json":
            yield from _shape("Answer", content["schema"])
        else:
            yield _indented(f"Answer: ``{kind}``.")
            yield ""
    yield from _errors(operation["responses"])


def _errors(responses: Mapping[str, Any]) -> Iterator[str]:
    told = {
        status: response["description"]
        for status, response in responses.items()
        # What holds for all is said once, above.
        if status != "200" and response["description"] not in COMMON.values()
    }
    for status, reason in told.items():
        yield _indented(f"{status}: {reason}")
        yield ""


def _shape(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """
    Say what an object has in it.
    """
    fields = schema.get("properties", {})
    meaning = schema.get("description", "")
    words = f"{title}: {meaning or _kind(schema)}" if not fields else f"{title}: {meaning}"
    yield _indented(words.rstrip(" :") + (":" if fields else "" if meaning else "."))
    yield ""
    for name, field in fields.items():
        yield from _field(name, field, name in schema.get("required", ()), 4)
    if fields:
        yield ""


def _field(name: str, schema: Mapping[str, Any], needed: bool, depth: int) -> Iterator[str]:
    words = _kind(schema) + ("" if needed else "; may be missing")
    yield from _item(name, words, schema, depth)
    inner = schema.get("items", schema)
    fields = inner.get("properties", {})
    if fields and depth < _DEEPEST:
        yield ""
        for key, field in fields.items():
            yield from _field(key, field, key in inner.get("required", ()), depth + 2)
        yield ""


def _item(name: str, words: str, schema: Mapping[str, Any], depth: int = 4) -> Iterator[str]:
    meaning = schema.get("description", "")
    text = f"- ``{name}``: {words}." + (f" {meaning}" if meaning else "")
    yield fill(
        text,
        _WIDTH,
        initial_indent=" " * depth,
        subsequent_indent=" " * (depth + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _indented(text: str) -> str:
    return fill(
        text,
        _WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _kind(schema: Mapping[str, Any]) -> str:
    """
    Say what sort of value it is.
    """
    kinds: Any = schema.get("type", "anything")
    names: list[str] = kinds if isinstance(kinds, list) else [kinds]
    if "enum" in schema:
        told = ", ".join(f"``{value}``" for value in schema["enum"])
        return f"one of {told}" + (" or null" if "null" in names else "")
    words = " or ".join(_WORDS.get(name, name) for name in names)
    if "array" in names:
        words += f", each {_kind(schema['items'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words += f" from {low:g} to {high:g}" if high < 1e6 else f", {low:g} or more"
    return words


_WORDS = {
    "object": "object",
    "array": "list",
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
}


def _text(value: Any) -> str:
    return "``false``" if value is False else f"``{value}``" if value != "" else "empty"
