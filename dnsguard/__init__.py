# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
dnsguard: a filtering DNS resolver on Twisted.
"""

__version__ = "0.1.0"

import os

from dnsguard import pure

# Before anything else is imported.
pure.obey(os.environ)
