#!/usr/bin/python3
"""
A headend with 1,000 tunnels in 500 groups, each with a member to either far end and a route of either family, and the
death of one far end.

                                                192.0.2.2 far-a (espgate, 500 tunnels)
  lan 10.1.0.10 --- east 192.0.2.1 --- net ---<                                        >--- west 10.100.0.0/15
      fd00:1::10    (espgate)         (switch)  192.0.2.3 far-b (espgate, 500 tunnels)           fd00:100::/32
"""
import ipaddress
import os
import signal
import time
import unittest

from base import EAST, EAST_LAN, LabCase
from gateway import Gateway, configuration, tunnel
from lab import Lab, ping, resident_mib, seconds_of_cpu, wait_until
from paced import Paced
from topologies import east

ALONE = "1,000 tunnels, and it measures time"

GROUPS = int(os.environ.get("ESPGATE_SCALE_GROUPS", "500"))
FAR = {"a": "192.0.2.2", "b": "192.0.2.3"}
RATE = 2000
FIRST4, FIRST6 = ipaddress.ip_address("10.100.0.1"), ipaddress.ip_address("fd00:100::1")
STEP4, STEP6 = 1 << 8, 1 << 64
PSK = "one for all of them"


def networks(group):
    return (f"{FIRST4 + group * STEP4 - 1}/24", f"{FIRST6 + group * STEP6 - 1}/64")


def inside(far, group, host):
    """The interface address of one end of a tunnel: 1 is east's."""
    base = ipaddress.ip_address("172.16.0.0" if far == "a" else "172.17.0.0")
    return str(base + 4 * group + host)


class Many:
    def __init__(self, lab):
        self.lan, self.east = east(lab)
        self.net, self.west = lab.namespace("net"), lab.namespace("west")
        lab.link(self.east, "wan", self.net, "to-east")
        Lab.for_dpdk(self.east, "wan")
        self.far = {}
        for name in FAR:
            self.far[name] = lab.namespace(f"far-{name}")
            lab.link(self.far[name], "wan", self.net, f"to-{name}")
            lab.link(self.far[name], "lan", self.west, f"far-{name}")
            Lab.for_dpdk(self.far[name], "wan", "lan")
        lab.bridge(self.net, "br0", "to-east", "to-a", "to-b")
        lab.bridge(self.west, "br0", "far-a", "far-b")
        self.west.address("br0", "10.2.0.10/24", "fd00:2::10/64")
        self.west.ip("route", "add", "local", "10.100.0.0/15", "dev", "lo")
        self.west.ip("-6", "route", "add", "local", "fd00:100::/32", "dev", "lo")


class ThousandTunnels(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Many(cls.lab)

    @staticmethod
    def ends(far, group, mine, theirs):
        """What both ends of a tunnel say, but for whose end is whose."""
        return {"ike": ["aes128gcm16-prfsha256-x25519"], "esp": ["aes128gcm16"], "psk": PSK,
                "interface": {"name": f"{far}{group}", "addresses": [f"{inside(far, group, mine)}/30"]},
                "bfd": {"peer": inside(far, group, theirs), "interval": "300ms", "multiplier": 3}}

    def far_gateway(self, name):
        tunnels = [tunnel(f"{name}{group}", FAR[name], EAST, f"{name}{group}.example", f"east-{name}{group}.example",
                          start="wait", **self.ends(name, group, 2, 1)) for group in range(GROUPS)]
        number = 1 if name == "a" else 2
        ports = [("lan", "lan", [f"10.2.0.{number}/24", f"fd00:2::{number}/64"]), ("wan", "wan", [f"{FAR[name]}/24"])]
        routes = [{"to": "10.100.0.0/15", "via": "10.2.0.10"}, {"to": "fd00:100::/32", "via": "fd00:2::10"}]
        return Gateway(self.net.far[name], configuration(f"far-{name}", ports, tunnels, routes))

    def east_gateway(self):
        tunnels = [tunnel(f"{name}{group}", EAST, FAR[name], f"east-{name}{group}.example", f"{name}{group}.example",
                          **self.ends(name, group, 1, 2)) for group in range(GROUPS) for name in FAR]
        groups = [{"name": f"g{group}", "tunnels": [f"{name}{group}" for name in FAR]} for group in range(GROUPS)]
        routes = [{"to": network, "group": f"g{group}"} for group in range(GROUPS) for network in networks(group)]
        return Gateway(self.net.east, configuration("east", [("lan", "lan", EAST_LAN), ("wan", "wan", [EAST + "/24"])],
                                                    tunnels, routes, groups))

    def streams(self, count=None):
        """To every route at once, two flows each, of either family."""
        families = (("10.1.0.10", FIRST4, STEP4), ("fd00:1::10", FIRST6, STEP6))
        return [Paced((self.net.lan, source), (self.net.west, str(first)), RATE / 2, 2 * GROUPS, count, hosts=GROUPS,
                      step=step) for source, first, step in families]

    @staticmethod
    def all_up(gateway):
        return all(row["state"] == "up" and row["far_end"]["alive"] for row in gateway.json("show", "tunnels"))

    @staticmethod
    def figures(gateway, words):
        for name in ("espgate-dataplane", "espgate-control"):
            pid = gateway.pids(name)[0]
            print(f"{words}: {name}: {resident_mib(pid):.0f} MiB resident, {seconds_of_cpu(pid):.1f} s of CPU")

    def test_start_and_death_of_a_far_end(self):
        far = {name: self.stop_after(self.far_gateway(name)).start() for name in FAR}
        began = time.monotonic()
        gateway = self.stop_after(self.east_gateway()).start()
        wait_until(lambda: self.all_up(gateway), 180, "all tunnels are up")
        print(f"{2 * GROUPS} tunnels in {GROUPS} groups with {2 * GROUPS} routes are up "
              f"{time.monotonic() - began:.1f} s after the start")
        self.figures(gateway, "up")
        # A gateway that is to deliver the first packets to a host it does not know yet keeps a few of them only.
        for number, _ in enumerate(FAR, 1):
            for address in (f"10.2.0.{number}", f"fd00:2::{number}"):
                wait_until(lambda address=address: ping(self.net.west, address, count=1), 20, f"{address} answers")
        steady = [stream.wait(120) for stream in self.streams(8 * GROUPS)]
        print([{**account, "lost_by_flow": len(account["lost_by_flow"])} for account in steady])
        self.assertEqual([account["lost"] for account in steady], [0, 0], "every route carries packets")

        streams = self.streams()
        time.sleep(3)
        killed = time.monotonic_ns()
        for pid in far["a"].pids("espgate-dataplane"):
            os.kill(pid, signal.SIGKILL)
        time.sleep(7)
        accounts = [stream.stop() for stream in streams]
        for account in accounts:
            last = max((flow["last_ns"] for flow in account["lost_by_flow"].values()), default=killed)
            print(f"{account['lost']} of {account['sent']} packets lost, of {len(account['lost_by_flow'])} flows; the "
                  f"last of them was sent {(last - killed) / 1e9:.2f} s after the far end died")
            # Three lost packets 300 ms apart tell that it is dead; the rest is a loaded machine's.
            self.assertLess((last - killed) / 1e9, 4)
            self.assertGreater(account["lost"], 0, "flows did go there")
        self.figures(gateway, "after")


if __name__ == "__main__":
    unittest.main()
