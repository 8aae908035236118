# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for what is kept of lists on disk.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststore import Copy, ListStore, StoredCopy, Unpacker

URL = "https://user:secret@lists.example/ads.txt"


class StoreCase(SynchronousTestCase):
    """
    A store in a new folder.
    """

    def setUp(self) -> None:
        """
        Make the store.
        """
        self.store = ListStore(self.mktemp())
        self.store.prepare()

    def left(self) -> list[str]:
        """
        The kinds of files in the folder.
        """
        return sorted(path.suffix for path in self.store.folder.iterdir())


class CopyTests(StoreCase):
    """
    L{Copy} and L{ListStore}.
    """

    def keep(self, data: bytes = b"ads.example\n", url: str = URL) -> StoredCopy:
        """
        Keep a copy.
        """
        copy = Copy(self.store, url, 1000)
        copy.write(data)
        return copy.finish(12.5, '"v1"', "yesterday")

    def test_keepAndFind(self) -> None:
        """
        A finished copy is found again, by a new store too.
        """
        kept = self.keep()
        self.assertEqual(kept.path.read_bytes(), b"ads.example\n")
        self.assertEqual((kept.size, kept.fetched, kept.etag), (12, 12.5, '"v1"'))
        self.assertEqual(ListStore(self.store.folder).find(URL), kept)

    def test_noSecretsOnDisk(self) -> None:
        """
        What is written down of a source holds no password.
        """
        kept = self.keep()
        self.assertNotIn("secret", kept.path.with_suffix(".json").read_text())
        self.assertNotIn("secret", kept.path.name)

    def test_replace(self) -> None:
        """
        A new copy takes the place of the old one.
        """
        self.keep()
        second = self.keep(b"other.example\n")
        self.assertEqual(self.store.find(URL), second)
        self.assertEqual(self.left(), [".json", ".list"])

    def test_discard(self) -> None:
        """
        An unfinished copy leaves nothing and the old one alone.
        """
        kept = self.keep()
        copy = Copy(self.store, URL, 1000)
        copy.write(b"half")
        copy.discard()
        copy.discard()
        self.assertEqual(self.store.find(URL), kept)
        self.assertEqual(self.left(), [".json", ".list"])

    def test_tooLarge(self) -> None:
        """
        One octet over the limit is an error.
        """
        copy = Copy(self.store, URL, 5)
        self.addCleanup(copy.discard)
        copy.write(b"12345")
        error = self.assertRaises(PolicyError, copy.write, b"6")
        self.assertEqual(error.reason, "larger than 5 octets")

    def test_damaged(self) -> None:
        """
        A copy that isn't what it was, or of which nothing is known, is none.
        """
        kept = self.keep()
        kept.path.write_bytes(b"ads.exampl3\n")
        self.assertIsNone(self.store.find(URL))
        kept.path.with_suffix(".json").write_text('{"digest": 3}')
        self.assertIsNone(self.store.find(URL))
        kept.path.with_suffix(".json").write_text("\0")
        self.assertIsNone(self.store.find(URL))
        kept.path.unlink()
        self.assertIsNone(self.store.find(URL))

    def test_crashLeavings(self) -> None:
        """
        What a crash left behind is cleared away at start.
        """
        self.keep()
        (self.store.folder / "new.abc").write_bytes(b"x")
        (self.store.folder / "lists.set.abc").write_bytes(b"x")
        self.store.prepare()
        self.assertEqual(self.left(), [".json", ".list"])

    def test_forgetOthers(self) -> None:
        """
        Copies that nobody wants any more are deleted, others stay.
        """
        self.keep()
        self.keep(url="https://other.example/")
        self.store.forgetOthers([URL])
        self.assertIsNotNone(self.store.find(URL))
        self.assertEqual(self.left(), [".json", ".list"])

    def test_confirm(self) -> None:
        """
        A confirmed copy is the same, only younger.
        """
        kept = self.keep()
        confirmed = self.store.confirm(URL, kept, 99.0)
        self.assertEqual(confirmed.fetched, 99.0)
        self.assertEqual(self.store.find(URL), confirmed)

    def test_lineOf(self) -> None:
        """
        A line is given as it was written, cut at 200 letters.
        """
        self.keep(b"# one\r\n||Two^\r\n" + b"x" * 300 + b"\nlast")
        self.assertEqual(self.store.lineOf(URL, 2), "||Two^")
        self.assertEqual(self.store.lineOf(URL, 3), "x" * 200)
        self.assertEqual(self.store.lineOf(URL, 4), "last")
        self.assertIsNone(self.store.lineOf(URL, 5))
        self.assertIsNone(self.store.lineOf(URL, 0))
        self.assertIsNone(self.store.lineOf("https://nobody.example/", 1))

    def test_lineBehindHugeOne(self) -> None:
        """
        A line of many octets counts once.
        """
        copy = Copy(self.store, URL, 1 << 21)
        copy.write(b"x" * (1 << 20) + b"\nsecond\n")
        copy.finish(1.0)
        self.assertEqual(self.store.lineOf(URL, 2), "second")


class FileSourceTests(StoreCase):
    """
    L{ListStore.takeFile}.
    """

    def setUp(self) -> None:
        """
        Make a file.
        """
        super().setUp()
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"ads.example\n")
        self.source = ListSource("own", str(self.path))

    def refused(self, limit: int = 1000) -> str:
        """
        The reason why the file isn't taken; nothing is left of it.
        """
        error = self.assertRaises(PolicyError, self.store.takeFile, self.source, None, limit, 1.0)
        self.assertEqual(self.left(), [])
        reason: str = error.reason
        return reason

    def test_taken(self) -> None:
        """
        A file becomes a copy; an unchanged one isn't copied again.
        """
        first = self.store.takeFile(self.source, None, 1000, 1.0)
        self.assertEqual(first.path.read_bytes(), b"ads.example\n")
        again = self.store.takeFile(self.source, first, 12, 2.0)
        self.assertEqual((again.digest, again.fetched), (first.digest, 2.0))
        self.path.write_bytes(b"other.example\n")
        self.assertNotEqual(
            self.store.takeFile(self.source, again, 1000, 3.0).digest, first.digest
        )

    def test_packed(self) -> None:
        """
        A gzip file is unpacked.
        """
        self.path.write_bytes(gzip.compress(b"ads.example\n"))
        taken = self.store.takeFile(self.source, None, 1000, 1.0)
        self.assertEqual(taken.path.read_bytes(), b"ads.example\n")

    def test_refused(self) -> None:
        """
        Too large, empty and missing files are errors.
        """
        self.assertEqual(self.refused(5), "larger than 5 octets")
        self.path.write_bytes(b" \n")
        self.assertEqual(self.refused(), "empty")
        self.path.unlink()
        self.assertEqual(self.refused(), "No such file or directory")

    def test_notAFile(self) -> None:
        """
        Folders and pipes aren't read.
        """
        self.path.unlink()
        self.path.mkdir()
        self.assertEqual(self.refused(), "not an ordinary file")
        self.path.rmdir()
        os.mkfifo(self.path)
        self.assertEqual(self.refused(), "not an ordinary file")


class MakeshiftTests(SynchronousTestCase):
    """
    L{ListStore} where nothing can be kept.
    """

    def test_makeshiftFolder(self) -> None:
        """
        Where no folder can be made lists are kept for this run, in one that
        is gone in the end; where one can be made it stays.
        """
        path = Path(self.mktemp())
        path.write_bytes(b"in the way")
        store = ListStore(path / "lists")
        self.assertRaises(OSError, store.prepare)
        copy = Copy(store, "https://lists.example/ads", 1000)
        copy.write(b"ads.example\n")
        copy.finish(1.0)
        self.assertIsNotNone(store.find("https://lists.example/ads"))
        makeshift = store.folder
        store.close()
        self.assertFalse(makeshift.exists())

    def test_ordinaryFolder(self) -> None:
        """
        An ordinary folder stays.
        """
        store = ListStore(self.mktemp())
        store.prepare()
        store.close()
        self.assertEqual(list(store.folder.iterdir()), [])


class UnpackerTests(StoreCase):
    """
    L{Unpacker}.
    """

    def taken(self, *chunks: bytes, limit: int = 10000) -> bytes:
        """
        What these octets become.
        """
        copy = Copy(self.store, URL, limit)
        try:
            unpacker = Unpacker(copy)
            for chunk in chunks:
                unpacker.write(chunk)
            unpacker.finish()
            return copy.finish(1.0).path.read_bytes()
        finally:
            copy.discard()

    def refused(self, *chunks: bytes, limit: int = 10000) -> str:
        """
        Why these octets become nothing.
        """
        with self.assertRaises(PolicyError) as caught:
            self.taken(*chunks, limit=limit)
        self.assertEqual(self.left(), [])
        reason: str = caught.exception.reason
        return reason

    def test_plain(self) -> None:
        """
        What isn't packed is kept as it is, however it is cut.
        """
        self.assertEqual(self.taken(b"a", b"", b"ds.example"), b"ads.example")
        self.assertEqual(self.taken(b"#"), b"#")

    def test_packed(self) -> None:
        """
        Gzip is unpacked, however it is cut, several members one after the
        other.
        """
        packed = gzip.compress(b"ads.example\n") + gzip.compress(b"b.example\n")
        self.assertEqual(self.taken(packed), b"ads.example\nb.example\n")
        octets = [packed[at : at + 1] for at in range(len(packed))]
        self.assertEqual(self.taken(*octets), b"ads.example\nb.example\n")

    def test_wellPacked(self) -> None:
        """
        What unpacks to many times its size is unpacked to its end.
        """
        for size in (65535, 65536, 65537, 131072, 1 << 20):
            data = b"x" * size
            self.assertEqual(self.taken(gzip.compress(data), limit=1 << 20), data)

    def test_bomb(self) -> None:
        """
        A gzip bomb is an error as soon as it's over the limit.
        """
        bomb = gzip.compress(bytes(50_000_000))
        self.assertEqual(self.refused(bomb), "larger than 10,000 octets")

    def test_damagedPacked(self) -> None:
        """
        Damaged or cut gzip data is an error.
        """
        packed = gzip.compress(b"ads.example\n" * 100)
        self.assertEqual(self.refused(packed[:-9]), "gzip data cut short")
        self.assertEqual(self.refused(packed[:10] + b"\xff" * 20), "damaged gzip data")

    def test_noText(self) -> None:
        """
        What is no text is no list, though some of its lines may look like it.
        """
        octets = bytes(range(256)) * 8 + b"\nads.example\n"
        for data in (
            octets,
            octets.replace(b"\0", b""),
            b"\x7fELF\0",
            "ads.example".encode("utf-16"),
        ):
            self.assertEqual(self.refused(data), "no text")

    def test_noUsableLine(self) -> None:
        """
        A server's excuse in a line or two is no list; one with nothing but
        comments is.
        """
        for data in (b"Too many requests\n", b'{"error": "rate limit exceeded"}'):
            self.assertIn("no line of it can be used; line 1: ", self.refused(data))
        self.assertEqual(self.taken(b"# nothing left\n"), b"# nothing left\n")

    def test_noList(self) -> None:
        """
        Nothing, blanks and web pages are no lists.
        """
        self.assertEqual(self.refused(), "empty")
        self.assertEqual(self.refused(b"\r\n \r\n"), "empty")
        self.assertEqual(self.refused(b"<!DOCTYPE html>\n<html>"), "a web page instead of a list")
        self.assertEqual(
            self.refused(gzip.compress(b"<html></html>")), "a web page instead of a list"
        )
