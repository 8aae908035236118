# -*- test-case-name: tests.control.config.test_editor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Former versions of the configuration file, to go back to.

Everything here waits for the disk: it is for threads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from dnsguard.control.tokens import replaceFile
from dnsguard.errors import StoreError

__all__ = ["History", "Version"]

_NAME = re.compile(r"([0-9]{1,16})\.json")


@attrs.frozen
class Version:
    """
    A former version.

    @ivar id: Counts up.
    @ivar time: When it was replaced, seconds since the epoch.
    @ivar by: The name of the token that it was replaced by.
    @ivar changed: The key paths that differ in what came next.
    @ivar text: What was in the file.
    """

    id: int
    time: float
    by: str
    changed: tuple[str, ...]
    text: str = attrs.field(repr=False)


class History:
    """
    Some former versions.
    """

    def __init__(self, folder: Path, size: Callable[[], int]) -> None:
        """
        @param folder: Where they are kept; nobody else's.
        @param size: Says how many.
        """
        self._size = size
        self._folder = folder

    def _ids(self) -> list[int]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise StoreError(str(self._folder), problem.strerror or str(problem)) from None
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def versions(self) -> list[Version]:
        """
        Give all versions that can be read, the newest first.
        """
        found = (self.get(id) for id in reversed(self._ids()))
        return [version for version in found if version is not None]

    def get(self, id: int | None = None) -> Version | None:
        """
        Give a version.

        @param id: Its id; L{None}: the newest.
        """
        ids = self._ids()
        if id is None and ids:
            id = ids[-1]
        if id is None or id not in ids:
            return None
        try:
            value: dict[str, Any] = json.loads(self._path(id).read_bytes())
            return Version(
                id,
                float(value["time"]),
                str(value["by"]),
                tuple(map(str, value["changed"])),
                str(value["text"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            # Whoever put it there: it is none of ours.
            return None

    def add(self, time: float, by: str, changed: tuple[str, ...], text: str) -> int:
        """
        Keep a version, and let the oldest go that is one too many.

        @return: Its id.
        @raise StoreError: It can't be kept.
        """
        ids = self._ids()
        id = ids[-1] + 1 if ids else 1
        size = self._size()
        if size > 0:
            version = Version(id, time, by, changed, text)
            replaceFile(self._path(id), json.dumps(attrs.asdict(version)).encode())
            ids.append(id)
        for old in ids[: max(0, len(ids) - size)]:
            self.remove(old)
        return id

    def remove(self, id: int) -> None:
        """
        Let a version go.
        """
        self._path(id).unlink(missing_ok=True)

    def _path(self, id: int) -> Path:
        return self._folder / f"{id}.json"
