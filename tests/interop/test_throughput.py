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
from gateway import Gateway, program
from lab import ROOT, LabError, run
from topologies import Single

# What the machines of a lab do not have.
INSTEAD = {'"0000:01:00.0"': '"af_packet:lan"', '"0000:01:00.1"': '"af_packet:wan"',
           "require": "never", "busy": "adaptive"}
SIZES = ["64", "1518"]
RATE = 300


class Example(Gateway):
    """The gateway of an example's file, on this lab's interfaces and CPUs."""

    def __init__(self, space, name, cpu):
        with open(os.path.join(ROOT, "conf", "examples", f"{name}.yaml")) as example:
            self.text = example.read()
        for card, veth in {**INSTEAD, "main-cpu: 1": f"main-cpu: {cpu}", "[2, 3]": f"[{cpu}, {cpu}]"}.items():
            if card not in self.text:
                raise LabError(f"{name}.yaml does not say {card}")
            self.text = self.text.replace(card, veth)
        super().__init__(space, None)

    def configure(self, _):
        with open(self.file, "w") as out:
            out.write(self.text)


class Throughput(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)
        for space in (cls.net.east, cls.net.west):
            space.ip("link", "set", "wan", "mtu", "1600")

    def bring_up(self):
        gateways = (self.stop_after(Example(self.net.west, "bench-right", 0)).start(),
                    self.stop_after(Example(self.net.east, "bench-left", 1)).start())
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
