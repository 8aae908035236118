# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.flamegraph}.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.services.flamegraph import WIDTH, flameGraph, folded, speedscope
from dnsguard.services.sampler import Frame, Profile

MAIN = Frame("MainThread")
RUN = Frame("run", "/x/twisted/base.py", 10)
ASK = Frame("ask", "/opt/dnsguard/lib/dnsguard/chain.py", 20)
SEND = Frame("send<T>&", "/x/dnsguard/twisted/udp.py", 30)

PROFILE = Profile({(MAIN, RUN, ASK): 30, (MAIN, RUN, SEND): 9, (MAIN, RUN): 1}, 0.5, 0.01, 0.005)

SVG = "{http://www.w3.org/2000/svg}"


class FlameGraphTests(SynchronousTestCase):
    """
    A profile is drawn.
    """

    def boxes(self, profile: Profile = PROFILE) -> dict[str, tuple[float, float, int, str]]:
        """
        Left edge, width, top and colour of each box, by its title.
        """
        picture = ElementTree.fromstring(flameGraph(profile))
        boxes = {}
        for group in picture.iter(f"{SVG}g"):
            box = group.find(f"{SVG}rect")
            title = group.find(f"{SVG}title")
            assert box is not None
            assert title is not None
            boxes[title.text or ""] = (
                float(box.attrib["x"]),
                float(box.attrib["width"]),
                int(box.attrib["y"]),
                box.attrib["fill"],
            )
        return boxes

    def test_widthsAreShares(self) -> None:
        """
        A box is as wide as its function's share, and stands on its caller.
        """
        boxes = self.boxes()
        run = boxes["run (/x/twisted/base.py:10): 40 samples, 100.0 %"]
        ask = boxes["ask (/opt/dnsguard/lib/dnsguard/chain.py:20): 30 samples, 75.0 %"]
        send = boxes["send<T>& (/x/dnsguard/twisted/udp.py:30): 9 samples, 22.5 %"]
        self.assertEqual(run[:2], (0.0, WIDTH))
        self.assertEqual(ask[:2], (0.0, 0.75 * WIDTH))
        self.assertEqual(send[:2], (0.75 * WIDTH, 0.225 * WIDTH))
        self.assertEqual(ask[2], send[2])
        self.assertLess(ask[2], run[2])
        self.assertEqual(len(boxes), 5)

    def test_colours(self) -> None:
        """
        Ours, Twisted's and others' functions have their colours.
        """
        colours = {title.split(" ")[0]: box[3] for title, box in self.boxes().items()}
        self.assertEqual(colours["run"], colours["send<T>&"])
        self.assertEqual(len({colours["run"], colours["ask"], colours["MainThread:"]}), 3)

    def test_costIsStated(self) -> None:
        """
        The picture says what it cost.
        """
        self.assertIn(b"looking took 1.00 % of a processor", flameGraph(PROFILE))

    def test_narrowBoxesAreLeftOut(self) -> None:
        """
        What can't be seen isn't drawn: a picture has a bounded size.
        """
        stacks: dict[tuple[Frame, ...], int] = {
            (MAIN, Frame(f"f{number}")): 1 for number in range(20_000)
        }
        self.assertEqual(len(self.boxes(Profile(stacks, 1.0, 0.01))), 2)

    def test_nothingSeen(self) -> None:
        """
        An empty profile is a picture, too.
        """
        self.assertEqual(len(self.boxes(Profile({}, 0.0, 0.01, 0.0))), 1)

    @settings(max_examples=50, deadline=None)
    @given(
        st.dictionaries(
            st.lists(st.builds(Frame, st.text(), st.text()), min_size=1, max_size=5).map(tuple),
            st.integers(1, 100),
            max_size=10,
        )
    )
    def test_anyNames(self, stacks: dict[tuple[Frame, ...], int]) -> None:
        """
        Whatever functions are called, each format holds them.
        """
        profile = Profile(stacks, 1.0, 0.01)
        json.loads(speedscope(profile))
        folded(profile)
        picture = flameGraph(profile).decode("utf-8")
        self.assertTrue(picture.endswith("</svg>\n"))
        ElementTree.fromstring(picture)


class FileTests(SynchronousTestCase):
    """
    A profile is written down for other programs.
    """

    def test_speedscope(self) -> None:
        """
        Each thread is a profile of stacks and weights.
        """
        other = Profile({**PROFILE.stacks, (Frame("worker"), ASK): 2}, 0.5, 0.01)
        document = json.loads(speedscope(other))
        main, worker = document["profiles"]
        self.assertEqual((main["name"], worker["name"]), ("MainThread", "worker"))
        names = [frame["name"] for frame in document["shared"]["frames"]]
        self.assertEqual(
            [[names[at] for at in stack] for stack in main["samples"]],
            [["run", "ask"], ["run", "send<T>&"], ["run"]],
        )
        self.assertEqual(main["weights"], [0.3, 0.09, 0.01])
        self.assertEqual((main["endValue"], worker["endValue"]), (0.4, 0.02))

    def test_folded(self) -> None:
        """
        Each stack is a line, the most frequent first.
        """
        lines = folded(PROFILE).decode().splitlines()
        self.assertEqual(
            lines[0],
            "MainThread;run (/x/twisted/base.py:10);"
            "ask (/opt/dnsguard/lib/dnsguard/chain.py:20) 30",
        )
        self.assertEqual(len(lines), 3)
