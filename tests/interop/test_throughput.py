#!/usr/bin/python3
"""
bench/ports/rfc2544.py through two espgates with the configurations it is meant for, conf/examples/bench-*.yaml.

  lan-e 10.1.0.10 --- left 192.0.2.1 ---wan--- 192.0.2.2 right --- lan-w 10.2.0.10
"""
import json
import os
import sys
import unittest

from base import LabCase
from gateway import Example, program
from lab import ROOT, run
from topologies import Single

ALONE = "it measures packets a second"

# What the machines of a lab do not have.
INSTEAD = {"require": "never", "busy": "adaptive"}
SIZES = ["64", "1518"]
RATE = 300


def example(space, name, cpu):
    return Example(space, name, {**INSTEAD, "main-cpu: 1": f"main-cpu: {cpu}", "[2, 3]": f"[{cpu}, {cpu}]"})


class Throughput(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)
        for space in (cls.net.east, cls.net.west):
            space.ip("link", "set", "wan", "mtu", "1600")

    def bring_up(self):
        gateways = (self.stop_after(example(self.net.west, "bench-right", 0)).start(),
                    self.stop_after(example(self.net.east, "bench-left", 1)).start())
        for gateway in gateways:
            gateway.wait_up("one", "two")
        return gateways

    def measure(self, gateways):
        shells = [f"--gateway={program('espgate')} --runtime {gateway.runtime}" for gateway in gateways]
        done = run([sys.executable, os.path.join(ROOT, "bench", "ports", "rfc2544.py"), "sockets", "--json",
                    "--sizes", ",".join(SIZES), "--maximum", str(RATE), "--duration", "2", "--pause", "0",
                    "--resolution", "30", "--left", f"{self.net.lan_e.name}:10.1.0.10",
                    "--right", f"{self.net.lan_w.name}:10.2.0.10", *shells], timeout=120)
        print(done.stdout)
        return json.loads(done.stdout[done.stdout.index("[\n"):])

    # At a rate that is nothing to the gateways every packet of every size arrives, once, through both tunnels.
    def test_nothing_is_lost_at_a_low_rate(self):
        gateways = self.bring_up()
        for row in self.measure(gateways):
            trials = [trial for trial in (row["best"], row["limit"]) if trial]  # a loaded machine may not keep pace
            self.assertEqual([trial["received"] for trial in trials], [trial["sent"] for trial in trials], row)
            self.assertEqual([trial["duplicates"] for trial in trials], [0] * len(trials), row)
        for gateway in gateways:
            for name, tunnel in gateway.settled_tunnels().items():
                self.assertGreater(tunnel["tx_packets"], RATE, name)


if __name__ == "__main__":
    unittest.main()
