#!/usr/bin/python3
"""
FRR beside espgate, over the twins of two tunnels' interfaces, and BIRD at the far ends: BGP over both with TCP-MD5 and TTL
security, 10,000 prefixes from both, ECMP; the tunnels are watched by espgate's BFD at 3 x 50 ms, which FRR sees by the
carrier of the twins.

                      espgate, FRR AS 65001              strongSwan, BIRD AS 65002
                              vti-a 169.254.1.1/30 === 169.254.1.2 ipsec0
                                                 192.0.2.2 west-a 10.2.0.1
  lan-e 10.1.0.10 --- east 192.0.2.1 --- net ---<                         >--- lan-w 20.0.0.0/8, 10.2.0.10
                      (espgate)        (switch)  192.0.2.3 west-b 10.2.0.2
                              vti-b 169.254.1.5/30 === 169.254.1.6 ipsec0

And routers on either side of a tunnel, whose session is forwarded:

  lan-e 10.1.0.10 --- east 192.0.2.1 --- 192.0.2.2 west --- 10.2.0.10 lan-w
  FRR AS 65001        espgate                strongSwan       BIRD AS 65002
"""
import re
import signal
import unittest

import bird
import frr
from base import LabCase, east_gateway, west_swan
from gateway import Gateway, configuration
from lab import Capture, run, wait_until
from topologies import Single
from watched import FLOWS, PEERS, PORTS, RATE, Stream, Watched, far, near, watched_tunnels

ALONE = "it measures how long flows are blocked"

MANY = [f"20.{number // 256}.{number % 256}.0/24" for number in range(9999)]
SECRET = "not-known-to-others"
# What a router has sent. A listening socket's answer to a SYN has the kernel's own TTL: FRR sets it when it has accepted.
WITH_DATA = "ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0"


def bgpd(*neighbours, hops=1, own="10.1.0.0/24"):
    """bgpd's configuration: sessions with TCP-MD5 (RFC 2385) and TTL security (RFC 5082)."""
    text = "".join(f"""
 neighbor {each} remote-as 65002
 neighbor {each} timers 10 30
 neighbor {each} timers connect 1
 neighbor {each} password {SECRET}
 neighbor {each} ttl-security hops {hops}""" for each in neighbours)
    return f"""
router bgp 65001
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 no bgp network import-check{text}
 address-family ipv4 unicast
  network {own}
  maximum-paths 2
 exit-address-family
"""


def bird_session(local, remote, where):
    return bird.bgp("east", local, remote, (65002, 65001), more=f'{where} password "{SECRET}"; ttl security on;')


def signed(capture):
    """How many of the captured segments tcpdump finds to be signed with the secret, and how many there are."""
    shown = run(["tcpdump", "-n", "-vv", "-M", SECRET, "-r", capture.path]).stdout
    return shown.count("md5 valid"), capture.count()


class FrrCase(Watched):
    with_bird = True
    zebra = ""

    @classmethod
    def why_not(cls):
        return super().why_not() or frr.why_not()

    @classmethod
    def build(cls):
        super().build()
        for space in (cls.net.west_a, cls.net.west_b):
            space.ip("route", "add", "20.0.0.0/8", "via", "10.2.0.10")
        cls.net.lan_w.ip("route", "add", "local", "20.0.0.0/8", "dev", "lo")

    @staticmethod
    def watch(address):
        return {"bfd": {"peer": address, "interval": "50ms", "multiplier": 3}}

    def gateway(self):
        return Gateway(self.net.east, configuration("east", PORTS, watched_tunnels(self.watch, kernel=True), routes=[]))

    @staticmethod
    def bird_text(first):
        return (Watched.bird_text(first) + bird.routes(["10.2.0.0/24", *MANY]) +
                bird_session(far(first), near(first), "direct;"))

    def stream(self):
        return Stream(self.net, RATE, to="20.0.0.1", hosts=FLOWS, step=256)

    def setUp(self):
        super().setUp()
        self.frr = frr.Frr(self.net.east, bgpd(*(far(first) for _, first in PEERS.values())), self.zebra).start()
        self.addCleanup(self.frr.stop)
        self.wait_routes(10_000, 10_000)

    def hops(self):
        """How many routes of the kernel lead into each tunnel."""
        shown = self.net.east.ip("route", "show", "proto", "bgp").stdout
        return [shown.count("dev vti-a"), shown.count("dev vti-b")]

    def wait_routes(self, *counts):
        wait_until(lambda: self.hops() == list(counts), 60, lambda: f"{counts} routes in the kernel: {self.hops()}")


class Frr(FrrCase):
    """FRR 8.4 does not notice what the kernel takes out of next-hop objects when a link goes down, so it uses none."""

    zebra = "no zebra nexthop kernel enable"

    def test_far_end_dies_and_comes_back(self):
        """FRR writes all routes anew: into one tunnel, and into both again."""
        self.fail_over(lambda: self.peers["west-b"].stop(signal.SIGKILL), "BFD: no packet for")
        self.wait_routes(10_000, 0)
        self.come_back()
        self.wait_routes(10_000, 10_000)

    def test_sessions_are_signed(self):
        """Over the twin, with the TTL that tells that nobody has forwarded it. A kernel's refusal of what came after the
        end of a session is of neither router."""
        capture = Capture(self.net.east, "vti-a", "tcp port 179 and tcp[tcpflags] & tcp-rst == 0")
        addresses = [far(first) for _, first in PEERS.values()]
        before = {each: self.frr.wait_established(each) for each in addresses}
        self.frr.ask("clear bgp *")
        for each in addresses:
            wait_until(lambda each=each: (self.frr.established(each) or 0) > before[each], 30,
                       lambda each=each: f"{each}'s session is a new one: {self.frr.ask('show bgp summary')[1]}")
            # The kernel may have the routes of the session before yet.
            wait_until(lambda each=each: self.frr.prefixes(each) == 10_000, 30, lambda each=each: self.frr.prefixes(each))
        self.wait_routes(10_000, 10_000)
        capture.stop()
        good, total = signed(capture)
        self.assertGreater(total, 10)
        self.assertEqual(good, total)
        self.assertEqual(capture.count(f"ip[8] != 255 and {WITH_DATA}"), 0)
        self.assertGreater(capture.count(WITH_DATA), 10)


class FrrWithNextHopObjects(FrrCase):
    """Or it forgets those that it does not use before they are used again."""

    zebra = "zebra nexthop-group keep 1"

    def test_link_is_pulled_and_put_back(self):
        def link(state):
            self.net.net.ip("link", "set", "to-west-b", state)
        self.fail_over(lambda: link("down"), "BFD: no packet for")
        self.wait_routes(10_000, 0)
        self.come_back(lambda: link("up"))
        self.wait_routes(10_000, 10_000)


class Through(LabCase):
    """Sessions of others, forwarded with all that they are protected by."""

    @classmethod
    def why_not(cls):
        return super().why_not() or bird.why_not() or frr.why_not()

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.swan = west_swan(cls.net.west).start()
        # FRR asks no neighbour to whom only a default route leads.
        cls.net.lan_e.ip("route", "add", "10.2.0.0/24", "via", "10.1.0.1")
        cls.east = east_gateway(cls.net.east).start()
        cls.east.wait_up("west")

    def routers(self, hops):
        far_end = bird.Bird(self.net.lan_w, "10.0.0.2", bird.routes(MANY) +
                            bird_session("10.2.0.10", "10.1.0.10", f"multihop {hops}; passive on;"))
        near_end = frr.Frr(self.net.lan_e, bgpd("10.2.0.10", hops=hops, own="10.11.0.0/16"))
        self.addCleanup(far_end.start().stop)
        # Its socket is there before the configuration is read: a kernel without a listener refuses, and signs nothing.
        wait_until(lambda: "up and running" in far_end.ask("show", "status"), 20, "BIRD listens")
        self.addCleanup(near_end.start().stop)
        return near_end

    def test_signed_sessions(self):
        """The SYN's MSS is made to fit the tunnel, and its signature holds: it does not cover options. Two hops, espgate
        and west, cost a TTL of two."""
        capture = Capture(self.net.lan_w, "eth0", "tcp port 179")
        router = self.routers(3)
        router.wait_established("10.2.0.10")
        wait_until(lambda: router.prefixes("10.2.0.10") == len(MANY), 20, lambda: router.prefixes("10.2.0.10"))
        capture.stop()
        good, total = signed(capture)
        self.assertGreater(total, 10)
        self.assertEqual(good, total)
        self.assertGreater(capture.count("src host 10.1.0.10 and ip[8] == 253"), 5)
        self.assertEqual(capture.count("src host 10.1.0.10 and ip[8] != 253"), 0)
        shown = run(["tcpdump", "-n", "-r", capture.path, "tcp[tcpflags] == tcp-syn and src host 10.1.0.10"]).stdout
        self.assertIn("mss 1398", shown)

    def test_ttl_security_counts_this_hop(self):
        router = self.routers(2)
        wait_until(lambda: self.dropped_for_ttl() > 0, 40, "a kernel drops a segment for its TTL")
        self.assertIsNone(router.established("10.2.0.10"))

    def dropped_for_ttl(self):
        shown = [space.run("nstat", "-asz", "TcpExtTCPMinTTLDrop").stdout for space in (self.net.lan_e, self.net.lan_w)]
        return sum(int(re.search(r"TCPMinTTLDrop +(\d+)", each).group(1)) for each in shown)


if __name__ == "__main__":
    unittest.main()
