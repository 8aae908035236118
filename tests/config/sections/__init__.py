# Copyright (c) The dnsguard developers. See LICENSE for details.
