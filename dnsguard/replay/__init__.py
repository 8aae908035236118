# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Finished replies, given again to equal questions.
"""
