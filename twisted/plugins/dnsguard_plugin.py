# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What makes C{twistd dnsguard} known to twistd.
"""

from twisted.application.service import ServiceMaker

dnsguard = ServiceMaker("dnsguard", "dnsguard.tap", "A filtering DNS resolver.", "dnsguard")
