# -*- test-case-name: tests.services.test_listsource -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Where block lists come from.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import attrs

from dnsguard.errors import PolicyError

__all__ = ["ListSource", "redacted"]


@attrs.frozen
class ListSource:
    """
    A block list that somebody subscribed to.

    @ivar name: What it is called.
    @ivar url: Where it is: C{https://}, C{http://}, C{file://} or a path.
    """

    name: str
    url: str

    def __attrs_post_init__(self) -> None:
        """
        @raise PolicyError: Nothing can be read from such a URL.
        """
        if not self.name or not self.url:
            raise PolicyError(f"block list {self.name!r}", "a list needs a name and a URL")
        if self.path is None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https"):
                raise PolicyError(
                    f"block list {self.name}", f"{parts.scheme}:// is not https, http or file"
                )
            if not parts.hostname:
                raise PolicyError(f"block list {self.name}", "a URL without a host")

    @property
    def path(self) -> Path | None:
        """
        The file it is, if it is one.
        """
        if self.url.startswith("file://"):
            return Path(unquote(self.url.removeprefix("file://")))
        return None if "://" in self.url else Path(self.url)

    @property
    def shown(self) -> str:
        """
        The URL without user, password and query: these may be secrets.
        """
        return redacted(self.url)


def redacted(url: str) -> str:
    """
    Take user, password, query and fragment out of a URL.
    """
    if "://" not in url or url.startswith("file://"):
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))
