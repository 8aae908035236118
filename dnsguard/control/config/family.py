# -*- test-case-name: tests.control.config.test_editor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The configuration's endpoints: read, check, change, compare, go back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from dnsguard.config.document import parseDocument
from dnsguard.config.load import Loaded, load
from dnsguard.control.config.editor import Change, ConfigEditor, Edit, Origin, etagOf
from dnsguard.control.config.view import asWritten, changes, effective
from dnsguard.control.naming import moment
from dnsguard.control.route import LARGE_BODY, Call, Refused, Reply, Role, Route
from dnsguard.control.schema import ANYTHING, integer, listOf, nullable, record, text, truth
from dnsguard.errors import ConfigError

__all__ = ["ConfigFamily", "changed"]

_PATCH = {"type": "object", "description": "An RFC 7396 merge patch, with keys as in YAML."}

_WANTED = record(
    {"patch": _PATCH, "text": text("Or the text of the whole file.", most=LARGE_BODY)},
    optional=("patch", "text"),
)

_DIFFERENCES = listOf(
    record({"path": text(), "before": ANYTHING, "after": ANYTHING}),
    "What differs, without secrets.",
)

_CHANGE = record(
    {
        "ok": truth(),
        "changed": _DIFFERENCES,
        "warnings": listOf(text()),
        "version": integer(meaning="The version before, to go back to; 0: nothing was changed."),
        "etag": text(),
    }
)

_ERRORS = {
    409: "There is no file to change, or the change can't be put into force; nothing changed.",
    412: "The file isn't the one that ``If-Match`` names.",
    422: "The change can't be used; ``problems`` says why. Nothing changed.",
}

_ID = integer(1, 1 << 53, "The id of a version.")


class ConfigFamily:
    """
    Read and change the configuration.
    """

    name = "Configuration"
    meaning = (
        "Read, check, change, compare, go back. What is changed is the operator's own file: what"
        " isn't changed in it stays as it is, comments and order included. No secret is shown."
    )

    def __init__(
        self,
        editor: ConfigEditor,
        origin: Callable[[], Origin],
        inThread: Callable[..., Any],
    ) -> None:
        """
        @param origin: Says where the configuration comes from.
        @param inThread: Calls a function in a thread.
        """
        self._editor = editor
        self._origin = origin
        self._inThread = inThread

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/config",
            self.read,
            Role.VIEWER,
            "Show all that holds, defaults included. The answer's ETag is that of the file.",
            response=record({"config": ANYTHING, "file": ANYTHING, "etag": text()}),
            errors={304: "``If-None-Match`` names what is there."},
        )
        yield Route(
            "POST",
            "/config/validate",
            self.validate,
            Role.OPERATOR,
            "Say what a change would come to, and don't make it.",
            body=_WANTED,
            bodyMost=LARGE_BODY,
            response=_CHANGE,
            errors=_ERRORS,
            audited=False,
        )
        yield Route(
            "PATCH",
            "/config",
            self.patch,
            Role.ADMIN,
            "Change keys. ``null`` removes one from the file, so that its default holds; a list"
            " replaces the list.",
            body=_PATCH,
            bodyMost=LARGE_BODY,
            response=_CHANGE,
            errors=_ERRORS,
        )
        yield Route(
            "PUT",
            "/config",
            self.replace,
            Role.ADMIN,
            "Replace the whole file.",
            body=record({"text": text("YAML.", most=LARGE_BODY)}),
            bodyMost=LARGE_BODY,
            response=_CHANGE,
            errors=_ERRORS,
        )
        yield from self._historyRoutes()

    def _historyRoutes(self) -> Iterator[Route]:
        yield Route(
            "GET",
            "/config/history",
            self.history,
            Role.VIEWER,
            "List the former versions of the file, the newest first.",
            query={
                "page": integer(1, 1000, default=1),
                "page_size": integer(1, 100, default=20),
            },
            response=record(
                {
                    "versions": listOf(
                        record(
                            {
                                "id": _ID,
                                "replaced": nullable(text()),
                                "by": text("The token it was replaced by."),
                                "changed": listOf(text(), "The paths that were changed."),
                            }
                        )
                    ),
                    "total": integer(),
                }
            ),
        )
        yield Route(
            "GET",
            "/config/diff",
            self.diff,
            Role.VIEWER,
            "Compare a version with another one, or with what is in the file.",
            query={"from": {**_ID, "description": "By default the newest."}, "to": _ID},
            response=record({"changed": _DIFFERENCES}),
            errors={404: "There is no such version."},
        )
        yield Route(
            "POST",
            "/config/undo",
            self.undo,
            Role.ADMIN,
            "Go back to a version, by default the last one. That is a change like any other.",
            body=record({"version": _ID}, optional=("version",)),
            bodyNeeded=False,
            response=_CHANGE,
            errors={404: "There is no such version.", **_ERRORS},
        )

    async def read(self, call: Call) -> Any:
        """
        See the route.
        """
        body: dict[str, Any] = await self._inThread(self._read)
        etag = body["etag"]
        if etag and call.ifNoneMatch == etag:
            return Reply(b"", 304, headers={"ETag": etag})
        return Reply(body, headers={"ETag": etag} if etag else {})

    def _read(self) -> dict[str, Any]:
        origin = self._origin()
        path = origin.source.path
        written = None if path is None else path.read_text("utf-8")
        loaded = self._loaded(origin)
        return {
            "config": effective(loaded.config, loaded.root),
            "file": None
            if written is None
            else asWritten(parseDocument(written.encode(), "file")),
            "etag": "" if written is None else etagOf(written),
        }

    def _loaded(self, origin: Origin) -> Loaded:
        try:
            return load(origin.source, origin.environ)
        except ConfigError as error:
            # Another one holds, until somebody mends the file.
            raise Refused(
                409, f"the file has been made one that can't be used: {error.problems[0].sentence}"
            ) from None

    async def validate(self, call: Call) -> Any:
        """
        See the route.
        """
        return changed(await self._editor.check(wantedEdit(call.body)))

    async def patch(self, call: Call) -> Any:
        """
        See the route.
        """
        return await self._change(call, lambda now: call.body)

    async def replace(self, call: Call) -> Any:
        """
        See the route.
        """
        return await self._change(call, lambda now: str(call.body["text"]))

    async def undo(self, call: Call) -> Any:
        """
        See the route.
        """
        wanted = call.body.get("version")
        return await self._change(call, lambda now: self._editor.version(wanted).text)

    async def _change(self, call: Call, edit: Edit) -> Any:
        change = await self._editor.change(edit, call.caller.name, call.ifMatch)
        return Reply(changed(change), headers={"ETag": change.etag})

    async def history(self, call: Call) -> Any:
        """
        See the route.
        """
        versions = await self._inThread(self._editor.history.versions)
        size = call.query["page_size"]
        start = (call.query["page"] - 1) * size
        return {
            "versions": [
                {
                    "id": version.id,
                    "replaced": moment(version.time),
                    "by": version.by,
                    "changed": list(version.changed),
                }
                for version in versions[start : start + size]
            ],
            "total": len(versions),
        }

    async def diff(self, call: Call) -> Any:
        """
        See the route.
        """
        before = (await self._inThread(self._editor.version, call.query.get("from"))).text
        to = call.query.get("to")
        if to is None:
            after = await self._editor.text()
        else:
            after = (await self._inThread(self._editor.version, to)).text
        return {"changed": await self._inThread(_compared, before, after)}


def _compared(before: str, after: str) -> list[dict[str, Any]]:
    return changes(parseDocument(before.encode(), "from"), parseDocument(after.encode(), "to"))


def wantedEdit(body: dict[str, Any]) -> Edit:
    """
    Read what is wanted: a patch or a text.

    @raise Refused: Neither, or both.
    """
    if ("patch" in body) == ("text" in body):
        raise Refused(400, "patch or text is needed")
    wanted = body.get("patch", body.get("text"))
    return lambda now: wanted  # type: ignore[return-value]


def changed(change: Change) -> dict[str, Any]:
    """
    Tell what a change came to.
    """
    return {"ok": True, **attrs.asdict(change), "warnings": list(change.warnings)}
