# -*- test-case-name: tests.services.test_flamegraph -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Profiles for people to look at: a flame graph as an SVG picture, and a file for
U{speedscope<https://www.speedscope.app>}.

The picture needs no script, so it can be shown by a page that allows none: each
box says in its title what it is, with which share of the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any
from xml.sax.saxutils import escape

import attrs

from dnsguard.services.sampler import Frame, Profile

__all__ = ["flameGraph", "folded", "speedscope"]

WIDTH = 1200
ROW = 17
LEAST = 0.4
"""Width of the smallest box that is drawn; what is narrower can't be seen."""

_CHARACTER = 6.6
_DEEPEST = 150

_COLOURS = {"dnsguard": "#f4a261", "twisted": "#8ecae6"}
_OTHER = "#d8d8d8"


@attrs.define(eq=False)
class _Box:
    """
    A function, called by the one below it in the picture.
    """

    frame: Frame
    count: int = 0
    callees: dict[Frame, _Box] = attrs.field(factory=dict)


def _boxes(profile: Profile) -> _Box:
    """
    Put equal beginnings of stacks together.
    """
    root = _Box(Frame("all threads"))
    for stack, count in profile.stacks.items():
        box = root
        box.count += count
        for frame in stack[:_DEEPEST]:
            box = box.callees.setdefault(frame, _Box(frame))
            box.count += count
    return root


def _placed(root: _Box) -> Iterator[tuple[_Box, float, float, int]]:
    """
    Give each box that can be seen with its left edge, width and row.
    """
    scale = WIDTH / root.count if root.count else 0.0
    pending = [(root, 0.0, 0)]
    while pending:
        box, left, row = pending.pop()
        yield box, left, box.count * scale, row
        for callee in sorted(box.callees.values(), key=lambda each: str(each.frame)):
            if callee.count * scale >= LEAST:
                pending.append((callee, left, row + 1))
            left += callee.count * scale


def flameGraph(profile: Profile, title: str = "dnsguard") -> bytes:
    """
    Draw a profile: the wider a box, the more of the time.
    """
    placed = list(_placed(_boxes(profile)))
    total = placed[0][0].count
    rows = max(row for *_, row in placed) + 1
    height = (rows + 2) * ROW
    words = f"{title}: {profile.samples} samples in {profile.seconds:.1f} s"
    if profile.cost is not None and profile.seconds:
        words += f"; looking took {100 * profile.cost / profile.seconds:.2f} % of a processor"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        f'width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="4" y="13">{_text(words)}</text>',
    ]
    for box, left, width, row in placed:
        parts.append(_drawn(box, left, width, height - (row + 1) * ROW, total))
    return "\n".join([*parts, "</svg>\n"]).encode()


def _drawn(box: _Box, left: float, width: float, top: int, total: int) -> str:
    share = 100 * box.count / total if total else 0.0
    words = _text(f"{box.frame}: {box.count} samples, {share:.1f} %")
    shown = box.frame.name[: max(0, int((width - 6) / _CHARACTER))]
    text = ""
    if len(shown) >= 3:
        text = f'<text x="{left + 3:.1f}" y="{top + 12}">{_text(shown)}</text>'
    return (
        f'<g><title>{words}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}"'
        f' height="{ROW - 1}" rx="1" fill="{_colour(box.frame)}"/>{text}</g>'
    )


def _text(words: str) -> str:
    """
    Write text as XML can hold it: there are characters that it can't.
    """
    return escape("".join(each if each.isprintable() else "?" for each in words))


def _colour(frame: Frame) -> str:
    # The innermost folder counts: what is installed is below a folder of ours.
    for part in reversed(PurePath(frame.file).parts):
        if part in _COLOURS:
            return _COLOURS[part]
    return _OTHER


def speedscope(profile: Profile, title: str = "dnsguard") -> bytes:
    """
    Write a profile in speedscope's format, a thread after the other.
    """
    frames: dict[Frame, int] = {}
    threads: dict[str, tuple[list[list[int]], list[float]]] = {}
    for (thread, *stack), count in profile.stacks.items():
        samples, weights = threads.setdefault(thread.name, ([], []))
        samples.append([frames.setdefault(frame, len(frames)) for frame in stack])
        weights.append(round(count * profile.interval, 6))
    profiles: list[dict[str, Any]] = [
        {
            "type": "sampled",
            "name": name,
            "unit": "seconds",
            "startValue": 0,
            "endValue": round(sum(weights), 6),
            "samples": samples,
            "weights": weights,
        }
        for name, (samples, weights) in sorted(threads.items())
    ]
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": title,
        "exporter": "dnsguard",
        "shared": {
            "frames": [
                {"name": frame.name, "file": frame.file, "line": frame.line} for frame in frames
            ]
        },
        "profiles": profiles,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def folded(profile: Profile) -> bytes:
    """
    Write a profile as text: a line for each stack, its frames and its count.
    """
    lines = (
        ";".join(str(frame).replace(";", ",") for frame in stack) + f" {count}\n"
        for stack, count in sorted(profile.stacks.items(), key=lambda item: -item[1])
    )
    return "".join(lines).encode()
