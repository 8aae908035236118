# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The API described by itself: its OpenAPI document, and a page to read it with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dnsguard.control.route import Call, Reply, Role, Route
from dnsguard.control.schema import ANYTHING

__all__ = ["DescriptionFamily"]

_FOLDER = Path(__file__).with_name("static")

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_FILES = {
    "/docs": ("viewer.html", "text/html; charset=utf-8", "A page to read this with."),
    "/docs/viewer.js": ("viewer.js", "text/javascript; charset=utf-8", "Its script."),
    "/docs/viewer.css": ("viewer.css", "text/css; charset=utf-8", "Its style."),
}


class DescriptionFamily:
    """
    The API described.
    """

    name = "Description"
    meaning = "This API, described by itself. It needs no token: it says nothing of this server."

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        """
        @param document: Gives the OpenAPI document.
        """
        self._document = document
        self._octets = b""

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/openapi.json",
            self.give,
            Role.NOBODY,
            "Give this document.",
            response=ANYTHING,
        )
        for path, (name, contentType, summary) in _FILES.items():
            # Read when they are declared: the server may be shut in later on.
            octets = _FOLDER.joinpath(name).read_bytes()
            yield Route(
                "GET",
                path,
                _sends(octets, contentType),
                Role.NOBODY,
                summary,
                response={"type": "string"},
                contentType=contentType.partition(";")[0],
            )

    def give(self, call: Call) -> Reply:
        """
        See the route. It is large and always the same: it is written once.
        """
        if not self._octets:
            self._octets = json.dumps(self._document(), separators=(",", ":")).encode()
        return Reply(self._octets)


def _sends(octets: bytes, contentType: str) -> Callable[[Call], Reply]:
    return lambda call: Reply(
        octets, contentType=contentType, headers={"Content-Security-Policy": _PAGE_POLICY}
    )
