# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Profiles are sorted by what their samples say.
"""

from __future__ import annotations

import unittest

from twisted.trial.unittest import SynchronousTestCase

try:
    from bench.stacks import categoryOf, perfStacks, pySpyStacks, shares
except ImportError:
    raise unittest.SkipTest("not in a source tree") from None

SENDING = ["kfree ([kernel.kallsyms])", "__x64_sys_sendmmsg ([kernel.kallsyms])"]
EVALUATED = ["_PyEval_EvalFrameDefault (/usr/lib/libpython3.11.so.1.0)"]


class StacksTests(SynchronousTestCase):
    """
    Tests for C{bench/stacks.py}.
    """

    def test_categories(self) -> None:
        """
        The innermost frame that says something decides, and what the kernel allocates
        is the system call's.
        """
        store = "f (/build/lib/dnsguard/querystore/_rows.so)"
        for stack, start in (
            (SENDING, "UDP"),
            (["tcp_sendmsg ([kernel.kallsyms])", "__sys_sendto ([kernel.kallsyms])"], "Redis"),
            (["futex_wait ([kernel.kallsyms])", "take_gil (libpython3.11.so)"], "locks"),
            (["malloc (libc.so.6)", store], "allocation and"),
            (["gc_collect_main (libpython3.11.so)", store], "allocation: Python"),
            (["unicode_new (libpython3.11.so)", store], "rows: encoding"),
            (["loop (/build/lib/dnsguard/replay/_listener.so)"], "requests"),
            (EVALUATED, "the interpreter"),
            (["start (/usr/bin/other)"], "the rest"),
        ):
            self.assertTrue(categoryOf(stack).startswith(start), (stack, categoryOf(stack)))

    def test_python(self) -> None:
        """
        Python functions decide where it is asked of them.
        """
        stack = ["hget (txredisapi.py:10)", "answer (bench/naive.py:20)"]
        self.assertEqual(categoryOf(stack), "the interpreter")
        self.assertTrue(categoryOf(stack, python=True).startswith("Redis"))

    def test_read(self) -> None:
        """
        What perf and py-spy write is read, innermost frame first.
        """
        perf = [
            "  12 \n",
            "\t    7f a ([kernel])\n",
            "\t    80 b (c.so)\n",
            "\n",
            "13\n",
            "\t1 d (e)\n",
        ]
        self.assertEqual(
            list(perfStacks(perf)), [(12, ["a ([kernel])", "b (c.so)"]), (13, ["d (e)"])]
        )
        spied = list(pySpyStacks(["main (a.py:1);f (b.py:2) 3\n", "\n"]))
        self.assertEqual(spied, [(3, ["f (b.py:2)", "main (a.py:1)"])])

    def test_shares(self) -> None:
        """
        What perf sees in the interpreter is split as py-spy sees it; other processes
        are the store's; and all of it is 1.
        """
        spied = [(1, ["hget (txredisapi.py:10)"]), (1, ["dumps (simplejson/encoder.py:1)"])]
        found = shares([(1, SENDING), (1, EVALUATED), (1, EVALUATED), (2, EVALUATED)], 1, spied)
        self.assertEqual(sorted(found.values()), [0.25, 0.25, 0.25, 0.25])
        self.assertEqual(sum(name.startswith("rows: in") for name in found), 1)
        self.assertNotIn("the interpreter", found)

    def test_noPerf(self) -> None:
        """
        Without perf all of it comes from py-spy, but for threads that wait.
        """
        spied = [
            (3, ["hget (txredisapi.py:10)"]),
            (1, ["recvfrom (libc.so.6)"]),
            (9, ["take_gil (libpython3.11.so.1.0)"]),
        ]
        self.assertEqual(sorted(shares([], 1, spied).values()), [0.25, 0.75])
