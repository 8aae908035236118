# -*- test-case-name: tests.config.sections.test_control -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{control}: the API by which a running server is watched and changed.
"""

from __future__ import annotations

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import key
from dnsguard.config.kinds import Flag, Text
from dnsguard.config.quantities import Integer
from dnsguard.config.sections.errors import ErrorsConfig
from dnsguard.config.sections.server import Listen, ListenAddress

__all__ = ["ControlConfig"]


@attrs.frozen
class ControlConfig:
    """
    The API by which a running server is watched and changed.
    """

    enabled: bool = key(Flag(), False, meaning="Is it served?")
    listen: ListenAddress = key(
        Listen(),
        ListenAddress("127.0.0.1", 8081),
        meaning="""Where it is served, by HTTP. As long as there is no token it is served to this
            machine alone, whatever is written here.""",
    )
    token: str = key(
        Text("a token", least=0, most=512, references=True, hidden=True),
        "",
        unset="none",
        meaning="""A token that may do everything, besides those made by ``dnsguard token``; best
            as ``${file:/path}`` or ``${env:NAME}``.""",
    )
    requireToken: bool = key(
        Flag(),
        True,
        meaning="""When there is no token yet, make one at the first start and show it once, on
            standard output. ``false``: as long as there is no token, everybody on this machine
            may do everything.""",
    )
    passwordFile: str = key(
        Text("a path"),
        "control/password",
        meaning="""Where the hash of the administrator's password is kept, which
            ``dnsguard set-admin-password`` writes. Not from the root: below
            ``data_directory``.""",
    )
    historySize: int = key(
        Integer(0, 1000),
        20,
        meaning="""How many former versions of the configuration file are kept, to undo what was
            changed by the API.""",
    )
    debug: bool = key(
        Flag(),
        False,
        meaning="""May administrators take profiles? They show the paths of dnsguard's own code,
            and slow it down while they are taken.""",
    )
    errors: ErrorsConfig = key(
        Section(ErrorsConfig), ErrorsConfig(), meaning="The latest warnings and errors."
    )
