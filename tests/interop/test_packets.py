#!/usr/bin/python3
"""
What hosts behind the gateways see: sizes, TTLs, neighbours, bulk TCP.

  lan-e 10.1.0.10 --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w 10.2.0.10
        fd00:1::10    espgate                     espgate             fd00:2::10
"""
import re
import unittest

from base import LabCase, east_gateway, west_gateway, west_tunnel
from lab import BothEnds, bulk_tcp, ping, told_mtu, wait_until
from topologies import Single


class Packets(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)
        cls.west = west_gateway(cls.net.west, west_tunnel(start="wait")).start()
        cls.east = east_gateway(cls.net.east).start()
        cls.east.wait_up("west")
        wait_until(lambda: ping(cls.net.lan_e, "10.2.0.10", count=1), 20, "the tunnel carries")

    # Raw ESP with AES-GCM-16 over a path of 1500: 20 outer, 8 ESP, 8 IV, 2 trailer, 16 ICV leave 1446, and alignment.
    def test_fragmentation_needed(self):
        mtu = told_mtu(self.net.lan_e, "10.2.0.10", by="10.1.0.1")
        self.assertGreater(mtu, 1380)
        self.assertLessEqual(mtu, 1446)
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10", size=mtu - 28, dont_fragment=True), 20, f"{mtu} does fit")

    def test_packet_too_big(self):
        mtu = told_mtu(self.net.lan_e, "fd00:2::10", by="fd00:1::1")
        self.assertGreaterEqual(mtu, 1280)
        wait_until(lambda: ping(self.net.lan_e, "fd00:2::10", size=mtu - 48, dont_fragment=True), 20, f"{mtu} does fit")

    def test_large_packets_may_be_fragmented(self):
        done = self.net.lan_e.run("ping", "-n", "-c", "5", "-i", "0.2", "-W", "2", "-M", "dont", "-s", "1472",
                                  "10.2.0.10", check=False)
        self.assertIn(" 5 received", done.stdout)

    def test_bulk_tcp(self):
        for destination in ("10.2.0.10", "fd00:2::10"):
            bulk_tcp(self.net.lan_e, self.net.lan_w, destination, "20M")

    def wait_told(self, pattern, *more):
        """A gateway's word, which is limited in rate and may come too late for one ping."""
        def told():
            done = self.net.lan_e.run("ping", "-n", "-c", "1", "-W", "2", *more, check=False)
            return re.search(pattern, done.stdout)
        wait_until(told, 20, f"{pattern} is told")

    def test_ttl_exceeded(self):
        for destination, own in (("10.2.0.10", "10.1.0.1"), ("fd00:2::10", "fd00:1::1")):
            self.wait_told(rf"From {own}:? icmp_seq=1 Time (to live )?exceeded", "-t", "1", destination)

    def test_gateway_answers_pings(self):
        for destination in ("10.1.0.1", "fd00:1::1"):
            wait_until(lambda destination=destination: ping(self.net.lan_e, destination), 20, destination)

    def test_no_route(self):
        self.wait_told(r"From 10\.1\.0\.1 .*Unreachable", "203.0.113.9")

    def test_neighbour_that_is_not_there(self):
        before = self.east.drops().get("neighbour-unresolved", 0)
        done = self.net.lan_w.run("ping", "-n", "-c", "3", "-W", "4", "10.1.0.77", check=False, timeout=30)
        self.assertIn(" 0 received", done.stdout)
        wait_until(lambda: self.east.drops().get("neighbour-unresolved", 0) > before, 10, "the drop is counted")

    # The host gets another MAC address: the gateway notices within its neighbour's reachable time.
    def test_neighbour_changes_its_address(self):
        self.assertTrue(ping(self.net.lan_w, "10.1.0.10"))
        self.net.lan_e.ip("link", "set", "eth0", "address", "02:00:00:00:77:77")
        self.net.lan_e.ip("neigh", "flush", "all")
        wait_until(lambda: ping(self.net.lan_w, "10.1.0.10", count=1, seconds=3), 90, "the new address is learned")

    def test_only_esp_between_the_gateways(self):
        capture = BothEnds((self.net.east, "wan"), (self.net.west, "wan"))
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))
        capture.stop()
        self.assertGreaterEqual(capture.count("esp"), 6)
        self.assertEqual(capture.count("not esp and not udp port 500 and not arp"), 0)


if __name__ == "__main__":
    unittest.main()
