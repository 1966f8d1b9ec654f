#!/usr/bin/python3
"""
Sub-interfaces: a LAN on VLAN 10, and the tunnel between the gateways on VLAN 100.

  lan-e 10.1.0.10 --- switch ---[VLAN 10]--- east 192.0.2.1 ---wan [VLAN 100]--- 192.0.2.2 west --- lan-w 10.2.0.10
        fd00:1::10                           espgate                                espgate            fd00:2::10
"""
import os
import unittest

from base import EAST, EAST_LAN, WEST, WEST_LAN, LabCase, east_tunnel, to_lan, west_tunnel
from gateway import Gateway, configuration
from lab import BothEnds, Lab, ping, wait_until
from topologies import address_host, lan

SWITCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vlan_switch.py")


def on_vlans(config, *sub_interfaces):
    """`sub_interfaces`: (name, parent, vlan, addresses) each."""
    more = [{"name": name, "parent": parent, "vlan": vlan, "addresses": addresses}
            for name, parent, vlan, addresses in sub_interfaces]
    return {**config, "ports": config["ports"] + more}


class Vlan(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.east_space, cls.west_space = cls.lab.namespace("east"), cls.lab.namespace("west")
        cls.switch, cls.lan_e = cls.lab.namespace("switch"), cls.lab.namespace("lan-e")
        cls.lab.link(cls.lan_e, "eth0", cls.switch, "access")
        cls.lab.link(cls.switch, "trunk", cls.east_space, "lan")
        cls.lab.link(cls.east_space, "wan", cls.west_space, "wan")
        cls.lan_w = lan(cls.lab, "lan-w", cls.west_space, 2)
        address_host(cls.lan_e, "eth0", 1)
        Lab.for_dpdk(cls.switch, "access", "trunk")
        Lab.for_dpdk(cls.east_space, "lan", "wan")
        Lab.for_dpdk(cls.west_space, "lan", "wan")
        switching = cls.switch.start("switch", "/usr/bin/python3", SWITCH, "access", "trunk", "10")
        wait_until(lambda: "switching" in switching.output(), 30, "the switch runs")
        east = on_vlans(configuration("east", [("lan", "lan", []), ("wan", "wan", [])], [east_tunnel()],
                                      to_lan(2, tunnel="west")),
                        ("lan10", "lan", 10, EAST_LAN), ("wan100", "wan", 100, [EAST + "/24"]))
        west = on_vlans(configuration("west", [("lan", "lan", WEST_LAN), ("wan", "wan", [])],
                                      [west_tunnel(start="wait")], to_lan(1, tunnel="east"),
                                      **{"main-cpu": 1, "workers": [0]}),
                        ("wan100", "wan", 100, [WEST + "/24"]))
        Gateway(cls.west_space, west).start()
        cls.east = Gateway(cls.east_space, east).start()
        cls.east.wait_up("west")

    def send(self, *layers):
        """A frame by scapy onto the trunk, to east's MAC address."""
        mac = {row["name"]: row for row in self.east.json("show", "interfaces")}["lan"]["mac"]
        code = f"from scapy.all import *; sendp(Ether(dst='{mac}')/{'/'.join(layers)}, iface='trunk', verbose=0)"
        self.switch.run("/usr/bin/python3", "-c", code)

    def test_arp_neighbour_discovery_and_ping_of_the_gateway(self):
        for destination in ("10.1.0.1", "fd00:1::1"):
            wait_until(lambda destination=destination: ping(self.lan_e, destination), 20, destination)

    def test_lan_to_lan_and_only_tagged_frames_between_the_gateways(self):
        capture = BothEnds((self.east_space, "wan"), (self.west_space, "wan"))
        for destination in ("10.2.0.10", "fd00:2::10"):
            for size in (56, 1350):
                wait_until(lambda destination=destination, size=size: ping(self.lan_e, destination, size=size), 20,
                           f"{size} bytes to {destination}")
        capture.stop()
        self.assertGreaterEqual(capture.count("vlan", "100", "and", "esp"), 24)
        self.assertEqual(capture.count("not", "vlan"), 0)

    def test_counters(self):
        def shown():
            return {row["name"]: row for row in self.east.json("show", "interfaces")}
        before = shown()
        wait_until(lambda: ping(self.lan_e, "10.2.0.10", count=5), 20, "five pings")

        def missing():
            now = shown()
            return [(name, way) for name in ("lan", "lan10", "wan", "wan100") for way in ("rx_packets", "tx_packets")
                    if now[name][way] - before[name][way] < 5]
        wait_until(lambda: not missing(), 10, lambda: f"these count the pings: {missing()}")
        self.assertEqual(shown()["wan100"]["device"], "VLAN 100 of wan")

    def test_frames_of_other_networks(self):
        ip = "IP(src='10.1.0.10',dst='10.2.0.10')/UDP()"
        for layers, reason in ((["Dot1Q(vlan=11)", ip], "unknown-vlan"),
                               (["Dot1Q(vlan=10)", "Dot1Q(vlan=10)", ip], "stacked-vlan"),
                               (["Dot1AD(vlan=10)", "Dot1Q(vlan=10)", ip], "stacked-vlan")):
            before = self.east.drops().get(reason, 0)
            self.send(*layers)
            wait_until(lambda reason=reason, before=before: self.east.drops().get(reason, 0) > before, 10,
                       lambda reason=reason: f"{reason} counts {layers}: {self.east.drops()}")


if __name__ == "__main__":
    unittest.main()
