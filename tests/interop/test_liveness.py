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

from base import LabCase, east_gateway, east_tunnel, west_gateway, west_tunnel
from lab import standing_still, stat_fields, threads_named, wait_until
from topologies import Single
from watched import PEERS, Watched, words_of

ALONE = "BFD and probes at intervals of some 50 ms"

class Bfd(Watched):
    with_bird = True

    @staticmethod
    def watch(address):
        return {"bfd": {"peer": address, "interval": "50ms", "multiplier": 3}}

    def test_far_end_dies_and_comes_back(self):
        self.wait_birds_up()
        self.fail_over(lambda: self.peers["west-b"].stop(signal.SIGKILL), "BFD: no packet for")
        self.assertIn("the far end is lost: BFD: no packet for", words_of(self.east.shell("show", "log").stdout))
        self.come_back()

    # One way only: west-b still sends, and has nothing to hear.
    def test_one_way(self):
        self.spaces["west-b"].nft("table ip cut { chain in { type filter hook input priority 0; "
                                  "udp dport 4500 drop; }; }")
        self.addCleanup(self.spaces["west-b"].run, "nft", "delete", "table", "ip", "cut", check=False)
        self.wait_alive("west-b", alive=False, seconds=10)
        # What is lost because strongSwan stood still for a moment has another reason at first.
        wait_until(lambda: "the peer signalled down: it had no packet from us" in self.far_end("west-b")["reason"], 10,
                   lambda: self.far_end("west-b"))

    # The tunnel is there and its far end routes no more: only BFD can tell.
    def test_bird_falls_silent_and_returns(self):
        self.birds["west-b"].ask("disable", "watch")
        self.wait_alive("west-b", alive=False, seconds=10)
        self.assertIn("BFD: no packet for", self.far_end("west-b")["reason"])
        self.assertTrue(self.east.up("west-b"))
        self.birds["west-b"].ask("enable", "watch")
        self.wait_alive("west-b")

    def spis(self):
        return sorted(row["inbound_spi"] for row in self.east.json("show", "ipsec", "sa"))

    def while_control_stands(self, seconds):
        """Is all as it was, after the control process stood still under traffic? What happened meanwhile it reads when
        it goes on. A busy machine can lose packets by itself."""
        def losses():
            return words_of(self.east.shell("show", "log").stdout).count("the far end is lost")
        control, = self.east.pids("espgate-control")
        before = losses()
        stream = self.stream()
        os.kill(control, signal.SIGSTOP)
        try:
            wait_until(lambda: stat_fields(f"/proc/{control}/stat")[0] == "T", 10, "it stands still")
            time.sleep(seconds)
        finally:
            os.kill(control, signal.SIGCONT)
        _, lost, total, rate = stream.finish()
        self.assertEqual(self.east.pids("espgate-control"), [control], "`espgate run` ends nobody for being slow")
        lost_ends = losses() - before
        print(f"control stood still: {lost} of {total} packets lost at {rate:.0f} a second, {lost_ends} far ends")
        return lost == 0 and lost_ends == 0

    def test_the_control_process_stands_still(self):
        """Far ends are the dataplane's to watch: 5 s are 33 times what BFD waits for."""
        before = self.spis()
        self.assertEqual(len(before), len(PEERS))
        if not any(self.while_control_stands(5) for _ in range(3)):
            self.fail(f"neither packets nor far ends are lost:\n{self.east.shell('show', 'log').stdout}")
        self.assertEqual(self.spis(), before)


class WithoutCpu(Watched):
    """The far ends bear a second's silence of ours, and we 150 ms of theirs."""

    with_bird = True

    @staticmethod
    def watch(address):
        return {"bfd": {"peer": address, "interval": "50ms", "multiplier": 20}}

    def setUp(self):
        super().setUp()
        self.wait_birds_up()
        self.worker, = threads_named(self.east.pids("espgate-dataplane")[0], "rte-worker")

    def losses(self):
        return words_of(self.east.shell("show", "log").stdout).count("the far end is lost: BFD: no packet for 150 ms")

    def test_a_worker_stands_still(self):
        """What the far ends have said meanwhile is there when it goes on, so they were not silent. It is waited for for half
        a second, which a busy machine may make of less."""
        for _ in range(10):
            before, began = self.losses(), time.monotonic()
            with standing_still(self.worker):
                time.sleep(0.35)
            stood = time.monotonic() - began
            self.east.settle()
            if stood < 0.45:
                return self.assertEqual(self.losses(), before, f"it stood still for {stood} s")
            self.wait_alive(*PEERS)
        self.fail("a thread can't be stopped for 0.35 s here")

    def test_a_worker_does_not_go_on(self):
        """It keeps nobody alive."""
        before = self.losses()
        with standing_still(self.worker):
            self.wait_alive(*PEERS, alive=False, seconds=10)
        self.assertGreaterEqual(self.losses() - before, len(PEERS))
        self.wait_alive(*PEERS)


class Probe(Watched):
    most = 1.0

    @staticmethod
    def watch(address):
        return {"probe": {"to": address, "interval": "200ms", "losses": 3}}

    def test_far_end_dies_and_comes_back(self):
        self.fail_over(lambda: self.peers["west-b"].stop(signal.SIGKILL), "probe: no answer for")
        self.come_back()


class ByIke(Watched):
    """Only IKE says that a far end is lost."""

    @staticmethod
    def watch(address):
        return {"hold-down": {"initial": "3s"}}

    def test_who_was_lost_is_held_down(self):
        """But not after what the operator does."""
        def first_spi():
            return [row["inbound_spi"] for row in self.east.json("show", "ipsec", "sa", "west-b")][:1]
        self.peers["west-b"].swanctl("--terminate", "--ike", "east")
        wait_until(lambda: "held down for 3000 ms" in self.far_end("west-b")["reason"], 20,
                   lambda: self.far_end("west-b"))
        self.assertFalse(self.far_end("west-b")["alive"])
        self.wait_alive("west-b")
        before, reasons = first_spi(), set()
        self.east.shell("reset", "tunnel", "west-b")

        def is_back():
            shown = self.far_end("west-b")
            reasons.add(shown["reason"])
            return shown["alive"] and first_spi() not in ([], before)
        wait_until(is_back, 20, lambda: self.far_end("west-b"))
        self.assertFalse([each for each in reasons if "held" in each])


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
            # The peer's state is what it said last, which may be a packet ago.
            wait_until(lambda gateway=gateway, name=name: [gateway.tunnels()[name]["far_end"][key] for key in (
                "bfd", "bfd_peer", "reason")] == ["up", "up", "it answers"], 20,
                lambda gateway=gateway: f"up on both sides: {gateway.tunnels()}")
        wait_until(lambda: "the far end is alive" in words_of(east.shell("show", "tunnels").stdout), 10,
                   lambda: east.shell("show", "tunnels").stdout)
        os.kill(west.pids("espgate-dataplane")[0], signal.SIGKILL)
        wait_until(lambda: east.tunnels()["west"]["far_end"]["alive"] is False, 10, "east finds out")
        self.assertIn("BFD: no packet for 150 ms", words_of(east.shell("show", "log").stdout))


if __name__ == "__main__":
    unittest.main()
