# -*- test-case-name: tests.config.sections.test_errors -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{control.errors}: how long errors are known.
"""

from __future__ import annotations

import attrs

from dnsguard.config.keys import key
from dnsguard.config.kinds import Flag, Text
from dnsguard.config.quantities import Integer

__all__ = ["ErrorsConfig"]


@attrs.frozen
class ErrorsConfig:
    """
    The latest warnings and errors, which the API shows with what to do.
    """

    enabled: bool = key(
        Flag(),
        True,
        meaning="""Are they kept in a file, so that they are known after a restart? If not, the
            last 100 are kept in memory.""",
    )
    retentionDays: int = key(
        Integer(0, 36_500, "days"),
        7,
        meaning="For how long they are kept; 0: however old. There are 1,000 at most.",
    )
    directory: str = key(
        Text("a directory"),
        "logs",
        meaning="""Where their file is; made if it doesn't exist. Not from the root: below
            ``data_directory``.""",
    )
    filenamePrefix: str = key(
        Text("the beginning of a file name, without '/'", pattern=r"[^/\0.][^/\0]*", most=100),
        "errors",
        meaning="The file is called so, then ``.jsonl``.",
    )
