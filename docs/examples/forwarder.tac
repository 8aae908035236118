# The whole chain by hand: two upstreams, one of them for the office's names,
# caches, and the replay store in front of everything.
#
#   twistd -ny forwarder.tac
#   dig @127.0.0.1 -p 5353 example.org

from twisted.application import service
from twisted.internet import reactor

from dnsguard.caching.servfail import BackoffTable
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.replay import newStore
from dnsguard.resolvers.backoff import BackoffResolver
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.resolvers.localrecords import LocalRecordsResolver
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.server.address import ListenAddress
from dnsguard.server.factory import GuardServerFactory
from dnsguard.server.listeners import ListenerService
from dnsguard.services.replaydrain import ReplayDrainService
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.factory import UpstreamFactory, UpstreamSpec
from dnsguard.wire.names import fromText

policies = Policies(
    Policy.of(
        DomainSet.parse("ads.example"), records=[("printer.example.org", "A", "192.0.2.11")]
    )
)
upstreams = UpstreamFactory(reactor).upstreamSet(
    [
        UpstreamSpec("quad9", UpstreamAddress.parse("9.9.9.9")),
        UpstreamSpec(
            "office", UpstreamAddress.parse("192.0.2.53"), (fromText("corp.example.org"),)
        ),
    ]
)
forwarder = ForwardingResolver(upstreams, clock=reactor, timeout=5.0)
tail = AnswererChain(
    [
        MemoryCacheResolver(100_000, clock=reactor),
        BackoffResolver(BackoffTable(60.0), clock=reactor),
        forwarder,
    ],
    clock=reactor,
)
chain = AnswererChain(
    [LocalRecordsResolver(policies, resolver=tail), BlocklistResolver(policies), tail],
    clock=reactor,
)

replay = newStore()
replay.adopt(policies.current)
policies.subscribe(replay.adopt)
factory = GuardServerFactory(resolver=chain, policies=policies, clock=reactor, replay=replay)

application = service.Application("forwarder")
ReplayDrainService(replay, lambda: factory.observers, reactor).setServiceParent(application)
ListenerService(
    reactor,
    factory,
    [ListenAddress("127.0.0.1", 5353)],
    streams=factory.streams,
    replay=replay,
).setServiceParent(application)
