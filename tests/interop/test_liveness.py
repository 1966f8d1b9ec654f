#!/usr/bin/python3
"""
Tunnels whose far ends are watched: BFD with BIRD behind strongSwan and between two espgates, the probe, and how long
flows are blocked when a far end dies (tests/interop/paced.py). PACED_RATE: packets a second, 2000 by default.

                              vti-a 169.254.1.1/30 --- 169.254.1.2 ipsec0
                                                 192.0.2.2 west-a (strongSwan, BIRD) 10.2.0.1
  lan-e 10.1.0.10 --- east 192.0.2.1 --- net ---<                                             >--- lan-w 10.2.0.10
        fd00:1::10    espgate          (switch)  192.0.2.3 west-b (strongSwan, BIRD) 10.2.0.2          fd00:2::10
                              vti-b 169.254.1.5/30 --- 169.254.1.6 ipsec0
"""
import os
import signal
import time
import unittest

import bird
import swan
from base import EAST, EAST_LAN, PSK, LabCase, east_gateway, east_tunnel, to_lan, west_gateway, west_tunnel
from gateway import Gateway, configuration, tunnel
from lab import wait_until
from paced import Paced
from topologies import Dual, Single

PEERS = {"west-a": ("192.0.2.2", 1), "west-b": ("192.0.2.3", 5)}
RATE = float(os.environ.get("PACED_RATE", "2000"))
FLOWS = 32
# What a stalled machine may take; the figures themselves are printed, and those of a quiet one are in
# docs/failover.md.
LEAST_BLOCKED = 0.08
MOST_WITH_BFD = 1.0
MOST_WITH_PROBE = 2.0


def words_of(text):
    """What the shell has wrapped, on one line."""
    return " ".join(text.split())


def far(first):
    return f"169.254.1.{first + 1}"


def peer(space, name):
    connection = swan.connection(PEERS[name][0], EAST, f"{name}.example", "east.example")
    return swan.Swan(space, {"east": connection}, [(f"{name}.example", "east.example", PSK)])


def watched_gateway(space, watch):
    """`watch`: of the address of the far end, what the tunnel says besides."""
    tunnels = [tunnel(name, EAST, address, "east.example", f"{name}.example", PSK, dpd="5s",
                      interface={"name": "vti-" + name[-1], "addresses": [f"169.254.1.{first}/30"]}, **watch(far(first)))
               for name, (address, first) in PEERS.items()]
    return Gateway(space, configuration("east", [("lan", "lan", EAST_LAN), ("wan", "wan", [EAST + "/24"])], tunnels,
                                        to_lan(2, group="west"), [{"name": "west", "tunnels": list(PEERS)}]))


class Stream:
    """Paced UDP from the LAN in the east to the one in the west."""

    def __init__(self, net, rate):
        self.paced = Paced((net.lan_e, "10.1.0.10"), (net.lan_w, "10.2.0.10"), rate, FLOWS)

    def finish(self):
        """(seconds that each flow that lost something was blocked, packets lost, packets sent, the rate that came to
        be). What a machine without time for it loses here and there blocks nobody: what is lost in a row counts."""
        time.sleep(2)
        account = self.paced.stop()
        blocked = [flow["in_a_row"] * FLOWS / account["rate"] for flow in account["lost_by_flow"].values()]
        return blocked, account["lost"], account["sent"], account["rate"]


class Watched(LabCase):
    """Two strongSwans; `watch` says how they are watched."""

    with_bird = False

    @classmethod
    def why_not(cls):
        return super().why_not() or (bird.why_not() if cls.with_bird else None)

    @classmethod
    def build(cls):
        cls.net = Dual(cls.lab)
        cls.spaces = {"west-a": cls.net.west_a, "west-b": cls.net.west_b}

    @staticmethod
    def watch(address):
        raise NotImplementedError

    def setUp(self):
        self.peers, self.birds = {}, {}
        for name in PEERS:
            self.start_peer(name)
        self.east = self.stop_after(watched_gateway(self.net.east, self.watch)).start()
        self.east.wait_up(*PEERS)
        self.wait_alive(*PEERS)

    def start_peer(self, name):
        space, first = self.spaces[name], PEERS[name][1]
        self.peers[name] = self.stop_after(peer(space, name).start())
        space.address("ipsec0", f"{far(first)}/30")
        if self.with_bird and name not in self.birds:
            self.birds[name] = bird.Bird(
                space, "192.0.2.99", bird.bfd("ipsec0", far(first), f"169.254.1.{first}")).start()
            self.addCleanup(self.birds[name].stop)

    def far_end(self, name):
        return self.east.tunnels()[name].get("far_end", {"alive": None, "reason": "nothing is known"})

    def wait_alive(self, *names, alive=True, seconds=40):
        for name in names:
            wait_until(lambda name=name: self.far_end(name)["alive"] is alive, seconds,
                       lambda name=name: f"{name} is {'alive' if alive else 'lost'}: {self.east.tunnels()[name]}\n"
                                         f"{self.birds[name].sessions() if name in self.birds else ''}")

    def fail_over(self, kill, reason, most):
        """Kills west-b's end under traffic: how long were flows blocked?"""
        stream = Stream(self.net, RATE)
        time.sleep(2)
        kill()
        self.wait_alive("west-b", alive=False, seconds=10)
        blocked, lost, total, rate = stream.finish()
        self.assertIn(reason, self.far_end("west-b")["reason"])
        moved = [seconds for seconds in blocked if seconds > LEAST_BLOCKED]
        print(f"{self.id().split('.')[-1]}: {lost} of {total} packets lost at {rate:.0f} a second; of {len(moved)} flows "
              f"that were moved each was blocked for {1000 * max(moved, default=0):.0f} ms at most")
        self.assertGreater(rate, RATE / 4)
        self.assertGreater(len(moved), FLOWS // 8, "west-b carried flows")
        self.assertLess(len(moved), FLOWS, "west-a did so, too, and its flows were not touched")
        self.assertLess(max(moved), most)

    def come_back(self):
        """West-b's end is back under traffic: nothing is lost by that."""
        before = self.east.settled_tunnels()["west-b"]["tx_packets"]
        stream = Stream(self.net, RATE)
        self.start_peer("west-b")
        self.wait_alive("west-b", seconds=35)
        _, lost, total, rate = stream.finish()
        taken = self.east.settled_tunnels()["west-b"]["tx_packets"] - before
        print(f"{self.id().split('.')[-1]}: back: {lost} of {total} packets lost at {rate:.0f} a second")
        self.assertGreater(taken, 0, "it has its share again")
        self.assertLess(lost, total / 200)


class Bfd(Watched):
    with_bird = True

    @staticmethod
    def watch(address):
        return {"bfd": {"peer": address, "interval": "50ms", "multiplier": 3}}

    def test_far_end_dies_and_comes_back(self):
        for name in PEERS:
            self.assertIn("Up", self.birds[name].sessions())
        self.fail_over(lambda: self.peers["west-b"].stop(signal.SIGKILL), "BFD: no packet for", MOST_WITH_BFD)
        self.assertIn("the far end is lost: BFD: no packet for", words_of(self.east.shell("show", "log").stdout))
        self.come_back()

    # One way only: west-b still sends, and has nothing to hear.
    def test_one_way(self):
        self.spaces["west-b"].nft("table ip cut { chain in { type filter hook input priority 0; "
                                  "udp dport 4500 drop; }; }")
        self.addCleanup(self.spaces["west-b"].run, "nft", "delete", "table", "ip", "cut", check=False)
        self.wait_alive("west-b", alive=False, seconds=10)
        self.assertIn("the peer signalled down: it had no packet from us", self.far_end("west-b")["reason"])

    # The tunnel is there and its far end routes no more: only BFD can tell.
    def test_bird_falls_silent_and_returns(self):
        self.birds["west-b"].ask("disable", "watch")
        self.wait_alive("west-b", alive=False, seconds=10)
        self.assertIn("BFD: no packet for", self.far_end("west-b")["reason"])
        self.assertTrue(self.east.up("west-b"))
        self.birds["west-b"].ask("enable", "watch")
        self.wait_alive("west-b")


class Probe(Watched):
    @staticmethod
    def watch(address):
        return {"probe": {"to": address, "interval": "200ms", "losses": 3}}

    def test_far_end_dies_and_comes_back(self):
        self.fail_over(lambda: self.peers["west-b"].stop(signal.SIGKILL), "probe: no answer for", MOST_WITH_PROBE)
        self.come_back()


class Pair(LabCase):
    """Two espgates, BFD over IPv4 at one tunnel address and the probe over IPv6."""

    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)

    @staticmethod
    def watched(make, own, other):
        return make(interface={"addresses": [f"169.254.1.{own}/30", f"fd00:ff::{own}/126"]},
                    bfd={"peer": f"169.254.1.{other}", "interval": "50ms"},
                    probe={"to": f"fd00:ff::{other}", "interval": "200ms"})

    def test_both_are_watched_and_one_dies(self):
        west = self.stop_after(west_gateway(self.net.west, self.watched(west_tunnel, 2, 1))).start()
        east = self.stop_after(east_gateway(self.net.east, self.watched(east_tunnel, 1, 2))).start()
        for gateway, name in ((east, "west"), (west, "east")):
            wait_until(lambda gateway=gateway, name=name: gateway.tunnels()[name].get("far_end", {}).get("alive"), 40,
                       lambda gateway=gateway: f"alive: {gateway.tunnels()}")
            row = gateway.tunnels()[name]["far_end"]
            self.assertEqual((row["bfd"], row["bfd_peer"], row["reason"]), ("up", "up", "it answers"))
        self.assertIn("the far end is alive", words_of(east.shell("show", "tunnels").stdout))
        os.kill(west.pids("espgate-dataplane")[0], signal.SIGKILL)
        wait_until(lambda: east.tunnels()["west"]["far_end"]["alive"] is False, 10, "east finds out")
        self.assertIn("BFD: no packet for 150 ms", words_of(east.shell("show", "log").stdout))


if __name__ == "__main__":
    unittest.main()
