# -*- test-case-name: tests.cli.test_lists -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Downloading and compiling block lists to see what is in them.

The rules are those of a running instance (unpacking, sizes, pages that are no
lists, what a line means): its own modules do the work. Only the transfer is
another one, because a command may wait.
"""

from __future__ import annotations

import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import attrs

from dnsguard import __version__
from dnsguard.cli.output import clean, progress
from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import DomainSet, newBuilder
from dnsguard.policy.listparser import parseList
from dnsguard.services.listsource import ListSource, redacted
from dnsguard.services.liststore import Copy, ListStore, StoredCopy, Unpacker
from dnsguard.wire.names import toText

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["ListReport", "Trial", "tryLists"]

_CHUNK = 1 << 16


@attrs.frozen
class ListReport:
    """
    What became of one list.

    @ivar name: Its source, without secrets.
    @ivar octets: Octets in it, unpacked.
    @ivar names: Distinct names.
    @ivar rejected: Lines that aren't understood.
    @ivar reasons: How many for each reason.
    @ivar examples: The first of them.
    """

    name: str
    octets: int
    lines: int
    names: int
    rejected: int
    reasons: dict[str, int]
    examples: tuple[str, ...]


@attrs.frozen
class Trial:
    """
    What became of all lists.

    @ivar names: Distinct names of all.
    @ivar octets: Octets of the compiled set.
    @ivar seconds: What it took.
    @ivar asked: The name that is asked about, or empty.
    @ivar rule: The rule that blocks it, if one does.
    """

    reports: tuple[ListReport, ...]
    names: int
    octets: int
    seconds: float
    asked: str = ""
    rule: str | None = None

    @property
    def rejected(self) -> int:
        """
        Lines that aren't understood, in all lists.
        """
        return sum(report.rejected for report in self.reports)

    def toJSON(self) -> dict[str, Any]:
        """
        Give it for programs.
        """
        told = attrs.asdict(self)
        if not self.asked:
            del told["asked"], told["rule"]
        return told


def tryLists(
    sources: Sequence[str], limit: int, timeout: float, asked: bytes | None = None
) -> Trial:
    """
    Download and compile lists, with bars on a terminal.

    @param sources: URLs and files.
    @param limit: Octets that a list may have, unpacked.
    @param timeout: Seconds to wait for a server at a time.
    @param asked: A name to look up in them, in wire form.
    @raise PolicyError: A list can't be had, or not be kept.
    """
    started = time.monotonic()
    wanted = [_source(source) for source in dict.fromkeys(sources)]
    with tempfile.TemporaryDirectory(prefix="dnsguard.") as folder:
        store = ListStore(folder)
        with progress(octets=True) as bars:
            copies = [_fetch(store, source, limit, timeout, bars) for source in wanted]
            return _compile(wanted, copies, asked, started, bars)


def _source(url: str) -> ListSource:
    """
    @raise PolicyError: Nothing can be read from there.
    """
    try:
        return ListSource(redacted(url), url)
    except ValueError as problem:
        raise PolicyError(redacted(url), str(problem)) from None


def _fetch(
    store: ListStore, source: ListSource, limit: int, timeout: float, bars: Progress
) -> StoredCopy:
    """
    Get one list.
    """
    try:
        if source.path is not None:
            return store.takeFile(source, None, limit, time.time())
        return _download(store, source, limit, timeout, bars)
    except PolicyError as problem:
        raise PolicyError(source.shown, problem.reason) from None
    except urllib.error.HTTPError as problem:
        raise PolicyError(source.shown, f"HTTP status {problem.code}") from None
    except urllib.error.URLError as problem:
        reason = getattr(problem.reason, "strerror", None) or problem.reason
        raise PolicyError(source.shown, str(reason)) from None
    except TimeoutError:
        raise PolicyError(source.shown, f"nothing came for {timeout:g} seconds") from None
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise PolicyError(source.shown, str(problem) or type(problem).__name__) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """
    Follows redirects, but never out of TLS.
    """

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """
        Refuse what an instance would.
        """
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise PolicyError("", "a redirect from https to http")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(url: str) -> urllib.request.Request:
    """
    Make a request, with a URL's user and password where they belong: other
    servers that one is sent on to don't get them.
    """
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    headers = {"User-Agent": f"dnsguard/{__version__}", "Accept-Encoding": "gzip"}
    request = urllib.request.Request(bare, headers=headers)
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        basic = b64encode(pair.encode()).decode("ascii")
        request.add_unredirected_header("Authorization", f"Basic {basic}")
    return request


def _download(
    store: ListStore, source: ListSource, limit: int, timeout: float, bars: Progress
) -> StoredCopy:
    """
    Get one list from a server.
    """
    request = _request(source.url)
    copy = Copy(store, source.url, limit)
    try:
        unpacker = Unpacker(copy)
        opener = urllib.request.build_opener(_Redirects())
        with opener.open(request, timeout=timeout) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() and len(length) < 16 else None
            bar = bars.add_task(f"download {clean(source.shown)}", total=total)
            while chunk := response.read(_CHUNK):
                unpacker.write(chunk)
                bars.advance(bar, len(chunk))
        unpacker.finish()
        return copy.finish(time.time())
    finally:
        copy.discard()


def _chunks(path: Path, bars: Progress, name: str) -> Iterator[bytes]:
    """
    Read a copy, and show how far.
    """
    bar = bars.add_task(f"compile {clean(name)}", total=os.path.getsize(path))
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
            bars.advance(bar, len(chunk))


def _compile(
    sources: Sequence[ListSource],
    copies: Sequence[StoredCopy],
    asked: bytes | None,
    started: float,
    bars: Progress,
) -> Trial:
    """
    Make one set of all lists.
    """
    builder = newBuilder()
    summaries = []
    for source, copy in zip(sources, copies, strict=True):
        builder.addSource(source.shown)
        chunks = _chunks(copy.path, bars, source.shown)
        summaries.append(parseList(chunks, builder.add, builder.scan))
    data = builder.build()
    domains = DomainSet(data)
    reports = tuple(
        ListReport(
            source.shown,
            copy.size,
            summary.lines,
            kept.names,
            summary.rejected,
            {reason.value: number for reason, number in summary.reasons.items()},
            tuple(map(str, summary.examples)),
        )
        for source, copy, summary, kept in zip(
            sources, copies, summaries, domains.sources, strict=True
        )
    )
    name, rule = "", None
    if asked is not None:
        name = toText(asked)
        place = domains.lookup(asked)
        if place is not None:
            rule = f"{domains.sources[place[0]].name}:{place[1]}"
    seconds = round(time.monotonic() - started, 3)
    return Trial(reports, len(domains), len(data), seconds, name, rule)
