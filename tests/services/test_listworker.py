# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for compiling lists.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.domainset import DomainSet
from dnsguard.services.listworker import Job, compileLists, inputsOf, reportsIn
from dnsguard.wire.names import fromText


class CompileTests(SynchronousTestCase):
    """
    L{compileLists}.
    """

    def job(self, *contents: bytes) -> Job:
        """
        A job of these lists.
        """
        lists = []
        for number, content in enumerate(contents):
            path = Path(self.mktemp())
            path.write_bytes(content)
            lists.append((f"list{number}", str(path), f"digest{number}"))
        return Job(tuple(lists), self.mktemp())

    def test_compile(self) -> None:
        """
        Lists become one set, in their order, with a report of each.
        """
        job = self.job(b"# x\na.example\n", b"0.0.0.0 a.example b.example\nb.example\na..b\n")
        reports = compileLists(job)
        domains = DomainSet.load(job.output)
        domains.verify()
        self.assertEqual(domains.lookup(fromText("x.b.example")), (1, 1, 2))
        self.assertEqual(domains.matches(fromText("a.example")), [(0, 2, 0), (1, 1, 0)])
        self.assertEqual(domains.header.facts["inputs"], inputsOf(job.lists))
        second = reports[1]
        self.assertEqual((second.name, second.lines, second.entries), ("list1", 3, 3))
        self.assertEqual((second.names, second.rejected), (2, 1))
        self.assertEqual(second.reasons, {"not a domain name": 1})
        self.assertEqual(second.examples, ("line 3: not a domain name: a..b",))

    def test_reportsAreKept(self) -> None:
        """
        A loaded set still knows its reports.
        """
        job = self.job(b"a.example\n", b"?")
        reports = compileLists(job)
        self.assertEqual(reportsIn(DomainSet.load(job.output).header), reports)

    def test_job(self) -> None:
        """
        A job can be written and read.
        """
        job = self.job(b"x", b"y")
        self.assertEqual(Job.load(job.dump()), job)

    def test_inputs(self) -> None:
        """
        Other names, contents or order are other inputs; other paths aren't.
        """
        one, two = ("a", "/x", "1"), ("b", "/y", "2")
        self.assertEqual(inputsOf((one, two)), inputsOf((("a", "/z", "1"), two)))
        self.assertNotEqual(inputsOf((one, two)), inputsOf((two, one)))
        self.assertNotEqual(inputsOf((one,)), inputsOf((("a", "/x", "3"),)))
        self.assertNotEqual(inputsOf((one,)), inputsOf((("c", "/x", "1"),)))

    def test_nothing(self) -> None:
        """
        No lists are an empty set.
        """
        job = self.job()
        self.assertEqual(compileLists(job), ())
        self.assertEqual(len(DomainSet.load(job.output)), 0)
