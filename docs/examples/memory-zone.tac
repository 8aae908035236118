# A server for tests: a zone from memory, a name that is always slow to come,
# and everything said about the queries it got.
#
#   twistd -ny memory-zone.tac
#   dig @127.0.0.1 -p 5353 www.example.org
#   dig @127.0.0.1 -p 5353 missing.example.org

from twisted.application import internet, service
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.names import dns
from twisted.names.authority import FileAuthority

from dnsguard.resolvers.base import Answerer
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.server.factory import GuardServerFactory
from dnsguard.wire.names import fromText


class SlowName(Answerer):
    """
    Lets one name wait. An element of the chain is one method.
    """

    def answer(self, query):
        if query.qname != fromText("slow.example.org"):
            return None
        return deferLater(reactor, 0.5, lambda: None)  # Then ask the next one.


class Zone(FileAuthority):
    """
    Twisted's own authority, with records from this file.
    """

    def __init__(self):
        soa = dns.Record_SOA(b"ns.example.org", b"hostmaster.example.org", 1, 3600, 600, 86400, 60)
        super().__init__((b"example.org", soa))

    def loadFile(self, zone):
        name, soa = zone
        self.soa = name, soa
        self.records = {
            name: [soa, dns.Record_NS(b"ns.example.org")],
            b"www.example.org": [dns.Record_A("192.0.2.80", 300)],
            b"slow.example.org": [dns.Record_A("192.0.2.81", 300)],
        }


class Printer:
    """
    An observer: told of each query, once.
    """

    def queryAnswered(self, event):
        print(event.query.text, event.answer.outcome.value, f"{event.duration * 1000:.1f} ms")

    def queriesReplayed(self, batch):
        """
        Nothing is replayed: the factory has no replay store.
        """


factory = GuardServerFactory(
    resolver=AnswererChain([SlowName(), Zone()]), clock=reactor, observers=[Printer()]
)

application = service.Application("memory-zone")
internet.UDPServer(5353, dns.DNSDatagramProtocol(factory), "127.0.0.1").setServiceParent(
    application
)
