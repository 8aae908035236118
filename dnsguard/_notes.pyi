# Copyright (c) The dnsguard developers. See LICENSE for details.
from dnsguard import notes

class EntryNotes(notes.EntryNotes): ...
