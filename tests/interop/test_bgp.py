#!/usr/bin/python3
"""
BGP between BIRD beside espgate and BIRD behind strongSwan, over the twin of the tunnel's interface: what it learns is how
espgate forwards; and neither process's restart ends the session.

  lan-e 10.1.0.10 --- east 192.0.2.1 --- 192.0.2.2 west --- 10.2.0.10 lan-w
                      espgate, BIRD                strongSwan, BIRD
                      AS 65001                     AS 65002, 10,000 prefixes
                      vti-w 169.254.1.1 ======== 169.254.1.2
"""
import time
import unittest

import bird
from base import LabCase, east_configuration, east_tunnel, west_swan
from gateway import Gateway
from lab import ping, wait_until
from topologies import Single

NEAR, FAR = "169.254.1.1", "169.254.1.2"
MANY = [f"20.{number // 256}.{number % 256}.0/24" for number in range(9999)]


class Bgp(LabCase):
    @classmethod
    def why_not(cls):
        return super().why_not() or bird.why_not()

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)
        cls.net.west.address("lan", FAR + "/32")
        cls.swan = west_swan(cls.net.west).start()
        tunnel = east_tunnel(interface={"name": "vti-w", "addresses": [NEAR + "/30"], "kernel": True})
        cls.east = Gateway(cls.net.east, east_configuration(tunnel, routes=[])).start()
        cls.east.wait_up("west")
        far = bird.routes(["10.2.0.0/24", *MANY]) + bird.bgp("east", FAR, NEAR, (65002, 65001), more="multihop 2;")
        cls.far = bird.Bird(cls.net.west, "10.0.0.2", far).start()
        near = bird.routes(["10.1.0.0/24"]) + bird.bgp("west", NEAR, FAR, (65001, 65002), more="direct;")
        cls.near = bird.Bird(cls.net.east, "10.0.0.1", near, learns=True).start()
        cls.near.wait_established("west")
        wait_until(lambda: cls.learned() == 10_000, 30, lambda: f"10,000 routes in the kernel: {cls.learned()}")

    @classmethod
    def learned(cls):
        return cls.net.east.ip("route", "show", "proto", "bird").stdout.count("dev vti-w")

    def reaches(self):
        return ping(self.net.lan_e, "10.2.0.10", count=1, seconds=3)

    def test_what_is_learned_is_how_it_forwards(self):
        wait_until(self.reaches, 30, "a ping by a learned route")
        before = self.east.settled_tunnels()["west"]["tx_packets"]
        self.net.lan_e.run("ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "20.39.14.1", check=False)
        self.assertGreaterEqual(self.east.settled_tunnels()["west"]["tx_packets"] - before, 3)

    def test_withdrawn_and_told_again(self):
        before = self.east.drops().get("no-route", 0)
        self.far.ask("disable", "told")
        wait_until(lambda: self.learned() == 0, 30, "no routes in the kernel")
        wait_until(lambda: not ping(self.net.lan_e, "10.2.0.10", count=1, seconds=1) and
                   self.east.drops().get("no-route", 0) > before, 20, "no way any more")
        self.far.ask("enable", "told")
        wait_until(lambda: self.learned() == 10_000, 30, "the routes again")
        wait_until(self.reaches, 30, "the way again")

    def dies(self, name):
        """The session stays, and a keepalive of each side later (a third of the hold time) it is still the same."""
        since = self.near.wait_established("west")
        self.east.kill(name)
        wait_until(self.reaches, 40, "a ping by a learned route")
        time.sleep(12)
        self.assertAlmostEqual(self.near.established("west"), since, delta=0.1)
        self.assertEqual(self.learned(), 10_000)
        self.assertTrue(self.reaches())

    def test_control_process_dies(self):
        self.dies("espgate-control")

    def test_dataplane_dies(self):
        """The routes stay in the kernel, and are learned anew."""
        self.dies("espgate-dataplane")


if __name__ == "__main__":
    unittest.main()
