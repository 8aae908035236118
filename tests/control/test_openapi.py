# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.openapi}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly.apipage import apiDocument

WORDS = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "maxItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "enum",
    "default",
    "description",
    "pattern",
}
"""Words of JSON Schema 2020-12 that are in use."""


class DocumentTests(SynchronousTestCase):
    """
    Tests for the document.
    """

    def setUp(self) -> None:
        self.document = apiDocument()

    def operations(self) -> Iterator[tuple[str, str, Any]]:
        """
        Each operation with its path and method.
        """
        for path, operations in self.document["paths"].items():
            for method, operation in operations.items():
                yield path, method, operation

    def schemas(self, value: Any, inSchema: bool = False) -> Iterator[Any]:
        """
        Each schema in the document.
        """
        if isinstance(value, list):
            for member in value:
                yield from self.schemas(member)
        if not isinstance(value, dict):
            return
        if inSchema:
            yield value
            for field in value.get("properties", {}).values():
                yield from self.schemas(field, True)
            for name in ("items", "additionalProperties"):
                yield from self.schemas(value.get(name), True)
            return
        for name, member in value.items():
            yield from self.schemas(member, name == "schema")

    def test_version(self) -> None:
        """
        It is OpenAPI 3.1, and JSON.
        """
        self.assertEqual(self.document["openapi"], "3.1.0")
        self.assertEqual(json.loads(json.dumps(self.document)), self.document)

    def test_namesAreUnique(self) -> None:
        """
        Each operation has a name of its own, and tells which family it is of.
        """
        names = [operation["operationId"] for _, _, operation in self.operations()]
        self.assertEqual(len(set(names)), len(names))
        tags = {tag["name"] for tag in self.document["tags"]}
        for _, _, operation in self.operations():
            self.assertLessEqual(set(operation["tags"]), tags)

    def test_parametersAreDeclared(self) -> None:
        """
        What stands in a path is declared, as needed.
        """
        for path, _, operation in self.operations():
            declared = {
                parameter["name"]
                for parameter in operation.get("parameters", ())
                if parameter["in"] == "path" and parameter["required"]
            }
            self.assertEqual(declared, set(re.findall(r"\{(\w+)\}", path)))

    def test_schemas(self) -> None:
        """
        Schemas are made of words of JSON Schema that have the right values.
        """
        found = [schema for schema in self.schemas(self.document) if "$ref" not in schema]
        self.assertGreater(len(found), 200)
        for schema in found:
            self.assertLessEqual(set(schema), WORDS)
            self.assertLessEqual(
                set(schema.get("required", ())), set(schema.get("properties", ()))
            )

    def test_errorsAreShown(self) -> None:
        """
        Each status that isn't 200 says what it means; errors have a shape.
        """
        for _, _, operation in self.operations():
            for status, response in operation["responses"].items():
                self.assertTrue(response["description"])
                if int(status) >= 400:
                    self.assertIn("application/json", response["content"])

    def test_closed(self) -> None:
        """
        Whatever isn't for everybody says that it wants a token.
        """
        for _, _, operation in self.operations():
            self.assertEqual("security" in operation, operation["x-role"] != "nobody")
