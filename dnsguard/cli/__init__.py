# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The C{dnsguard} command: runs the server, and speaks with one that runs.

Each family of commands is a module of its own, imported when one of them is
called: what answers at once when typed is what gets used.
"""

from dnsguard.cli.entry import main

__all__ = ["main"]
