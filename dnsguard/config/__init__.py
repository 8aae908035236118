# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Configuration files into values. Pure: no Twisted in here.

C{load(Source(path), os.environ)} gives a L{Loaded} or raises
L{dnsguard.errors.ConfigError} with everything that is wrong.
"""

from dnsguard.config.load import Loaded, Source, load, loadText
from dnsguard.config.model import Config
from dnsguard.config.problem import Problem, Severity

__all__ = ["Config", "Loaded", "Problem", "Severity", "Source", "load", "loadText"]
