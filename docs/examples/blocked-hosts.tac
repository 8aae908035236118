# Our block list in front of a hosts file served by Twisted's own resolver.
#
#   twistd -ny blocked-hosts.tac
#   dig @127.0.0.1 -p 5353 localhost
#   dig @127.0.0.1 -p 5353 banner.ads.example

from twisted.application import internet, service
from twisted.internet import reactor
from twisted.names import dns, hosts

from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.policy.specialnames import SpecialNames
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.server.factory import GuardServerFactory

policies = Policies(
    Policy.of(
        DomainSet.parse("ads.example tracker.example"), specialNames=SpecialNames.NONE
    )
)
chain = AnswererChain([BlocklistResolver(policies), hosts.Resolver("/etc/hosts")])
factory = GuardServerFactory(resolver=chain, policies=policies, clock=reactor)

application = service.Application("blocked-hosts")
internet.UDPServer(5353, dns.DNSDatagramProtocol(factory), "127.0.0.1").setServiceParent(
    application
)
