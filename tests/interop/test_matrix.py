#!/usr/bin/python3
"""
All that can be agreed on with strongSwan 5.9.8 (matrix.py), ESP in userspace:

  lan-e 10.1.0.10 --- east 192.0.2.1 ---wan--- 192.0.2.2 west 10.2.0.100, .101, ...
                      espgate                     strongSwan
"""
import re
import unittest

import topologies
from base import EAST, WEST, LabCase, east_gateway, east_tunnel, west_swan
from lab import ping, wait_until
from matrix import SUITES, Matrix
from swan import Swan


class Userspace(Matrix, LabCase):
    SUITES = SUITES

    @classmethod
    def build(cls):
        cls.net = topologies.Single(cls.lab)
        for number in range(len(SUITES)):
            cls.net.west.address("lan", f"10.2.0.{100 + number}/32")

    def new_gateway(self, tunnels, routes):
        return east_gateway(self.net.east, *tunnels, routes=routes)

    def new_peer(self, settings):
        return self.stop_after(Swan(self.net.west, {}, [], settings))

    def start_peer(self, connections, secrets, ppks):
        self.west.configure(connections, secrets, ppks)
        self.west.start()


class Natted:
    """A NAT that hands IKE on to who is behind it, so that either side may begin."""
    EAST, WEST, FAR = EAST, WEST, WEST  # FAR: what espgate knows west by

    def test_either_side_begins(self):
        # Who waits behind a NAT has a port that is forwarded, and which the NAT keeps to afterwards: it comes last.
        for start, role in sorted((("initiate", "initiator"), ("wait", "responder")), key=lambda part: part[1] != self.MOVES):
            west = self.stop_after(west_swan(self.net.west, local=self.WEST)).start()
            routes = [{"to": "10.2.0.0/24", "tunnel": "west"}, {"to": "0.0.0.0/0", "via": self.GATEWAY}]
            east = self.stop_after(east_gateway(self.net.east, east_tunnel(local=self.EAST, remote=self.FAR, start=start),
                                                routes=routes, wan=self.EAST + "/24")).start()
            if start == "wait":
                west.initiate("east")
            east.wait_up("west")
            wait_until(lambda: ping(self.net.lan_e, "10.2.0.1"), 20, "pings through the tunnel")
            self.assertTrue(east.json("show", "ike", "sa")[0][self.SIDE])
            self.shows("NAT", self.ROW, role)
            if role == self.MOVES:
                self.check_move(east, west)
                self.shows("NAT", self.ROW + " that gives it another port", role)
            east.stop()
            west.stop()

    def check_move(self, east, west):
        """The NAT forgets its mapping: traffic goes on by another, with the same IKE SA. (strongSwan makes another child
        SA where it has to follow, because its ESP in userspace can't.)"""
        def spi():
            return [row["initiator_spi"] for row in east.json("show", "ike", "sa")]
        before, had = self.mapping(east, west), spi()
        address = self.FAR if self.FAR != self.WEST else "192.0.2.1"
        self.net.nat.run("sh", "-c", f"ip address delete {address}/24 dev out; ip address add {address}/24 dev out")

        def moved():
            ping(self.net.west, "10.1.0.10", count=1, seconds=1)
            return ping(self.net.lan_e, "10.2.0.1", count=1, seconds=1) and self.mapping(east, west) != before
        wait_until(moved, 60, lambda: f"pings by another mapping than {before}")
        self.assertEqual(spi(), had)


class EastBehindNat(Natted, LabCase):
    """
      lan-e --- east 10.9.0.1 --- nat 192.0.2.1 --- 192.0.2.2 west
    """
    EAST, GATEWAY, SIDE, ROW = "10.9.0.1", "10.9.0.254", "nat_local", "espgate behind a NAT"
    MOVES = "initiator"

    @classmethod
    def build(cls):
        cls.net = topologies.Natted(cls.lab, inside="10.9.0.1")

    @staticmethod
    def mapping(_, west):
        return re.search(r"@ (192\.0\.2\.1\[\d+\])", west.sas()).group(1)


class WestBehindNat(Natted, LabCase):
    """
      lan-e --- east 192.0.2.1 --- 192.0.2.2 nat --- 10.9.0.2 west
    """
    WEST, GATEWAY, SIDE, ROW = "10.9.0.2", "192.0.2.2", "nat_remote", "the peer behind a NAT"
    MOVES = "responder"

    @classmethod
    def build(cls):
        cls.net = topologies.NattedPeer(cls.lab, inside="10.9.0.2")

    @staticmethod
    def mapping(east, _):
        return east.json("show", "ike", "sa")[0]["remote"]


if __name__ == "__main__":
    unittest.main()
