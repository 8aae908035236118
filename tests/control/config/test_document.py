# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.config.document}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.document import parseDocument
from dnsguard.control.config.document import MAX_OCTETS, EditError, patched, plain

FILE = """\
# Head of the file
server:            # the server
  listen: ['127.0.0.1:53']   # a comment
  max_udp_size: 1232

# Upstreams of ours
upstreams:
  - name: local
    address: 192.0.2.53:53   # fast
  # the second
  - name: other
    address: 192.0.2.1:53

# Lists
blocklists:
  refresh_interval: 6h
  denylist:
    - bad.example   # bad
    # worse
    - worse.example
    - last.example
# the end
cache: {min_ttl: 5m, serve: off}
control:
  token: "abc"
# really the end
"""

NAMES = st.sampled_from(["server", "cache", "upstreams", "blocklists", "a", "b"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-99, 99), st.text("ab #:-'\"{}[]\n", max_size=6)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner.filter(lambda value: value is not None), max_size=3)
        | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)


class PatchedTests(SynchronousTestCase):
    """
    Tests for L{patched}.
    """

    def assertLines(self, patch: Any, gone: str, come: str, text: str = FILE) -> None:
        """
        Assert that exactly these lines go and come.
        """
        before, after = text.splitlines(), patched(text, patch).splitlines()
        self.assertEqual([line for line in before if line not in after], gone.splitlines())
        self.assertEqual([line for line in after if line not in before], come.splitlines())
        kept = [line for line in before if line in after]
        self.assertEqual([line for line in after if line in before], kept)

    def test_nothing(self) -> None:
        """
        Nothing changes nothing.
        """
        self.assertEqual(patched(FILE, {}), FILE)

    def test_scalar(self) -> None:
        """
        A value is replaced where it stands; words like off stay as they are
        written.
        """
        self.assertLines(
            {"server": {"max_udp_size": 4096}}, "  max_udp_size: 1232", "  max_udp_size: 4096"
        )
        self.assertLines(
            {"cache": {"min_ttl": "1m"}},
            "cache: {min_ttl: 5m, serve: off}",
            "cache: {min_ttl: 1m, serve: off}",
        )

    def test_newKeyStandsInItsSection(self) -> None:
        """
        A key is added at the end of its section, before the comment that
        belongs to the next one.
        """
        result = patched(FILE, {"server": {"read_timeout": "3s"}})
        self.assertIn("  max_udp_size: 1232\n  read_timeout: 3s\n\n# Upstreams of ours\n", result)
        result = patched(FILE, {"timezone": "UTC"})
        self.assertTrue(result.endswith('  token: "abc"\ntimezone: UTC\n# really the end\n'))

    def test_removedKeyLeavesComments(self) -> None:
        """
        Where a key or section is removed, the comments of what follows stay.
        """
        self.assertLines({"server": {"max_udp_size": None}}, "  max_udp_size: 1232", "")
        self.assertLines(
            {"blocklists": None},
            "blocklists:\n  refresh_interval: 6h\n  denylist:\n    - bad.example   # bad\n"
            "    # worse\n    - worse.example\n    - last.example",
            "",
        )
        self.assertIn("# really the end", patched(FILE, {"control": {"token": None}}))

    def test_lists(self) -> None:
        """
        Members that stay in a list keep their comments.
        """
        self.assertLines(
            {"blocklists": {"denylist": ["bad.example", "new.example", "last.example"]}},
            "    - worse.example",
            "    - new.example",
        )
        self.assertLines(
            {"blocklists": {"denylist": ["worse.example"]}},
            "    - bad.example   # bad\n    - last.example",
            "",
        )
        self.assertLines(
            {"upstreams": [{"name": "other", "address": "192.0.2.1:53"}]},
            "  - name: local\n    address: 192.0.2.53:53   # fast",
            "",
        )

    def test_newSections(self) -> None:
        """
        Whole sections are written as a person would, in an empty file, too.
        """
        patch = {"a": {"b": [1, {"c": "d"}], "e": True}}
        written = "a:\n  b:\n    - 1\n    - c: d\n  e: true\n"
        self.assertEqual(patched("", patch), written)
        self.assertEqual(patched("# mine", patch), f"# mine\n{written}")

    def test_trickyText(self) -> None:
        """
        Text is read as the same text, whatever YAML might make of it.
        """
        values = [
            "null",
            "~",
            "",
            "yes",
            "1e3",
            "0x10",
            "a: b",
            "# c",
            "- d",
            "*e",
            "&f",
            " g ",
            "ä",
        ]
        text = patched("x: 1\n", {"list": values, "one": "null"})
        self.assertEqual(
            plain(parseDocument(text.encode(), "f")), {"x": "1", "list": values, "one": "null"}
        )

    def test_refused(self) -> None:
        """
        A file that is too large or can't be read isn't changed.
        """
        self.assertRaises(EditError, patched, "#" * (MAX_OCTETS + 1), {"a": 1})
        self.assertRaises(EditError, patched, "a: [", {"a": 1})
        self.assertRaises(EditError, patched, "a: 1\na: 2\n", {"a": 1})

    def test_aliases(self) -> None:
        """
        A file in which one place stands for another is changed in the one
        place, or not at all.
        """
        text = "one: &x {a: 1}\ntwo: *x\n"
        try:
            result = patched(text, {"one": {"a": 2}})
        except EditError:
            return
        self.assertEqual(
            plain(parseDocument(result.encode(), "f")), {"one": {"a": "2"}, "two": {"a": "1"}}
        )

    @settings(max_examples=150, deadline=None)
    @given(st.dictionaries(NAMES, VALUES, max_size=3))
    def test_anyPatch(self, patch: dict[str, Any]) -> None:
        """
        Whatever is patched: it is in the file afterwards, or the file is said
        not to be one that can be changed so; the head of the file stays.
        """
        try:
            result = patched(FILE, patch)
        except EditError:
            return
        self.assertTrue(result.startswith("# Head of the file\n"), result)
