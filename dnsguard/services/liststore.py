# -*- test-case-name: tests.services.test_liststore -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is kept of block lists on disk.

Of every source the last good copy is kept, with what is needed to ask whether
it has changed. So a source that fails keeps its entries, and a restart without
network filters at once. All of L{ListStore} waits for the disk: it is called
in threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from dnsguard.errors import PolicyError
from dnsguard.policy.listparser import looksLikePage, parseList
from dnsguard.services.listsource import ListSource, redacted

__all__ = ["Copy", "ListStore", "StoredCopy", "Unpacker"]

_CHUNK = 1 << 18
_STEP = 1 << 16
_GZIP = b"\x1f\x8b"
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\f\r"))

_JUDGED = 1 << 14
"""Octets up to which a list is read before it takes the place of another: a
server's excuse is no longer than that."""


@attrs.frozen
class StoredCopy:
    """
    The last good copy of a source.

    @ivar path: The file.
    @ivar digest: The SHA-256 of its octets, in hex.
    @ivar size: Octets in it.
    @ivar fetched: When it, or the news that it's unchanged, came: seconds since
        the epoch.
    @ivar etag: What the server calls this version, or empty.
    @ivar modified: When the server says it was changed, or empty.
    """

    path: Path
    digest: str
    size: int
    fetched: float
    etag: str = ""
    modified: str = ""


class Copy:
    """
    A copy being written. It becomes the source's copy when it's finished, and
    leaves nothing otherwise.
    """

    def __init__(self, store: ListStore, url: str, limit: int) -> None:
        """
        @param limit: Octets that are too many.
        """
        self._store = store
        self._url = url
        self._limit = limit
        self._digest = hashlib.sha256()
        self.size = 0
        self.beginning = b""
        handle, self._temporary = tempfile.mkstemp(prefix="new.", dir=store.folder)
        self._file: BinaryIO = os.fdopen(handle, "wb")

    def write(self, data: bytes) -> None:
        """
        Append octets.

        @raise PolicyError: They are too many.
        """
        if len(self.beginning) < _JUDGED:
            self.beginning += data[: _JUDGED - len(self.beginning)]
        self.size += len(data)
        if self.size > self._limit:
            raise PolicyError("", f"larger than {self._limit:,} octets")
        self._digest.update(data)
        self._file.write(data)

    def finish(self, fetched: float, etag: str = "", modified: str = "") -> StoredCopy:
        """
        Make this the source's copy.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target = self._store.pathOf(self._url)
        os.replace(self._temporary, target)
        copy = StoredCopy(target, self._digest.hexdigest(), self.size, fetched, etag, modified)
        self._store.note(self._url, copy)
        return copy

    def discard(self) -> None:
        """
        Throw it away; does nothing to a finished one.
        """
        self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


class Unpacker:
    """
    What stands between the octets that come and the copy: gzip is unpacked,
    whether the transfer or the file itself is packed. Lives in threads.
    """

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._start = b""
        self._stream: Any = None
        self._begun = False

    def write(self, data: bytes) -> None:
        """
        Take the next octets.

        @raise PolicyError: They unpack to too many, or can't be unpacked.
        """
        if not self._begun:
            data = self._start + data
            if len(data) < len(_GZIP):
                self._start = data
                return
            self._begun = True
            if data.startswith(_GZIP):
                self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        if self._stream is None:
            self._copy.write(data)
        else:
            self._unpack(data)

    def _unpack(self, data: bytes) -> None:
        try:
            while True:
                piece = self._stream.decompress(data, _STEP)
                self._copy.write(piece)
                data = self._stream.unconsumed_tail
                if self._stream.eof:
                    # RFC 1952 §2.2: members follow each other.
                    data = self._stream.unused_data
                    if not data:
                        break
                    self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
                elif not data and len(piece) < _STEP:
                    break
        except zlib.error:
            raise PolicyError("", "damaged gzip data") from None

    def finish(self) -> None:
        """
        Check that what came is a whole list.

        @raise PolicyError: It isn't.
        """
        if not self._begun and self._start:
            self._copy.write(self._start)
        if self._stream is not None and not self._stream.eof:
            raise PolicyError("", "gzip data cut short")
        beginning = self._copy.beginning
        if not beginning.strip():
            raise PolicyError("", "empty")
        if looksLikePage(beginning):
            raise PolicyError("", "a web page instead of a list")
        if _looksBinary(beginning):
            raise PolicyError("", "no text")
        if self._copy.size == len(beginning):
            _judge(beginning)


def _looksBinary(beginning: bytes) -> bool:
    """
    Is this no text at all, such as a picture or an archive?
    """
    controls = len(beginning) - len(beginning.translate(None, _CONTROLS))
    return b"\0" in beginning or 20 * controls > len(beginning)


def _judge(text: bytes) -> None:
    """
    Read a small list, which may be no list at all.

    @raise PolicyError: It says something, and no line of it can be used.
    """
    summary = parseList([text], lambda name, line, scope: None)
    if summary.rejected and not summary.entries:
        raise PolicyError("", f"no line of it can be used; {summary.examples[0]}")


class ListStore:
    """
    A folder with the last good copy of each source.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """
        @param folder: Made when it is first needed. Nobody else's.
        """
        self.folder = Path(folder)
        self._makeshift: tempfile.TemporaryDirectory[str] | None = None

    def prepare(self) -> None:
        """
        Make the folder, and clear away what a crash left behind.

        @raise OSError: Nothing can be kept there. Lists that can't be kept for
            the next run can be used in this one still: C{folder} is another
            one now, which goes when this is closed.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(prefix="new.", dir=self.folder):
                pass
        except OSError:
            self._makeshift = tempfile.TemporaryDirectory(prefix="dnsguard-lists-")
            self.folder = Path(self._makeshift.name)
            raise
        for left in [*self.folder.glob("new.*"), *self.folder.glob("*.set.*")]:
            with contextlib.suppress(OSError):
                left.unlink()

    def close(self) -> None:
        """
        Clear away a folder that lasts for one run only.
        """
        if self._makeshift is not None:
            self._makeshift.cleanup()

    def pathOf(self, url: str) -> Path:
        """
        Where the copy of a source is.
        """
        return self.folder / (hashlib.sha256(url.encode("utf-8")).hexdigest()[:32] + ".list")

    def note(self, url: str, copy: StoredCopy) -> None:
        """
        Write down what is known of a copy.
        """
        facts = attrs.asdict(copy)
        del facts["path"]
        facts["url"] = redacted(url)
        path = copy.path.with_suffix(".json")
        temporary = self.folder / ("new." + path.name)
        temporary.write_text(json.dumps(facts), "utf-8")
        os.replace(temporary, path)

    def confirm(self, url: str, copy: StoredCopy, fetched: float) -> StoredCopy:
        """
        Note that a copy is still what the source has.
        """
        confirmed = attrs.evolve(copy, fetched=fetched)
        self.note(url, confirmed)
        return confirmed

    def find(self, url: str) -> StoredCopy | None:
        """
        Find the copy of a source, and check that it is whole.

        @return: L{None} if there is none, or it's damaged.
        """
        path = self.pathOf(url)
        try:
            facts: Any = json.loads(path.with_suffix(".json").read_text("utf-8"))
            copy = StoredCopy(
                path,
                str(facts["digest"]),
                int(facts["size"]),
                float(facts["fetched"]),
                str(facts["etag"]),
                str(facts["modified"]),
            )
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return copy if digest.hexdigest() == copy.digest else None

    def lineOf(self, url: str, number: int) -> str | None:
        """
        Give one line of a source's copy, from 1, cut at 200 letters.
        """
        at = 0
        begins = True
        try:
            with self.pathOf(url).open("rb") as file:
                # In pieces: a list may be one line of many millions of octets.
                while piece := file.readline(_CHUNK):
                    at += begins
                    if at == number and begins:
                        return piece.decode("utf-8", "replace").strip()[:200]
                    begins = piece.endswith(b"\n")
        except OSError:
            pass
        return None

    def forgetOthers(self, urls: Iterable[str]) -> None:
        """
        Delete the copies of sources that nobody subscribes to any more.
        """
        kept = {self.pathOf(url).stem for url in urls}
        for path in [*self.folder.glob("*.list"), *self.folder.glob("*.json")]:
            if path.stem not in kept:
                with contextlib.suppress(OSError):
                    path.unlink()

    def takeFile(
        self, source: ListSource, known: StoredCopy | None, limit: int, now: float
    ) -> StoredCopy:
        """
        Copy a source that is a file.

        @param known: The copy there is; given back if the file's the same.
        @param limit: Octets that are too many.
        @raise PolicyError: It can't be read, is no ordinary file, empty, or
            too large.
        """
        path = source.path
        assert path is not None
        try:
            facts = path.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise PolicyError("", "not an ordinary file")
            mark = f"{facts.st_mtime_ns}-{facts.st_size}-{facts.st_ino}"
            if known is not None and known.etag == mark:
                return self.confirm(source.url, known, now)
            with path.open("rb") as file:
                return self._takeFrom(file, source, mark, limit, now)
        except OSError as reason:
            raise PolicyError("", reason.strerror or str(reason)) from None

    def _takeFrom(
        self, file: BinaryIO, source: ListSource, mark: str, limit: int, now: float
    ) -> StoredCopy:
        copy = Copy(self, source.url, limit)
        try:
            unpacker = Unpacker(copy)
            while chunk := file.read(_CHUNK):
                unpacker.write(chunk)
            unpacker.finish()
            return copy.finish(now, mark)
        finally:
            copy.discard()
