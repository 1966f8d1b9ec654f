#!/usr/bin/python3
"""
The kernel's twins of a port and of a tunnel's interface: `ip`, ping, TCP and tcpdump as on any interface; and their lives.

  lan-e 10.1.0.10 --- east 192.0.2.1 --- 192.0.2.2 west --- 10.2.0.10 lan-w
        fd00:1::10    espgate                      strongSwan   fd00:2::10
                      vti-w 169.254.1.1 ======== 169.254.1.2
"""
import json
import signal
import time
import unittest

from base import LabCase, east_configuration, east_tunnel, west_swan
from gateway import Gateway
from lab import Capture, bulk_tcp, ping, wait_until
from topologies import Single

NEAR, FAR = "169.254.1.1", "169.254.1.2"
NEAR6, FAR6 = "fd00:a::1", "fd00:a::2"


def twin_configuration():
    tunnel = east_tunnel(interface={"name": "vti-w", "addresses": [NEAR + "/30", NEAR6 + "/64"], "kernel": True})
    config = east_configuration(tunnel)
    config["ports"][0]["kernel"] = "esp-lan"
    return config


class Twins(LabCase):
    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.net.west.address("lan", FAR + "/32", FAR6 + "/128")
        cls.swan = west_swan(cls.net.west).start()

    def setUp(self):
        self.east = self.stop_after(Gateway(self.net.east, twin_configuration())).start()
        self.east.wait_up("west")
        wait_until(lambda: "LOWER_UP" in self.link("vti-w")["flags"], 20, "the twin has a carrier")

    def names(self, flag=None):
        """Of the interfaces, or of those with this flag."""
        return {each["ifname"] for each in json.loads(self.net.east.ip("-json", "link").stdout)
                if flag is None or flag in each["flags"]}

    def link(self, name):
        return json.loads(self.net.east.ip("-json", "addr", "show", "dev", name).stdout)[0]

    def watch(self):
        """What the kernel tells of the twin from now on."""
        watch = self.net.east.start(f"ip-monitor-{time.monotonic_ns()}", "ip", "monitor", "link", "dev", "vti-w")
        self.addCleanup(watch.stop)

        def listens():
            with open(f"/proc/{watch.pid}/net/netlink", encoding="ascii") as sockets:
                rows = [line.split() for line in sockets]
            return any(row[2] == str(watch.pid) and int(row[3], 16) for row in rows[1:])  # which groups it is in
        wait_until(listens, 20, "ip monitor listens")
        return watch

    def check_once(self, packets, fewest):
        """That each was seen, and once. A late answer makes ping ask once more."""
        self.assertGreaterEqual(len(packets), fewest)
        self.assertEqual(len(packets), len(set(packets)), packets)

    def test_the_kernel_sees_the_tunnel(self):
        """Addresses, MTU, counters; ping out of it, over IPv4 and IPv6, and tcpdump."""
        shown = self.link("vti-w")
        self.assertEqual({each["local"] for each in shown["addr_info"]}, {NEAR, NEAR6})
        self.assertEqual(shown["mtu"], 1438)
        capture = Capture(self.net.east, "vti-w", "icmp")
        for far in (FAR, FAR6):
            self.assertTrue(ping(self.net.east, far), far)
        capture.stop()
        self.check_once(capture.packets(), 6)
        counted = json.loads(self.net.east.ip("-json", "-statistics", "link", "show", "vti-w").stdout)[0]["stats64"]
        self.assertGreaterEqual(counted["rx"]["packets"], 6)
        self.assertGreaterEqual(counted["tx"]["packets"], 6)

    def test_tcp_between_the_kernel_and_a_host_behind_the_peer(self):
        bulk_tcp(self.net.lan_w, self.net.east, NEAR, "20M")
        bulk_tcp(self.net.lan_w, self.net.east, NEAR, "20M", "-R")

    def test_configured_routes_are_the_kernels(self):
        """What is behind the tunnel is reached without a route by hand; also when the twin was down in between."""
        def shown():
            return "".join(self.net.east.ip(family, "route", "show", "proto", "229").stdout for family in ("-4", "-6"))

        def all_is_reached():
            for route in ("10.2.0.0/24 dev vti-w metric 10", "fd00:2::/64 dev vti-w metric 10"):
                wait_until(lambda route=route: route in shown(), 10, lambda route=route: f"{route}: {shown()}")
            for far in ("10.2.0.10", "fd00:2::10"):
                self.assertTrue(ping(self.net.east, far), far)
        all_is_reached()
        self.net.east.ip("link", "set", "vti-w", "down")
        self.assertNotIn("vti-w", shown())
        self.net.east.ip("link", "set", "vti-w", "up")
        all_is_reached()
        self.assertEqual({each["local"] for each in self.link("vti-w")["addr_info"]}, {NEAR, NEAR6})

    def test_the_port(self):
        """TCP with the gateway's own address; and the kernel below the port, which has the address now, keeps still."""
        capture = Capture(self.net.lan_e, "eth0", "arp or icmp")
        self.net.lan_e.ip("neigh", "flush", "all")
        self.assertTrue(ping(self.net.lan_e, "10.1.0.1"))
        capture.stop()
        self.check_once(capture.packets("icmp[icmptype] == icmp-echoreply"), 3)
        self.assertLessEqual(capture.count("arp[6:2] == 2 and arp src host 10.1.0.1"), capture.count("arp[6:2] == 1"))
        bulk_tcp(self.net.lan_e, self.net.east, "10.1.0.1", "20M")

    def test_mirrors(self):
        """What is forwarded is to be seen, in clear at the tunnel's mirror and encrypted at its port's."""
        self.east.shell("mirror", "vti-w")
        wait_until(lambda: "vti-w-m" in self.names("UP"), 20, "the mirror")
        capture = Capture(self.net.east, "vti-w-m", "icmp")
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10", count=5))
        ways = [f"icmp[icmptype] == {kind} and src {source}"
                for kind, source in (("icmp-echo", "10.1.0.10"), ("icmp-echoreply", "10.2.0.10"))]
        for way in ways:
            capture.wait_count(5, way)
        capture.stop()
        for way in ways:
            self.check_once(capture.packets(way), 5)
        self.east.shell("mirror", "wan")
        wait_until(lambda: "wan-m" in self.names("UP") and "vti-w-m" not in self.names(), 20, "the other mirror, alone")
        capture = Capture(self.net.east, "wan-m", "udp port 4500")
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10", count=5))
        for end in ("192.0.2.1", "192.0.2.2"):
            capture.wait_count(5, f"src {end}")
        capture.stop()
        self.east.shell("mirror", "off")
        wait_until(lambda: "wan-m" not in self.names(), 20, "no mirror any more")

    def test_carrier_follows_the_tunnel(self):
        watch = self.watch()
        self.swan.swanctl("--terminate", "--ike", "east")
        # The kernel tells of it up to a second later; not at all, when the carrier is back by then.
        wait_until(lambda: "NO-CARRIER" in watch.output() or "LOWER_UP" not in self.link("vti-w")["flags"], 10,
                   "the twin has lost its carrier")
        wait_until(lambda: "LOWER_UP" in self.link("vti-w")["flags"], 30, "and has it again")

    def test_it_outlives_the_control_process(self):
        before = self.link("vti-w")["ifindex"]
        watch = self.watch()
        self.east.kill("espgate-control")
        self.east.wait_up("west")
        self.assertEqual(self.link("vti-w")["ifindex"], before)
        self.assertNotIn("NO-CARRIER", watch.output())

    def test_it_outlives_the_dataplane(self):
        """Killed or ended; with its addresses, routes and carrier, and the tunnel works again."""
        before = self.link("vti-w")["ifindex"]
        self.net.east.ip("route", "add", "10.77.0.0/16", "dev", "vti-w")
        for how in (signal.SIGKILL, signal.SIGTERM):
            watch = self.watch()
            self.east.kill("espgate-dataplane", how)
            wait_until(lambda: ping(self.net.east, FAR), 30, "the tunnel works again")
            self.assertEqual(self.link("vti-w")["ifindex"], before)
            self.assertIn("10.77.0.0/16", self.net.east.ip("route").stdout)
            self.assertNotIn("NO-CARRIER", watch.output())

    def test_in_order_it_goes(self):
        self.east.stop(signal.SIGTERM)
        self.assertEqual(self.names() & {"vti-w", "esp-lan"}, set())


if __name__ == "__main__":
    unittest.main()
