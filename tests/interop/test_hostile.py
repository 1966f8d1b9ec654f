#!/usr/bin/python3
"""
Strangers on the wire between the gateways: half-open IKE SAs by the hundred, and garbage to every door.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     strongSwan, and strangers

Then a flood of first messages, half of them in the name of a peer, which stands beside that peer:

                                                  192.0.2.2 west-a, and the flood
  lan-e --- east 192.0.2.1 --- net (switch) ---<                                   >--- lan-w
            espgate                               192.0.2.3 west-b
"""
import ctypes
import os
import random
import socket
import signal
import struct
import time
import unittest

import swan
from base import EAST, EAST_LAN, PSK, WEST, LabCase, east_gateway, east_tunnel, to_lan, west_swan
from gateway import Gateway, configuration, tunnel
from lab import Capture, ping, wait_until
from topologies import Dual, Single

HALF_OPEN = 420  # cookies are asked for under 320
DATAGRAMS = 30000
FLOOD_SECONDS = 60  # at most: the test ends it
CLONE_NEWNET = 0x40000000


def begin_in_namespace(space, work):
    """Begins `work` in a child process that has entered the namespace, and returns its pid."""
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
    return child


def in_namespace(space, work):
    if os.waitpid(begin_in_namespace(space, work), 0)[1] != 0:
        raise AssertionError("the sender failed")


def payloads(pcap, layer_filter):
    """The UDP payloads that scapy finds in a capture."""
    from scapy.all import UDP, rdpcap
    return [bytes(packet[UDP].payload) for packet in rdpcap(pcap) if UDP in packet and layer_filter(packet)]


def send_half_open(template):
    """IKE_SA_INIT requests from the configured peer's address, each as of another IKE SA and from another port; no more
    of them a second than are taken from one peer."""
    for number in range(HALF_OPEN):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((WEST, 0))
        sender.sendto(struct.pack(">Q", 0x5EED000000000000 + number) + template[8:], (EAST, 500))
        sender.close()
        time.sleep(0.004)


def spoofed(template, source, port, number):
    """An IKE_SA_INIT request of an IKE SA of its own, from whomever."""
    data = struct.pack(">Q", 0x5EED000000000000 + number) + template[8:]
    udp = struct.pack(">HHHH", port, 500, 8 + len(data), 0)
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 0, number & 0xFFFF, 0, 64, socket.IPPROTO_UDP, 0, socket.inet_aton(source),
                       socket.inet_aton(EAST)) + udp + data


def flood(template):
    generator = random.Random(7296)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    end, number = time.monotonic() + FLOOD_SECONDS, 0
    while time.monotonic() < end:
        for _ in range(50):
            number += 1
            source = WEST if number % 2 else f"198.18.{generator.randrange(256)}.{generator.randrange(1, 255)}"
            raw.sendto(spoofed(template, source, generator.randrange(1024, 65536), number), (EAST, 0))
        time.sleep(0.005)  # 10,000 a second at most


def memory_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))


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
        wait_until(lambda: len(east.json("show", "ike", "sa")) >= 310, 10,
                   lambda: f"half-open SAs: {len(east.json('show', 'ike', 'sa'))}, {east.drops()}")
        west.initiate("east")
        self.assertIn("N(COOKIE)", west.log())
        east.wait_up("west")
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))
        self.shows("Exchange", "COOKIE", "responder")

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


class Flood(LabCase):
    """Half-open IKE SAs cost a bounded amount, and keep neither the peers that are up nor an honest new one away."""

    PEERS = {"west-a": WEST, "west-b": "192.0.2.3"}

    @classmethod
    def build(cls):
        cls.net = Dual(cls.lab)

    def setUp(self):
        tunnels = [tunnel(name, EAST, address, "east.example", f"{name}.example", PSK, dpd="2s", start="wait")
                   for name, address in self.PEERS.items()]
        ports = [("lan", "lan", EAST_LAN), ("wan", "wan", [EAST + "/24"])]
        self.east = self.stop_after(Gateway(self.net.east, configuration(
            "east", ports, tunnels, to_lan(2, group="west"), [{"name": "west", "tunnels": list(self.PEERS)}]))).start()
        self.east.process.comes_first()  # what else runs here is no part of the flood
        self.peers = {}
        for name, space in (("west-a", self.net.west_a), ("west-b", self.net.west_b)):
            connection = swan.connection(self.PEERS[name], EAST, f"{name}.example", "east.example")
            self.peers[name] = self.stop_after(swan.Swan(space, {"east": connection},
                                                         [(f"{name}.example", "east.example", PSK)]).start())
            self.peers[name].process.comes_first()

    def first_message(self):
        capture = Capture(self.net.west_a, "wan", "udp dst port 500")
        self.peers["west-a"].initiate("east")
        self.east.wait_up("west-a")
        return payloads(capture.stop(), lambda packet: packet.dport == 500)[0]

    def stop_flood(self, child):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def spi(self):
        return [row["inbound_spi"] for row in self.east.json("show", "ipsec", "sa", "west-a")]

    def test_peers_go_on_and_a_new_one_gets_in(self):
        template = self.first_message()
        control = self.east.pids("espgate-control")[0]
        before, spi = memory_of(control), self.spi()
        child = begin_in_namespace(self.net.west_a, lambda: flood(template))
        self.addCleanup(self.stop_flood, child)
        wait_until(lambda: self.east.drops().get("ike-rate-limited", 0) > 1000, 10, lambda: str(self.east.drops()))
        began = time.monotonic()
        self.peers["west-b"].initiate("east", seconds=10)
        self.assertLess(time.monotonic() - began, 5, f"an honest new peer: {self.east.drops()}")
        self.east.shell("rekey", "tunnel", "west-a")
        wait_until(lambda: self.spi() and not set(spi) & set(self.spi()), 15, "the peer's SA is rekeyed, and the old one gone")
        self.assertEqual(os.waitpid(child, os.WNOHANG), (0, 0), "all this while the flood went on")
        self.assertLess(memory_of(control) - before, 16 << 20)
        self.assertTrue(self.east.up("west-a") and self.east.up("west-b"))
        self.assertNotIn("west-a: down", self.east.process.output())
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10"))


if __name__ == "__main__":
    unittest.main()
