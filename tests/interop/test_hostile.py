#!/usr/bin/python3
"""
Strangers on the wire between the gateways: half-open IKE SAs by the hundred, and garbage to every door.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     strongSwan, and strangers
"""
import ctypes
import os
import random
import socket
import struct
import unittest

from base import EAST, WEST, LabCase, east_gateway, east_tunnel, west_swan
from lab import Capture, ping, wait_until
from topologies import Single

HALF_OPEN = 120
DATAGRAMS = 30000
CLONE_NEWNET = 0x40000000


def in_namespace(space, work):
    """Runs `work` in a child process that has entered the namespace."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(f"/run/netns/{space.name}") as handle:
                if ctypes.CDLL(None).setns(handle.fileno(), CLONE_NEWNET) != 0:
                    raise OSError("setns")
            work()
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        raise AssertionError("the sender failed")


def payloads(pcap, layer_filter):
    """The UDP payloads that scapy finds in a capture."""
    from scapy.all import UDP, rdpcap
    return [bytes(packet[UDP].payload) for packet in rdpcap(pcap) if UDP in packet and layer_filter(packet)]


def send_half_open(template):
    """IKE_SA_INIT requests from the configured peer's address, each as of another IKE SA and from another port."""
    for number in range(HALF_OPEN):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((WEST, 0))
        sender.sendto(struct.pack(">Q", 0x5EED000000000000 + number) + template[8:], (EAST, 500))
        sender.close()


def mutated(templates, generator):
    data = bytearray(generator.choice(templates))
    for _ in range(generator.randint(1, 6)):
        data[generator.randrange(len(data))] = generator.randrange(256)
    return bytes(data[:generator.randint(1, len(data))] if generator.random() < 0.3 else data)


def send_garbage(ike, esp):
    """To both IKE ports and to protocol 50, mutated from real datagrams with a fixed seed."""
    generator = random.Random(4301)
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 50)
    for _ in range(DATAGRAMS):
        way = generator.randrange(4)
        if way == 0:
            plain.sendto(mutated(ike, generator), (EAST, 500))
        elif way == 1:
            plain.sendto(b"\0\0\0\0" + mutated(ike, generator), (EAST, 4500))
        elif way == 2:
            plain.sendto(mutated(esp, generator), (EAST, 4500))
        else:
            raw.sendto(mutated(esp, generator), (EAST, 0))


class Strangers(LabCase):
    @classmethod
    def build(cls):
        cls.net = Single(cls.lab)

    def captured_exchange(self):
        """Brings the tunnel up by strongSwan; gives its IKE and ESP payloads as they were on the wire."""
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(start="wait"))).start()
        west = self.stop_after(west_swan(self.net.west).start())
        capture = Capture(self.net.west, "wan", "udp and src host 192.0.2.2")
        west.initiate("east")
        east.wait_up("west")
        self.assertTrue(ping(self.net.lan_w, "10.1.0.10"))
        pcap = capture.stop()
        ike = payloads(pcap, lambda packet: packet.dport == 500)
        on_4500 = payloads(pcap, lambda packet: packet.dport == 4500)
        ike += [data[4:] for data in on_4500 if data[:4] == b"\0\0\0\0"]
        esp = [data for data in on_4500 if data[:4] != b"\0\0\0\0" and len(data) > 8]
        return east, west, ike, esp

    # RFC 7296 section 2.6: beyond a number of half-open SAs a responder asks for cookies, and a peer that returns its
    # cookie gets in.
    def test_cookies_are_asked_for(self):
        east, west, ike, _ = self.captured_exchange()
        west.swanctl("--terminate", "--ike", "east")
        east.wait_down("west")
        in_namespace(self.net.west, lambda: send_half_open(ike[0]))
        wait_until(lambda: len(east.json("show", "ike", "sa")) >= 60, 10,
                   lambda: f"half-open SAs: {len(east.json('show', 'ike', 'sa'))}, {east.drops()}")
        west.initiate("east")
        self.assertIn("N(COOKIE)", west.log())
        east.wait_up("west")
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))

    def test_garbage_harms_nothing(self):
        east, west, ike, esp = self.captured_exchange()
        before = east.json("show", "ipsec", "sa")[0]["inbound_spi"]
        pids = east.pids("espgate-dataplane") + east.pids("espgate-control")
        in_namespace(self.net.west, lambda: send_garbage(ike, esp))
        self.assertEqual(east.pids("espgate-dataplane") + east.pids("espgate-control"), pids, "nobody fell")
        self.assertTrue(east.up("west"))
        self.assertTrue(west.established("east"))
        self.assertEqual(east.json("show", "ipsec", "sa")[0]["inbound_spi"], before, "the same SA")
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))
        self.assertTrue(ping(self.net.lan_w, "10.1.0.10"))
        drops = east.drops()
        self.assertTrue({"unknown-spi", "integrity", "replay-old", "esp-truncated", "ike-malformed", "outer-mismatch"} &
                        set(drops), drops)


if __name__ == "__main__":
    unittest.main()
