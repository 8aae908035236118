# Our cache and server in front of Twisted's own client.
#
#   twistd -ny stock-client.tac
#   dig @127.0.0.1 -p 5353 example.org

from twisted.application import internet, service
from twisted.internet import reactor
from twisted.names import client, dns

from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.server.factory import GuardServerFactory

chain = AnswererChain(
    [
        MemoryCacheResolver(10_000, clock=reactor),
        client.Resolver(servers=[("9.9.9.9", 53)]),
    ]
)
factory = GuardServerFactory(resolver=chain, clock=reactor)

application = service.Application("stock-client")
for server in (
    internet.UDPServer(5353, dns.DNSDatagramProtocol(factory), "127.0.0.1"),
    internet.TCPServer(5353, factory, interface="127.0.0.1"),
):
    server.setServiceParent(application)
