# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{python -m dnsguard}: the C{dnsguard} command, wherever scripts are put.
"""

from dnsguard.cli import main

if __name__ == "__main__":
    main(prog_name="dnsguard")
