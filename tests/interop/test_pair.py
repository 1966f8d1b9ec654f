#!/usr/bin/python3
"""
espgate against espgate: raw ESP, ESP in UDP, through a NAT, and the loss of a control process.

  lan-e 10.1.0.10 --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w 10.2.0.10
        fd00:1::10    espgate                     espgate             fd00:2::10
"""
import time
import unittest

from base import (EAST, EAST6, WEST, WEST6, LabCase, east_configuration, east_gateway, east_tunnel, on_af_xdp,
                  west_gateway, west_tunnel, why_no_xdp)
from gateway import Gateway
from lab import BothEnds, Capture, Ping, ping, wait_until
from topologies import Natted, Single


# Neighbour solicitation and advertisement.
DISCOVERY = "(icmp6 and ip6[40] >= 133 and ip6[40] <= 137)"


class Pair(LabCase):
    needs_swan = False
    EAST, WEST, LENGTH = EAST, WEST, 24

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)

    def gateways(self, east, west, in_clear=None):
        """Not yet started. `east`, `west`: keys of their tunnels; `in_clear`: static routes past them."""
        ends = (east_tunnel(local=self.EAST, remote=self.WEST, **east),
                west_tunnel(local=self.WEST, remote=self.EAST, **west))
        east_routes, west_routes = in_clear or (None, None)
        return (self.stop_after(east_gateway(self.net.east, ends[0], wan=f"{self.EAST}/{self.LENGTH}",
                                             routes=east_routes)),
                self.stop_after(west_gateway(self.net.west, ends[1], wan=f"{self.WEST}/{self.LENGTH}",
                                             routes=west_routes)))

    def bring_up(self, east=None, west=None, in_clear=None):
        gateways = self.gateways(east or {}, west or {}, in_clear)
        for gateway in reversed(gateways):
            gateway.start()
        gateways[0].wait_up("west")
        gateways[1].wait_up("east")
        return gateways

    def ways(self):
        return ((self.net.lan_e, "10.2.0.10"), (self.net.lan_e, "fd00:2::10"),
                (self.net.lan_w, "10.1.0.10"), (self.net.lan_w, "fd00:1::10"))

    def check_traffic(self):
        for host, destination in self.ways():
            wait_until(lambda host=host, destination=destination: ping(host, destination), 20,
                       f"{host.short} to {destination}")

    def test_raw_esp(self):
        self.bring_up(west={"start": "wait"})
        capture = BothEnds((self.net.east, "wan"), (self.net.west, "wan"))
        self.check_traffic()
        capture.stop()
        self.assertGreaterEqual(capture.count("esp"), 20, "protocol 50 on the wire")
        self.assertEqual(capture.count(f"not esp and not udp port 500 and not arp and not {DISCOVERY}"), 0,
                         "and nothing else")

    def test_udp_encapsulation(self):
        self.bring_up(east={"encapsulation": "udp"}, west={"encapsulation": "udp", "start": "wait"})
        capture = BothEnds((self.net.east, "wan"), (self.net.west, "wan"))
        self.check_traffic()
        capture.stop()
        self.assertGreaterEqual(capture.count("udp port 4500"), 20)
        self.assertEqual(capture.count("esp"), 0)

    def test_extended_sequence_numbers(self):
        east, west = self.bring_up(east={"esp_more": {"esn": "yes"}},
                                   west={"esp_more": {"esn": "either"}, "start": "wait"})
        self.assertEqual([row["esn"] for gateway in (east, west) for row in gateway.json("show", "ipsec", "sa")],
                         [True, True])
        self.check_traffic()

    # In transport mode only what west itself says to east is in the tunnel. It is made to say that a packet, which
    # seems to come from east, has lived too long.
    def test_transport_mode(self):
        v6 = ":" in self.EAST
        beyond, network = ("fd00:2::10", "fd00:{}::/64") if v6 else ("10.2.0.10", "10.{}.0.0/24")
        east, west = self.bring_up(east={"mode": "transport"}, west={"mode": "transport", "start": "wait"},
                                   in_clear=([{"to": network.format(2), "via": self.WEST}],
                                             [{"to": network.format(1), "via": self.EAST}]))
        self.assertEqual([row["mode"] for gateway in (east, west) for row in gateway.json("show", "ipsec", "sa")],
                         ["transport", "transport"])
        wait_until(lambda: ping(self.net.lan_e, beyond), 20, "what passes through both gateways goes in clear")
        alias = f"{self.EAST}/{128 if v6 else 32}"
        self.net.lan_e.ip("addr", "add", alias, "dev", "lo")
        self.addCleanup(self.net.lan_e.ip, "addr", "delete", alias, "dev", "lo")
        capture = BothEnds((self.net.east, "wan"), (self.net.west, "wan"))
        self.net.lan_e.run("ping", "-n", "-c", "5", "-i", "0.3", "-W", "1", "-t", "2", "-I", self.EAST, beyond,
                           check=False)
        self.net.lan_e.run("ping", "-n", "-c", "3", "-i", "0.3", "-W", "1", "-I", self.EAST, self.WEST, check=False)
        capture.stop()
        self.assertGreaterEqual(capture.count("esp"), 4)
        self.assertEqual(capture.count("icmp6 and ip6[40] = 3" if v6 else "icmp[0] = 11"), 0, "nothing in clear")
        self.assertEqual(capture.count("icmp6 and ip6[40] = 129" if v6 else "icmp[0] = 0"), 0, "clear is not answered")
        wait_until(lambda: east.json("show", "ipsec", "sa")[0]["inbound_packets"] >= 4, 20, "east opened them")
        wait_until(lambda: west.drops().get("unprotected", 0) >= 3, 10, lambda: str(west.drops()))

    # Both begin at once: what is left in the end is one tunnel that works (RFC 7296 section 2.8 is about rekeys; two
    # initial exchanges may both stand, and traffic must flow on either).
    def test_both_initiate(self):
        self.bring_up()
        self.check_traffic()
        time.sleep(3)
        for host, destination in self.ways():
            self.assertTrue(ping(host, destination), f"{host.short} to {destination}")

    def test_rekey_from_either_side(self):
        east, west = self.bring_up(west={"start": "wait"})
        flow, back = Ping(self.net.lan_e, "10.2.0.10"), Ping(self.net.lan_w, "10.1.0.10")
        time.sleep(1)
        for gateway, name in ((east, "west"), (west, "east"), (east, "west")):
            before = {row["inbound_spi"] for row in gateway.json("show", "ipsec", "sa")}
            gateway.shell("rekey", "tunnel", name)
            wait_until(lambda: not before & {row["inbound_spi"] for row in gateway.json("show", "ipsec", "sa")}, 30,
                       "the old child SA is gone")
        for sent, missing in (flow.stop(), back.stop()):
            self.assertEqual(missing, [], f"lost of {sent} pings")


class OverIpv6(Pair):
    """The same with IPv6 outside: east 2001:db8::1, west 2001:db8::2."""

    EAST, WEST, LENGTH = EAST6, WEST6, 64


class ControlDeath(LabCase):
    """kill -9 of espgate-control: the dataplane goes on, and a new control process takes the tunnels over."""

    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)

    def test_no_ping_is_lost(self):
        west = self.stop_after(west_gateway(self.net.west, west_tunnel(start="wait"))).start()
        east = self.stop_after(east_gateway(self.net.east)).start()
        east.wait_up("west")
        west.wait_up("east")
        flow, back = Ping(self.net.lan_e, "10.2.0.10"), Ping(self.net.lan_w, "10.1.0.10")
        time.sleep(1)
        east.kill("espgate-control")
        wait_until(lambda: east.json("show", "ike", "sa"), 20, "a new IKE SA")
        east.wait_up("west", seconds=30)
        time.sleep(12)  # SAs of the old one are removed meanwhile
        for sent, missing in (flow.stop(), back.stop()):
            self.assertGreater(sent, 500)
            self.assertEqual(missing, [], f"lost of {sent} pings")


class ThroughNat(LabCase):
    """
      lan-e --- east 10.9.0.1 --- nat (masquerade) 192.0.2.1 --- 192.0.2.2 west --- lan-w
    """
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Natted(cls.lab, dpdk_west=True)

    def bring_up(self, east_device=None):
        west = self.stop_after(west_gateway(self.net.west, west_tunnel(start="wait"))).start()
        routes = [{"to": "0.0.0.0/0", "via": "10.9.0.254"}, {"to": "10.2.0.0/24", "tunnel": "west"},
                  {"to": "fd00:2::/64", "tunnel": "west"}]
        config = east_configuration(east_tunnel(local="10.9.0.1"), routes=routes, wan="10.9.0.1/24")
        east = self.stop_after(Gateway(self.net.east, east_device(config, "wan") if east_device else config)).start()
        east.wait_up("west")
        west.wait_up("east")
        return east, west

    def test_nat_is_detected_and_passed(self):
        east, west = self.bring_up()
        capture = Capture(self.net.nat, "out")
        for host, destination in ((self.net.lan_e, "10.2.0.10"), (self.net.lan_e, "fd00:2::10"),
                                  (self.net.lan_w, "10.1.0.10")):
            wait_until(lambda host=host, destination=destination: ping(host, destination), 20,
                       f"{host.short} to {destination}")
        capture.stop()
        self.assertGreaterEqual(capture.count("udp port 4500"), 18)
        self.assertEqual(capture.count("esp"), 0)
        self.assertTrue(east.json("show", "ike", "sa")[0]["nat_local"])
        self.assertTrue(west.json("show", "ike", "sa")[0]["nat_remote"])

    # The NAT forgets its mapping in the middle of traffic, and gives east another port: ESP alone tells west.
    def test_the_mapping_changes(self):
        _, west = self.bring_up()
        spis = {row["inbound_spi"] for row in west.json("show", "ipsec", "sa")}
        seen = {west.json("show", "ike", "sa")[0]["remote"]}
        flow, back = Ping(self.net.lan_e, "10.2.0.10"), Ping(self.net.lan_w, "10.1.0.10")
        time.sleep(1)
        for _ in range(3):
            self.net.nat.run("sh", "-c", "ip address delete 192.0.2.1/24 dev out; ip address add 192.0.2.1/24 dev out")
            wait_until(lambda: west.json("show", "ike", "sa")[0]["remote"] not in seen, 20, "west follows")
            seen.add(west.json("show", "ike", "sa")[0]["remote"])
            time.sleep(1)
        for sent, missing in (flow.stop(), back.stop()):
            self.assertGreater(sent, 200)
            self.assertLess(len(missing), 3 * 50, f"lost of {sent} pings: more than while the NAT had no address")
        self.assertEqual({row["inbound_spi"] for row in west.json("show", "ipsec", "sa")}, spis, "and nothing was rekeyed")

    # The path to east has a smaller MTU than west knows: the router cuts ESP in UDP, whose outer header has no DF.
    @unittest.skipIf(why_no_xdp(), why_no_xdp())
    def test_a_router_cuts_outer_packets(self):
        self.net.nat.ip("route", "add", "10.9.0.1/32", "dev", "inside", "mtu", "lock", "600")
        self.addCleanup(self.net.nat.ip, "route", "delete", "10.9.0.1/32", "dev", "inside")
        east, _ = self.bring_up(on_af_xdp)
        capture = Capture(self.net.nat, "inside", "dst host 10.9.0.1 and ip[6:2] & 0x3fff != 0")
        wait_until(lambda: ping(self.net.lan_w, "10.1.0.10", size=1300, count=10), 30, "large pings")
        capture.stop()
        self.assertGreaterEqual(capture.count(), 30)
        wait_until(lambda: east.json("show", "version")["reassembled"] >= 10, 10, "they are counted")
        self.assertEqual([name for name in east.drops() if "fragment" in name or "reassembly" in name], [])


if __name__ == "__main__":
    unittest.main()
