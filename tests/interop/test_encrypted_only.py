#!/usr/bin/python3
"""
An encrypted-only port with a twin, provoked from both sides: what the kernel sends there in clear does not leave, and what
comes in clear does not reach the kernel. Captured on the wire, and at the twin.

  east wan 192.0.2.1 --- 192.0.2.2 wan west
  espgate  (esp-wan)               a kernel that says what it likes
"""
import json
import unittest

from base import LabCase
from gateway import Gateway, configuration
from lab import Capture, Lab, wait_until

EAST, WEST = "192.0.2.1", "192.0.2.2"
OTHER = 7777

# One line for each: what is sent, from which port, to where, how many bytes of UDP; or how long it tries TCP, in seconds.
SEND = """
import socket, sys
for line in sys.argv[1:]:
    kind, source, host, port, much = line.split()
    family, _, _, _, to = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as each:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("", int(source)))
        if kind == "udp":
            each.sendto(b"in clear" * (int(much) // 8), to)
            continue
        each.settimeout(float(much))
        try:
            each.connect(to)
            print("connected to", host, port)
        except OSError:
            pass
"""
# A service on a TCP port, of each address.
LISTEN = """
import socket, sys
listening = socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("listens", flush=True)
while True:
    listening.accept()[0].close()
"""


class EncryptedOnly(LabCase):
    @classmethod
    def build(cls):
        cls.east, cls.west = cls.lab.namespace("east"), cls.lab.namespace("west")
        cls.lab.link(cls.east, "wan", cls.west, "wan")
        Lab.for_dpdk(cls.east, "wan")
        cls.west.address("wan", WEST + "/24")
        config = configuration("east", [("wan", "wan", [EAST + "/24"])], [], [])
        config["ports"][0].update({"encrypted-only": True, "kernel": "esp-wan"})
        cls.gateway = Gateway(cls.east, config).start()
        wait_until(lambda: cls.shown(cls.east, "esp-wan")["operstate"] != "DOWN", 30, "the twin is up")
        cls.east_link, cls.west_link = cls.link_local(cls.east, "esp-wan"), cls.link_local(cls.west, "wan")

    @staticmethod
    def shown(space, interface):
        return json.loads(space.ip("-json", "addr", "show", "dev", interface).stdout)[0]

    @classmethod
    def link_local(cls, space, interface):
        def found():
            return [each["local"] for each in cls.shown(space, interface)["addr_info"]
                    if each["local"].startswith("fe80") and not each.get("tentative")]
        return wait_until(found, 20, f"{interface} has its link-local address")[0]

    def listen(self, space):
        """BGP and ssh are there to be had."""
        for port in (22, 179):
            service = space.start(f"listen-{space.short}-{port}", "/usr/bin/python3", "-c", LISTEN, str(port))
            self.addCleanup(service.stop)
            wait_until(lambda service=service: "listens" in service.output(), 20, "a service listens")

    def send(self, space, *lines):
        """Says what could be connected to."""
        return space.run("/usr/bin/python3", "-c", SEND, *lines).stdout.splitlines()

    def drops(self, name):
        return self.gateway.drops().get(name, 0)

    def provoked(self, capture, space, name, fewest, *lines):
        """Sends them until so many were dropped by this name."""
        before = self.drops(name)
        connected = self.send(space, *lines)
        wait_until(lambda: self.drops(name) - before >= fewest, 20, lambda: f"{name}: {self.gateway.drops()}")
        capture.stop()
        return connected

    def test_nothing_leaves_in_clear(self):
        self.listen(self.west)
        wire = Capture(self.west, "wan", "ip or ip6")
        link = f"{self.west_link}%esp-wan"
        connected = self.provoked(
            wire, self.east, "cleartext-out", 7,
            f"tcp 0 {WEST} 179 15", f"tcp 0 {link} 179 15", f"udp 500 {WEST} {OTHER} 4000",
            f"tcp 179 {WEST} 22 0.3", f"udp 0 {WEST} 500 80", f"udp {OTHER} {WEST} {OTHER} 80",
            f"udp {OTHER} {link} {OTHER} 80", f"tcp 0 {link} 22 0.3")
        self.assertEqual(connected, [f"connected to {WEST} 179", f"connected to {link} 179"])
        self.assertGreaterEqual(wire.count("tcp port 179"), 4)
        self.assertEqual(wire.count("udp src port 500 and ip[6:2] & 0x1fff == 0"), 1, "the first fragment may be IKE's")
        self.assertEqual(wire.packets("ip[6:2] & 0x1fff != 0"), [])
        self.assertEqual(wire.packets("tcp port 22 or udp dst port 500 or (udp port 7777 and not src port 500)"), [])

    def test_nothing_comes_in_in_clear(self):
        self.listen(self.east)
        wire = Capture(self.west, "wan", "ip or ip6")
        twin = Capture(self.east, "esp-wan", "")
        link = f"{self.east_link}%wan"
        connected = self.provoked(
            twin, self.west, "cleartext-in", 6,
            f"tcp 0 {EAST} 179 15", f"tcp 0 {link} 179 15",
            f"tcp 179 {EAST} 22 0.3", f"tcp 179 {link} 22 0.3", f"udp 500 {EAST} {OTHER} 80", f"udp 4500 {EAST} {OTHER} 80",
            f"udp 500 {EAST} {OTHER} 1600", f"udp {OTHER} {link} {OTHER} 80")
        wire.stop()
        self.assertEqual(connected, [f"connected to {EAST} 179", f"connected to {link} 179"])
        self.assertGreaterEqual(wire.count("tcp port 22"), 2)
        self.assertEqual(wire.packets(f"tcp src port 22 or udp src port {OTHER} and src host {EAST}"), [], "no answer")
        self.assertGreaterEqual(twin.count("tcp dst port 179"), 4)
        to_us = f"(dst host {EAST} or dst host {self.east_link})"  # the kernel itself speaks of its groups there
        self.assertEqual(twin.packets(f"not tcp port 179 and {to_us}"), [])


if __name__ == "__main__":
    unittest.main()
