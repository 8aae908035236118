# -*- test-case-name: tests.assembly.metrics.test_page -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The page C{docs/monitoring.rst}: what stands before the table of metrics is
written by hand in C{page.txt}, the table is read off the declarations.

Run C{python -m dnsguard.assembly.metrics.page docs/monitoring.rst} after a
change; a test fails until it's done.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from dnsguard.assembly.metrics import SECTIONS
from dnsguard.observers.exposition import Metric

__all__ = ["page"]

_PREAMBLE = Path(__file__).with_name("page.txt")


def page() -> str:
    """
    Write the page.
    """
    parts = [_PREAMBLE.read_text("utf-8").rstrip(), ""]
    for title, metrics in SECTIONS.items():
        parts += [title, "~" * len(title), ""]
        for metric in metrics:
            parts += [*_entry(metric), ""]
    return "\n".join(parts).rstrip() + "\n"


def _entry(metric: Metric) -> Iterator[str]:
    """
    One metric: its name, what it is, its labels, what it says.
    """
    labels = ", ".join(f"``{label}``" for label in metric.labels)
    yield f"``{metric.name}``"
    kind = metric.kind.value + (f" by {labels}" if labels else "")
    yield from textwrap.wrap(
        f"({kind}) {metric.help}",
        96,
        initial_indent="    ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), "utf-8")
