#!/usr/bin/python3
"""
Frames of 9000 bytes from LAN to LAN, over af_packet.

  lan-e 10.1.0.10 --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w 10.2.0.10      every link: MTU 9000
        fd00:1::10    espgate                     espgate             fd00:2::10
"""
import unittest

from base import LabCase, east_configuration, west_configuration, west_tunnel
from gateway import Gateway
from lab import bulk_tcp, ping, told_mtu
from topologies import Single

MTU = 9000


def jumbo(configuration):
    return {**configuration, "ports": [{**port, "mtu": MTU} for port in configuration["ports"]]}


class Jumbo(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True, mtu=MTU)
        Gateway(cls.net.west, jumbo(west_configuration(west_tunnel(start="wait")))).start()
        cls.east = Gateway(cls.net.east, jumbo(east_configuration())).start()
        cls.east.wait_up("west")

    def test_ping_of_8900_bytes(self):
        for host, other in ((self.net.lan_e, 2), (self.net.lan_w, 1)):
            for destination, size in ((f"10.{other}.0.10", 8900), (f"fd00:{other}::10", 8880)):
                self.assertTrue(ping(host, destination, size=size, dont_fragment=True), destination)

    def test_the_largest_packet_and_one_byte_more(self):
        mtu = told_mtu(self.net.lan_e, "10.2.0.10", MTU, by="10.1.0.1")
        self.assertGreater(mtu, 8900)
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10", size=mtu - 28, dont_fragment=True), f"{mtu} does fit")

    def test_bulk_tcp(self):
        for destination in ("10.2.0.10", "fd00:2::10"):
            bulk_tcp(self.net.lan_e, self.net.lan_w, destination, "50M")
        drops = self.east.drops()
        self.assertNotIn("oversized-frame", drops)
        self.assertNotIn("malformed-ipv4", drops)


if __name__ == "__main__":
    unittest.main()
