# -*- test-case-name: tests.control.test_openapi -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The OpenAPI document, made of the routes' declarations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dnsguard.control.route import Family, Role, Route
from dnsguard.control.schema import record, text

__all__ = ["COMMON", "openAPI"]

ERROR = {**record({"error": text("What is wrong, in words.")}, open=True)}

COMMON = {
    400: "Something in the request isn't as it has to be; ``field`` says what.",
    401: "A token is needed, or the one shown is wrong or has expired.",
    403: "The token's role isn't enough.",
    404: "Nothing can be called so.",
    413: "The body is too large.",
    414: "The path, with what stands behind the question mark, is too long.",
    415: "The body isn't JSON.",
    429: "Too often; ``Retry-After`` says when to come back.",
}
"""What may be answered wherever it can be."""


def openAPI(families: Iterable[tuple[Family, Iterable[Route]]], version: str) -> dict[str, Any]:
    """
    Make the document.

    @param families: Families, and the routes that each declares.
    @param version: dnsguard's.
    """
    paths: dict[str, dict[str, Any]] = {}
    tags = []
    for family, routes in families:
        tags.append({"name": family.name, "description": family.meaning})
        for route in routes:
            operations = paths.setdefault(route.canonical, {})
            operations[route.method.lower()] = _operation(route, family.name)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dnsguard control API",
            "version": version,
            "description": "Watch and change a running dnsguard.",
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            },
        },
    }


def _operation(route: Route, tag: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{route.path}".replace("/", "_")
        .replace("{", "")
        .replace("}", ""),
        "summary": route.summary,
        "tags": [tag],
        "x-role": route.role.word,
        "responses": _responses(route),
    }
    if route.aliases:
        operation["x-aliases"] = list(route.aliases)
    if route.period:
        operation["x-rate-limit-seconds"] = route.period
    if route.role is not Role.NOBODY:
        operation["security"] = [{"bearer": []}, {"header": []}]
    parameters = [_inPath(name) for name in route.parameters]
    parameters += [
        {"name": name, "in": "query", "required": name in route.needed, "schema": dict(schema)}
        for name, schema in route.query.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.bodyNeeded,
            "x-most-octets": route.bodyMost,
            "content": {"application/json": {"schema": dict(route.body)}},
        }
    return operation


def _inPath(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _responses(route: Route) -> dict[str, Any]:
    kinds = (route.contentType, *route.otherTypes)
    content = {kind: {"schema": dict(route.response)} for kind in kinds}
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    reasons = {status: reason for status, reason in COMMON.items() if _applies(route, status)}
    for status, reason in sorted({**reasons, **route.errors}.items()):
        responses[str(status)] = {"description": reason}
        if status >= 400 and "same answer" not in reason:
            schema = {"schema": {"$ref": "#/components/schemas/Error"}}
            responses[str(status)]["content"] = {"application/json": schema}
        elif status >= 400:
            responses[str(status)]["content"] = content
    return responses


def _applies(route: Route, status: int) -> bool:
    """
    Can a route answer so?
    """
    if status in (401, 403):
        return route.role is not Role.NOBODY
    if status in (413, 415):
        return route.body is not None
    if status == 429:
        return bool(route.period) or route.role is not Role.NOBODY
    if status == 404:
        return bool(route.parameters)
    if status == 414:
        return bool(route.query or route.parameters)
    return bool(route.body is not None or route.query or route.parameters)
