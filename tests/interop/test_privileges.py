#!/usr/bin/python3
"""
What the running dataplane may do, looked at from outside, while it carries a tunnel.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     espgate
"""
import os
import unittest

from base import LabCase, east_gateway, west_gateway, west_tunnel
from lab import ping
from topologies import Single

KEPT = 0x7000  # NET_ADMIN, NET_RAW, IPC_LOCK


def status_of(path):
    with open(f"{path}/status") as status:
        return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)


class Privileges(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)

    def test_every_thread_of_the_dataplane_has_what_it_needs(self):
        west = self.stop_after(west_gateway(self.net.west, west_tunnel(start="wait"))).start()
        east = self.stop_after(east_gateway(self.net.east)).start()
        east.wait_up("west")
        west.wait_up("east")
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))
        pid, = east.pids("espgate-dataplane")
        threads = os.listdir(f"/proc/{pid}/task")
        self.assertGreater(len(threads), 1)
        for thread in threads:
            status = status_of(f"/proc/{pid}/task/{thread}")
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            kept = {kind: int(status[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
            self.assertEqual(kept, {"CapInh": 0, "CapPrm": KEPT, "CapEff": KEPT, "CapBnd": KEPT, "CapAmb": 0})
        with open(f"/proc/{pid}/limits") as limits:
            self.assertRegex(limits.read(), r"Max core file size +0 +0 ")


if __name__ == "__main__":
    unittest.main()
