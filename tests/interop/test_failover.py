#!/usr/bin/python3
"""
A tunnel pair with the same selectors on both, as a group (ECMP), and the loss and return of its peers.

                                                 192.0.2.2 west-a (strongSwan) 10.2.0.1
  lan-e 10.1.0.10 --- east 192.0.2.1 --- net ---<                                       >--- lan-w 10.2.0.10
        fd00:1::10    espgate          (switch)  192.0.2.3 west-b (strongSwan) 10.2.0.2          fd00:2::10
"""
import re
import signal
import unittest

import swan
from base import EAST, EAST_LAN, PSK, LabCase, to_lan
from gateway import Gateway, configuration, tunnel
from lab import Capture, iperf3_server, ping, run, wait_until
from paced import Paced
from topologies import Dual

ALONE = "it measures how long flows are blocked"

PEERS = {"west-a": "192.0.2.2", "west-b": "192.0.2.3"}
FLOWS = 500


def peer(space, name):
    connection = swan.connection(PEERS[name], EAST, f"{name}.example", "east.example")
    return swan.Swan(space, {"east": connection}, [(f"{name}.example", "east.example", PSK)])


def dual_gateway(space, dpd="2s"):
    tunnels = [tunnel(name, EAST, address, "east.example", f"{name}.example", PSK, **{"dpd": dpd})
               for name, address in PEERS.items()]
    return Gateway(space, configuration("east", [("lan", "lan", EAST_LAN), ("wan", "wan", [EAST + "/24"])], tunnels,
                                        to_lan(2, group="west"), [{"name": "west", "tunnels": list(PEERS)}]))


class TunnelPair(LabCase):
    @classmethod
    def build(cls):
        cls.net = Dual(cls.lab)

    def setUp(self):
        self.peers = {name: self.stop_after(peer(space, name).start())
                      for name, space in (("west-a", self.net.west_a), ("west-b", self.net.west_b))}
        self.east = self.stop_after(dual_gateway(self.net.east)).start()
        self.east.wait_up(*PEERS)

    def sent(self, name):
        return self.east.settled_tunnels()[name]["tx_packets"]

    def flows(self, count=24):
        """One TCP connection attempt from each of `count` ports; the answers (resets) show that they arrived."""
        self.net.lan_e.run("iperf3", "-c", "10.2.0.10", "-P", str(count), "-n", "64K", timeout=60)

    def with_server(self):
        self.addCleanup(iperf3_server(self.net.lan_w).stop)

    def still_flows(self):
        for destination in ("10.2.0.10", "fd00:2::10"):
            self.assertTrue(ping(self.net.lan_e, destination, count=5), destination)

    def test_flows_use_both_and_move_when_one_is_deleted(self):
        self.with_server()
        before = {name: self.sent(name) for name in PEERS}
        self.flows()
        for name in PEERS:
            self.assertGreater(self.sent(name) - before[name], 10, f"{name} carries flows")
        self.peers["west-a"].stop()
        self.east.wait_down("west-a", seconds=10)
        before = self.sent("west-a")
        self.flows()
        self.still_flows()
        self.assertEqual(self.sent("west-a"), before, "nothing more is sent on the one that is down")

    def paths(self):
        """The flows, by source port, that lan-w gets from each west."""
        captures = {name: Capture(self.net.lan_w, name, "udp", "dst", "port", "7007") for name in PEERS}
        account = Paced((self.net.lan_e, "10.1.0.10"), (self.net.lan_w, "10.2.0.10"), 500, FLOWS, 3 * FLOWS).wait(60)
        self.assertEqual((account["lost"], account["doubled"]), (0, 0), account)
        return {name: set(re.findall(r" 10\.1\.0\.10\.(\d+) > ", run(["tcpdump", "-n", "-r", capture.stop()]).stdout))
                for name, capture in captures.items()}

    def group(self):
        return {row["name"]: row for row in self.east.json("show", "group", "west")["members"]}

    def members(self):
        self.east.settle()
        return self.group()

    def wait_buckets(self, *buckets):
        """A tunnel may be up, or down, before the group's flows have moved."""
        wait_until(lambda: [row["buckets"] for row in self.group().values()] == list(buckets), 20,
                   lambda: f"buckets {buckets}: {self.group()}")

    # Of 500 flows each has one way; those of the one that dies move and come back, the others never leave theirs.
    def test_flows_stay_where_they_are(self):
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 10, "lan-w answers")
        self.wait_buckets(256, 256)
        first = self.paths()
        shares = {name: len(flows) / FLOWS for name, flows in first.items()}
        print(shares)
        self.assertEqual(len(first["west-a"] | first["west-b"]), FLOWS)
        self.assertFalse(first["west-a"] & first["west-b"], "a flow goes one way")
        for name, share in shares.items():
            self.assertTrue(0.45 <= share <= 0.55, f"{name} has {share:.1%} of the flows")
        self.assertEqual([row["buckets"] for row in self.members().values()], [256, 256])
        self.peers["west-a"].stop(signal.SIGKILL)
        self.east.wait_down("west-a", seconds=60)
        self.wait_buckets(0, 512)
        before = self.members()
        self.assertEqual([row["state"] for row in before.values()], ["down: no SA to send on", "up"])
        self.assertEqual(self.paths(), {"west-a": set(), "west-b": first["west-a"] | first["west-b"]})
        after = self.members()
        self.assertGreaterEqual(after["west-b"]["packets"] - before["west-b"]["packets"], 3 * FLOWS)
        self.assertEqual(after["west-a"]["packets"], before["west-a"]["packets"])
        self.peers["west-a"] = self.stop_after(peer(self.net.west_a, "west-a").start())
        self.east.wait_up("west-a", seconds=90)
        self.wait_buckets(256, 256)
        self.assertEqual(self.paths(), first)

    # Its peer dies without a word: dead peer detection finds out.
    def test_dead_peer(self):
        self.peers["west-b"].stop(signal.SIGKILL)
        self.east.wait_down("west-b", seconds=60)
        self.assertTrue(self.east.up("west-a"))
        self.assertIn("answer", self.east.tunnels()["west-b"]["last_error"])
        self.still_flows()
        self.peers["west-b"] = self.stop_after(peer(self.net.west_b, "west-b").start())
        self.east.wait_up("west-b", seconds=90)
        self.still_flows()


if __name__ == "__main__":
    unittest.main()
