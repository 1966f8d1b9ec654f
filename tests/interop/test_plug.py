#!/usr/bin/python3
"""
Devices that vanish and come back: the veth between two gateways is deleted and made anew, with other MAC addresses,
while both go on.

  lan-e 10.1.0.10 --- east === 192.0.2.0/24 === west --- lan-w 10.2.0.10
                    espgate                   espgate
"""
import os
import re
import time
import unittest
from unittest import mock

from base import LabCase, east_configuration, east_tunnel, west_configuration, west_tunnel
from gateway import Gateway
from lab import Lab, LabError, ping, wait_until
from topologies import lan

BACK_WITHIN = 20  # seconds


class Plug(LabCase):
    """The wan of both over af_packet."""

    needs_swan = False
    driver = "af_packet"
    cycles = 5

    @classmethod
    def build(cls):
        cls.spaces = {name: cls.lab.namespace(name) for name in ("east", "west")}
        cls.lan_e, cls.lan_w = lan(cls.lab, "lan-e", cls.spaces["east"], 1), lan(cls.lab, "lan-w", cls.spaces["west"], 2)
        cls.plug_in()
        for space in cls.spaces.values():
            Lab.for_dpdk(space, "lan")
        west = west_configuration(west_tunnel(start="wait", dpd=0))
        east = east_configuration(east_tunnel(start="initiate", dpd=0))
        cls.gateways = {}
        cls.for_dpdk = os.path.join(cls.lab.directory, "for-dpdk")  # instead of /var/run, where others have theirs
        os.makedirs(cls.for_dpdk)
        for name, config in (("west", west), ("east", east)):
            for port in config["ports"]:
                if port["name"] == "wan":
                    port["device"] = f"{cls.driver}:wan"
            with mock.patch.dict(os.environ, RUNTIME_DIRECTORY=cls.for_dpdk):
                cls.gateways[name] = Gateway(cls.spaces[name], config).start()
        cls.gateways["east"].wait_up("west")

    @classmethod
    def plug_in(cls):
        cls.lab.link(cls.spaces["east"], "wan", cls.spaces["west"], "wan")
        for space in cls.spaces.values():
            Lab.for_dpdk(space, "wan")

    def wan(self, name):
        return {row["name"]: row for row in self.gateways[name].json("show", "interfaces")}["wan"]

    def wait_state(self, state):
        for name in self.spaces:
            wait_until(lambda name=name: self.wan(name)["state"] == state, BACK_WITHIN,
                       lambda name=name: f"the wan of {name} is {state}: {self.wan(name)}")

    def dataplane(self):
        return self.gateways["east"].pids("espgate-dataplane")

    def held(self):
        """What the kernel holds for east's dataplane: descriptors, and mappings of sockets."""
        pid = self.dataplane()[0]
        with open(f"/proc/{pid}/maps") as maps:
            return len(os.listdir(f"/proc/{pid}/fd")), maps.read().count("socket:")

    def runtime_files(self):
        """What DPDK keeps there for both gateways."""
        return sorted(os.path.join(folder, name) for folder, folders, files in os.walk(self.for_dpdk)
                      for name in folders + files)

    def answers(self):
        return ping(self.lan_e, "10.2.0.10", count=1, seconds=2) and ping(self.lan_w, "10.1.0.10", count=1, seconds=2)

    def test_0_what_is_missing_at_the_start_is_named(self):
        config = east_configuration(east_tunnel())
        config["ports"][1]["device"] = f"{self.driver}:wam"
        gateway = Gateway(self.lab.namespace("alone"), {**config, "ports": config["ports"][1:]})
        with self.assertRaisesRegex(LabError, "port wan: there is no network interface wam"):
            gateway.start()

    def test_1_back_again_and_again(self):
        wait_until(self.answers, BACK_WITHIN, "ping before")
        pids, held, macs = self.dataplane(), self.held(), {self.wan("east")["mac"]}
        in_run = self.runtime_files()
        self.assertEqual(sum("/dpdk/espgate-" in path for path in in_run), 2, in_run)
        for _ in range(self.cycles):
            self.spaces["east"].ip("link", "del", "wan")
            self.wait_state("absent")
            self.assertFalse(self.answers())
            self.plug_in()
            self.wait_state("up")
            wait_until(self.answers, BACK_WITHIN, "ping through the tunnel")
            macs.add(self.wan("east")["mac"])
        self.assertEqual(len(macs), self.cycles + 1)
        self.assertEqual(self.dataplane(), pids, "without a restart")
        # What the former device had goes once no worker uses it.
        wait_until(lambda: self.held() == held, 10, lambda: f"no more than before, {held}: {self.held()}")
        self.assertEqual(self.runtime_files(), in_run)
        self.assertTrue(self.gateways["east"].up("west"))

    def test_2_what_is_told(self):
        east = self.gateways["east"]

        def said():
            return east.process.output().count("its device is gone")
        before = said()
        self.spaces["east"].ip("link", "del", "wan")
        self.wait_state("absent")
        wait_until(lambda: self.wan("east").get("since_seconds", 0) >= 1, 10, lambda: str(self.wan("east")))
        self.assertRegex(" ".join(east.shell("show", "interfaces").stdout.split()), r"wan port absent .*absent for \d+s")
        wait_until(lambda: "port wan is absent" in east.shell("show", "log").stdout, 10, "the log tells it")
        wait_until(lambda: said() > before, 10, "it is said")
        time.sleep(3)
        self.assertEqual(said(), before + 1, "said once")
        ping(self.lan_e, "10.2.0.10", count=3, seconds=3)
        wait_until(lambda: east.drops().get("port-down", 0) + east.drops().get("tunnel-down", 0) > 0, 10,
                   lambda: str(east.drops()))
        self.plug_in()
        self.wait_state("up")
        wait_until(self.answers, BACK_WITHIN, "ping through the tunnel")
        wait_until(lambda: "port wan: its device is back" in east.process.output(), 10, "it is said, too")

    def test_3_nothing_stays_at_the_interface(self):
        for name in self.spaces:
            self.gateways[name].stop()
            shown = self.spaces[name].ip("-d", "link", "show", "dev", "wan").stdout
            self.assertFalse(re.search(r"prog/xdp|xdpgeneric", shown), shown)


class PlugXdp(Plug):
    """The wan of both over af_xdp, whose driver keeps 2048 packet buffers each time."""

    driver = "af_xdp"
    cycles = 8


if __name__ == "__main__":
    unittest.main()
