#!/usr/bin/python3
"""
`fragmentation: after`: ESP packets in fragments, over links that carry 1500 bytes.

  lan-e 10.1.0.10 --- east 192.0.2.1 --- wire --- 192.0.2.2 west --- lan-w 10.2.0.10
        fd00:1::10    espgate            (bridge)                            fd00:2::10

West is strongSwan, whose kernel puts them together, or espgate. The LANs' links carry more than the wire, so that hosts
send large packets whole. Espgate's ports on the wire are af_xdp where its own reassembly is to be seen at work over
IPv4, which for af_packet the kernel would do; buffers that af_xdp can have hold 2900 bytes.
"""
import unittest

from base import (EAST, EAST6, WEST, WEST6, LabCase, east_configuration, east_tunnel, on_af_xdp, west_configuration,
                  west_swan, west_tunnel, why_no_xdp)
from gateway import Gateway
from lab import Capture, Lab, ping, told_mtu, wait_until
from topologies import Single, east, lan

ESP4, ESP6 = "ip proto 50 and ip[6:2] & 0x3fff != 0", "ip6 proto 44 and ip6[40] == 50"
UDP4, UDP6 = "ip proto 17 and ip[6:2] & 0x3fff != 0", "ip6 proto 44 and ip6[40] == 17"


def with_lan_mtu(config, mtu):
    return {**config, "ports": [{**port, "mtu": mtu} if port["name"] == "lan" else port for port in config["ports"]]}


def raise_mtu(mtu, *ends):
    for space, interface in ends:
        space.ip("link", "set", interface, "mtu", str(mtu))


class Fragments(LabCase):
    def check_wire(self, capture, kind, fewest):
        capture.stop()
        self.assertGreaterEqual(capture.count(kind), fewest)
        self.assertLessEqual(max(capture.lengths()), 1514)

    def check_counters(self, sender, tunnel, fewest):
        row = sender.settled_tunnels()[tunnel]
        self.assertGreaterEqual(row["cut_after"], fewest)
        self.assertEqual(row["cut_before"], 0)

    def check_drops(self, *gateways):
        for gateway in gateways:
            self.assertEqual([name for name in gateway.drops() if "reassembly" in name or "frag" in name], [])


class TwoOfUs(Fragments):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.lan_e, cls.east = east(cls.lab)
        cls.wire, cls.west = cls.lab.namespace("wire"), cls.lab.namespace("west")
        for gateway in (cls.east, cls.west):
            cls.lab.link(gateway, "wan", cls.wire, f"to-{gateway.short}")
        cls.lan_w = lan(cls.lab, "lan-w", cls.west, 2)
        Lab.for_dpdk(cls.east, "wan")
        Lab.for_dpdk(cls.west, "wan", "lan")
        cls.lab.bridge(cls.wire, "br0", "to-east", "to-west")
        Lab.for_dpdk(cls.wire, "br0", "to-east", "to-west")

    def gateways(self, ends, length, mtu, device, interface_mtu=None):
        raise_mtu(mtu, (self.lan_e, "eth0"), (self.east, "lan"), (self.lan_w, "eth0"), (self.west, "lan"))
        more = {"fragmentation": "after", "interface": {"mtu": interface_mtu or mtu}}
        east_one = device(east_configuration(east_tunnel(local=ends[0], remote=ends[1], **more), wan=ends[0] + length))
        west_one = device(west_configuration(west_tunnel(local=ends[1], remote=ends[0], start="wait", **more),
                                             wan=ends[1] + length))
        gateways = [self.stop_after(Gateway(space, with_lan_mtu(config, mtu)))
                    for space, config in ((self.west, west_one), (self.east, east_one))]
        for gateway in gateways:
            gateway.start()
        gateways[1].wait_up("west")
        gateways[0].wait_up("east")
        return gateways[1], gateways[0]

    def through(self, ends, length, mtu, sizes, kind, device):
        capture = Capture(self.wire, "to-west")
        gateways = self.gateways(ends, length, mtu, device)
        for size in sizes:
            for host, other in ((self.lan_e, 2), (self.lan_w, 1)):
                for destination, headers in ((f"10.{other}.0.10", 28), (f"fd00:{other}::10", 48)):
                    wait_until(lambda: ping(host, destination, size=size - headers, dont_fragment=True), 20,
                               f"{size} bytes from {host.short} to {destination}")
        self.check_wire(capture, kind, 48 * len(sizes))
        for gateway, tunnel in zip(gateways, ("west", "east")):
            self.check_counters(gateway, tunnel, 12 * len(sizes))
            self.assertGreaterEqual(gateway.json("show", "version")["reassembled"], 12 * len(sizes))
        self.check_drops(*gateways)

    @unittest.skipIf(why_no_xdp(), why_no_xdp())
    def test_over_ipv4(self):
        self.through((EAST, WEST), "/24", 2900, (1501, 2900), ESP4, lambda config: on_af_xdp(config, "wan"))

    @unittest.skipIf(why_no_xdp(), why_no_xdp())
    def test_over_ipv6(self):
        self.through((EAST6, WEST6), "/64", 2900, (1501, 2900), ESP6, lambda config: on_af_xdp(config, "wan"))

    # The kernel leaves IPv6 fragments as they are, so af_packet, which has larger buffers, shows our own reassembly.
    def test_8000_bytes_over_ipv6(self):
        self.through((EAST6, WEST6), "/64", 9000, (3000, 8000), ESP6, lambda config: config)

    def test_what_is_too_large_for_the_interface(self):
        self.gateways((EAST, WEST), "/24", 2900, lambda config: config, interface_mtu=2500)
        self.assertEqual(told_mtu(self.lan_e, "10.2.0.10", 2800), 2500)
        self.assertEqual(told_mtu(self.lan_e, "fd00:2::10", 2800), 2500)


class StrongSwan(Fragments):
    """Its ESP is in UDP."""

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.net.west.address("wan", WEST6 + "/64")

    def through(self, ends, length, kind, lan_mtu, device=lambda config: config):
        raise_mtu(lan_mtu, (self.net.lan_e, "eth0"), (self.net.east, "lan"))
        tunnel = east_tunnel(local=ends[0], remote=ends[1], fragmentation="after")
        config = device(east_configuration(tunnel, wan=ends[0] + length))
        gateway = self.stop_after(Gateway(self.net.east, with_lan_mtu(config, lan_mtu)))
        swan = self.stop_after(west_swan(self.net.west, local=ends[1], remote=ends[0]))
        swan.start()
        capture = Capture(self.net.west, "wan", "src host " + ends[0])
        gateway.start()
        gateway.wait_up("west")
        for size in (3000, 8000):
            for destination, headers in (("10.2.0.10", 28), ("fd00:2::10", 48)):
                wait_until(lambda: ping(self.net.lan_e, destination, size=size - headers), 20, f"{size} to {destination}")
        # The host of a LAN of 1500 bytes makes 3 + 6 packets of these, most of which need two fragments; one of more
        # sends them whole.
        self.check_wire(capture, kind, 12)
        self.check_counters(gateway, "west", 6)
        self.check_drops(gateway)

    # The host's fragments stay what they are on af_xdp.
    @unittest.skipIf(why_no_xdp(), why_no_xdp())
    def test_over_ipv4(self):
        self.through((EAST, WEST), "/24", UDP4, 1500, lambda config: on_af_xdp(config, "lan"))

    @unittest.skipIf(why_no_xdp(), why_no_xdp())
    def test_over_ipv6(self):
        self.through((EAST6, WEST6), "/64", UDP6, 1500, lambda config: on_af_xdp(config, "lan"))

    def test_whole_8000_bytes_over_ipv4(self):
        self.through((EAST, WEST), "/24", UDP4, 9000)

    def test_whole_8000_bytes_over_ipv6(self):
        self.through((EAST6, WEST6), "/64", UDP6, 9000)


if __name__ == "__main__":
    unittest.main()
