#!/usr/bin/python3
"""
IPSec over Oracle's FastConnect, both types of circuit: conf/examples/fastconnect-*.yaml with BIRD beside espgate, at
the cloud's edge and at its head-end. The tunnel's ends are loopbacks, each of which the other side learns by BGP.

  lan 10.1.0.10 --- cpe 10.255.0.1 ---fc--- 10.255.0.2 drg 10.98.0.1 --- 10.98.0.2 head 10.2.0.1 --- 10.2.0.10 vcn
                    espgate, BIRD                      BIRD 10.3.0.1     strongSwan, BIRD
                    lo1 10.254.0.1                           |           lo 10.99.0.1
                    vti1 169.254.1.1                  clear 10.3.0.10    169.254.1.2

BGP: cpe AS 65001 and drg AS 31898 over the line, cpe and head (AS 31899) inside the tunnel.
"""
import unittest

import bird
import swan
from base import LabCase
from gateway import Example
from lab import Capture, Lab, ping, wait_until

CPE, DRG = "10.255.0.1", "10.255.0.2"
OWN_END, HEAD = "10.254.0.1", "10.99.0.1"
NEAR, FAR = "169.254.1.1", "169.254.1.2"
PROTECTED, CLEAR = "10.2.0.10", "10.3.0.10"
SECRET = "the secret of oci"
# What keeps the line up, and what a head-end says while nobody listens to IKE there. All else is cleartext.
ALLOWED = ("esp or arp or icmp6 or tcp port 179 or (udp and (port 500 or port 4500)) or "
           "(icmp[icmptype] == icmp-unreach and src 10.99.0.1)")


class FastConnectCase(LabCase):
    example = None
    from_drg = ()  # what BGP tells over the line
    from_head = ()  # and inside the tunnel
    to_drg = ()

    @classmethod
    def why_not(cls):
        return super().why_not() or bird.why_not()

    @classmethod
    def build(cls):
        cls.lay_out()
        cls.head_swan = swan.Swan(cls.head, {"cpe": swan.connection(HEAD, OWN_END, HEAD, OWN_END,
                                                                     esp="aes256gcm16-modp1536")},
                                  [(HEAD, OWN_END, SECRET)]).start()
        cls.gateway = Example(cls.cpe, cls.example, cls.instead(), {"oci.psk": SECRET}).start()
        edge = bird.routes(cls.from_drg) + bird.bgp("cpe", DRG, CPE, (31898, 65001))
        cls.edge = bird.Bird(cls.drg, "10.255.0.2", edge, learns=True).start()
        # A careless cloud: inside the tunnel it tells the way to the tunnel's own end.
        loop = f"protocol static loop {{ disabled; ipv4; route {HEAD}/32 blackhole; }}\n"
        head = bird.routes(cls.from_head) + loop + bird.bgp("cpe", FAR, NEAR, (31899, 65001), more="multihop 2;")
        cls.inside = bird.Bird(cls.head, "10.99.0.1", head).start()
        cls.start_own()
        cls.gateway.wait_up("oci", seconds=90)  # BGP first, and then it is tried at longer and longer intervals
        wait_until(lambda: ping(cls.lan, PROTECTED, count=1, seconds=1), 60,
                   lambda: f"the protected network is learned: {cls.cpe.ip('route').stdout}{cls.gateway.drops()}")

    @classmethod
    def lay_out(cls):
        cls.lan, cls.cpe, cls.drg, cls.head, cls.vcn, cls.clear = (
            cls.lab.namespace(name, forwarding=name in ("drg", "head"))
            for name in ("lan", "cpe", "drg", "head", "vcn", "clear"))
        cls.lab.link(cls.lan, "eth0", cls.cpe, "lan")
        cls.lab.link(cls.cpe, "wan", cls.drg, "fc")
        cls.lab.link(cls.drg, "head", cls.head, "drg")
        cls.lab.link(cls.vcn, "eth0", cls.head, "vcn")
        cls.lab.link(cls.clear, "eth0", cls.drg, "clear")
        Lab.for_dpdk(cls.cpe, "lan", "wan")
        for space, interface, address, way in ((cls.lan, "eth0", "10.1.0.10/24", "10.1.0.1"),
                                               (cls.vcn, "eth0", PROTECTED + "/24", "10.2.0.1"),
                                               (cls.clear, "eth0", CLEAR + "/24", "10.3.0.1")):
            space.address(interface, address)
            space.ip("route", "add", "default", "via", way)
        cls.drg.address("fc", DRG + "/30")
        cls.drg.address("head", "10.98.0.1/24")
        cls.drg.address("clear", "10.3.0.1/24")
        cls.drg.ip("route", "add", HEAD, "via", "10.98.0.2")
        cls.head.address("drg", "10.98.0.2/24")
        cls.head.ip("route", "add", OWN_END, "via", "10.98.0.1")
        cls.head.address("lo", HEAD + "/32")
        cls.head.address("vcn", "10.2.0.1/24", FAR + "/32")

    @classmethod
    def instead(cls):
        return {"name: fastconnect\n": "name: fastconnect\ndataplane: {hugepages: never}\n"}

    @classmethod
    def start_own(cls):
        raise NotImplementedError

    def crossed(self, capture):
        """What went over the line beside what keeps it up."""
        capture.stop()
        return capture.count(f"not ({ALLOWED})")


class EncryptedOnly(FastConnectCase):
    example = "fastconnect-encrypted-only"
    from_drg = ("10.99.0.1/32", "10.3.0.0/24")
    from_head = ("10.2.0.0/24",)

    @classmethod
    def lay_out(cls):
        super().lay_out()
        cls.line = cls.lab.namespace("line")  # where the twin of the port is

    @classmethod
    def instead(cls):
        return {**super().instead(), "namespace: fc": f"namespace: {cls.line.name}"}

    @classmethod
    def start_own(cls):
        over = bird.routes([OWN_END + "/32"]) + bird.bgp("drg", CPE, DRG, (65001, 31898))
        cls.over = bird.Bird(cls.line, "10.255.0.1", over, learns=True).start()
        within = bird.routes(["10.1.0.0/24"]) + bird.bgp("head", NEAR, FAR, (65001, 31899), more="direct;")
        cls.within = bird.Bird(cls.cpe, "10.254.0.1", within, learns=True).start()

    def test_all_that_leaves_is_encrypted(self):
        wire = Capture(self.drg, "fc", "")
        self.assertTrue(ping(self.lan, PROTECTED, count=5))
        self.assertTrue(ping(self.vcn, "10.1.0.10", count=5))
        ping(self.lan, CLEAR, count=2, seconds=2)  # known on the line's table alone
        self.assertEqual(self.crossed(wire), 0)
        self.assertGreaterEqual(wire.count("esp or udp port 4500"), 20)

    def test_nothing_leaves_in_clear_while_the_tunnel_is_down(self):
        wire = Capture(self.drg, "fc", "")
        self.addCleanup(self.gateway.wait_up, "oci", seconds=90)
        self.addCleanup(self.head_swan.start)
        self.head_swan.stop()
        wait_until(lambda: not self.gateway.up("oci"), 30, "the tunnel is down")
        self.assertFalse(ping(self.lan, PROTECTED, count=3, seconds=3))
        self.assertEqual(self.crossed(wire), 0)

    def test_what_comes_in_clear_is_dropped(self):
        """The edge knows the way to our LAN, as a careless or hostile one might."""
        self.drg.ip("route", "add", "10.1.0.0/24", "via", CPE)
        self.addCleanup(self.drg.ip, "route", "del", "10.1.0.0/24")
        before = self.gateway.drops().get("cleartext-in", 0)
        inside = Capture(self.lan, "eth0", f"host {CLEAR}")
        self.assertFalse(ping(self.clear, "10.1.0.10", count=3, seconds=3))
        inside.stop()
        self.assertEqual(inside.count(), 0)
        wait_until(lambda: self.gateway.drops().get("cleartext-in", 0) - before >= 3, 5, "the drops are counted")

    def test_bgp_on_the_line_goes_on(self):
        since = self.over.wait_established("drg")
        self.assertTrue(ping(self.lan, PROTECTED, count=3))
        self.assertAlmostEqual(self.over.established("drg"), since, delta=0.1)


class AllTraffic(FastConnectCase):
    example = "fastconnect-all-traffic"
    from_drg = ("10.99.0.0/24", "10.3.0.0/24")
    from_head = ("10.2.0.0/24",)

    @classmethod
    def start_own(cls):
        own = (bird.routes([OWN_END + "/32", "10.1.0.0/24"]) + bird.bgp("drg", CPE, DRG, (65001, 31898)) +
               bird.bgp("head", NEAR, FAR, (65001, 31899), more="direct;"))
        cls.own = bird.Bird(cls.cpe, "10.255.0.1", own, learns=True).start()

    def test_one_network_in_clear_and_one_encrypted(self):
        wait_until(lambda: ping(self.lan, CLEAR, count=1, seconds=1), 30, "the clear network is learned")
        wire = Capture(self.drg, "fc", "")
        self.assertTrue(ping(self.lan, CLEAR, count=5))
        self.assertTrue(ping(self.lan, PROTECTED, count=5))
        self.assertTrue(ping(self.clear, "10.1.0.10", count=5))
        self.assertTrue(ping(self.vcn, "10.1.0.10", count=5))
        self.assertGreaterEqual(self.crossed(wire), 20)
        self.assertEqual(wire.count(f"icmp and host {CLEAR}"), wire.count(f"not ({ALLOWED})"), "nothing else in clear")
        self.assertEqual(wire.count("host 10.2.0.10"), 0)

    def held(self):
        return {row["destination"]: row["held"] for row in self.gateway.json("show", "routes") if row.get("held")}

    def test_the_tunnel_is_not_the_way_to_its_own_end(self):
        """The kernel believes what it is told; espgate does not, and says so. The tunnel stays, and so does its traffic."""
        self.addCleanup(self.inside.ask, "disable", "loop")
        before = self.gateway.tunnels()["oci"]["since_seconds"]
        self.inside.ask("enable", "loop")
        wait_until(lambda: self.held(), 10, "a route is held back")
        self.assertEqual(list(self.held()), [f"{HEAD}/32"])
        self.assertIn(f"{HEAD}, the far end of tunnel oci", self.held()[f"{HEAD}/32"])
        self.assertIn("held back: it would lead to", self.gateway.shell("show", "routes").stdout)
        self.assertIn("dev vti1", self.cpe.ip("route", "get", HEAD).stdout)
        self.assertTrue(ping(self.lan, PROTECTED, count=10))
        self.assertGreaterEqual(self.gateway.tunnels()["oci"]["since_seconds"], before, "it was up all the while")
        self.inside.ask("disable", "loop")
        wait_until(lambda: not self.held(), 10, "it is gone")
        self.assertTrue(ping(self.lan, PROTECTED, count=3))


del FastConnectCase

if __name__ == "__main__":
    unittest.main()
