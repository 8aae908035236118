# One policy for the children's network, another one for everybody else.
#
#   twistd -ny groups.tac
#   dig @127.0.0.1 -p 5353 -b 127.0.0.1 games.example    # everybody: forwarded
#   dig @127.0.0.1 -p 5353 -b 127.0.0.2 games.example    # the children: blocked

from twisted.application import service
from twisted.internet import reactor
from twisted.names import client

from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.safesearch import Engine, SafeSearch
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.resolvers.safesearch import SafeSearchResolver
from dnsguard.server.address import ListenAddress
from dnsguard.server.factory import GuardServerFactory
from dnsguard.server.listeners import ListenerService

policies = Policies(
    Policy.of(
        DomainSet.parse("ads.example"),
        safeSearch=SafeSearch.of([Engine.BING, Engine.DUCKDUCKGO]),
        groups={"children": DomainSet.parse("ads.example games.example")},
        clients={"127.0.0.2/31": "children"},
    )
)
tail = AnswererChain(
    [
        MemoryCacheResolver(10_000, clock=reactor),
        client.Resolver(servers=[("9.9.9.9", 53)]),
    ]
)
chain = AnswererChain(
    [SafeSearchResolver(policies, resolver=tail), BlocklistResolver(policies), tail]
)
factory = GuardServerFactory(resolver=chain, policies=policies, clock=reactor)

application = service.Application("groups")
# Our own listener gives the factory octets, and is several times as fast.
ListenerService(
    reactor, factory, [ListenAddress("127.0.0.1", 5353)], streams=factory.streams
).setServiceParent(application)
