# Our elements inside Twisted's own chain and server.
#
# The stock chain asks with plain queries, so everybody is anonymous here and
# gets what a client gets that is in no group: filtered, but not by who asks.
# To filter by who asks, keep our chain and our server outside.
#
#   twistd -ny stock-chain.tac
#   dig @127.0.0.1 -p 5353 nas.example.org
#   dig @127.0.0.1 -p 5353 tracker.example

from twisted.application import internet, service
from twisted.names import client, dns, server

from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.resolvers.localrecords import LocalRecordsResolver

upstream = client.Resolver(servers=[("9.9.9.9", 53)])
policies = Policies(
    Policy.of(
        DomainSet.parse("ads.example tracker.example"),
        records=[("nas.example.org", "A", "192.0.2.10")],
    )
)
factory = server.DNSServerFactory(
    authorities=[LocalRecordsResolver(policies, resolver=upstream)],
    clients=[BlocklistResolver(policies), upstream],
)

application = service.Application("stock-chain")
internet.UDPServer(5353, dns.DNSDatagramProtocol(factory), "127.0.0.1").setServiceParent(
    application
)
