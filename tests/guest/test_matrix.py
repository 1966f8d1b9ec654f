#!/usr/bin/python3
"""
All that can be agreed on with a Linux kernel's ESP and strongSwan in the guest (matrix.py): raw ESP of every suite. The
network is in guest_case.py; west has an address for each tunnel, 10.2.0.100, .101, ...
"""
import unittest

from guest_case import GuestCase, east_gateway
from matrix import Matrix
from test_suites import suites

ALONE = "the guest is a machine in software, which takes a CPU"


class Kernel(Matrix, GuestCase):
    SUITES = suites()

    @classmethod
    def build(cls):
        super().build()
        cls.west.batch([f"addr add 10.2.0.{100 + number}/32 dev lan" for number in range(len(cls.SUITES))])

    def new_gateway(self, tunnels, routes):
        return east_gateway(self.net.east, *tunnels, routes=routes)

    def new_peer(self, settings):
        self.settings = settings
        self.addCleanup(self.swan.stop)
        return self.swan

    def start_peer(self, connections, secrets, ppks):
        self.swan.start(connections, secrets, self.settings, ppks)


if __name__ == "__main__":
    unittest.main()
