#!/usr/bin/python3
"""
Tunnels with manual keys: no sequence number is ever sent twice under a key, whoever is killed when.

  lan-e --- east 192.0.2.1 ---wan--- 192.0.2.2 west --- lan-w
            espgate                     espgate
"""
import os
import random
import signal
import struct
import time
import unittest

from base import EAST, WEST, LabCase, east_gateway, west_gateway
from lab import Capture, Ping, ping, wait_until
from topologies import Single

EAST_SPI, WEST_SPI = 0x00040007, 0x00040009  # each side's inbound one
TO_EAST, TO_WEST = bytes(range(36)), bytes(range(100, 136))


def manual_tunnel(name, local, remote, inbound, outbound, **more):
    def direction(spi, file):
        return {"spi": f"{spi:#010x}", "key-file": file}
    return {"name": name, "local": {"address": local}, "remote": {"address": remote},
            "manual": {"suite": "aes256gcm16", "inbound": direction(inbound, "in.key"),
                       "outbound": direction(outbound, "out.key"), **more}}


def with_keys(gateway, inbound, outbound, state):
    """Raw for one, hex for the other; and a state directory of its own."""
    for name, data in (("in.key", inbound), ("out.key", outbound.hex().encode() + b"\n")):
        path = os.path.join(gateway.directory, name)
        with open(path, "wb") as out:
            out.write(data)
        os.chmod(path, 0o600)
    gateway.configure({**gateway.config, "state-directory": os.path.join(gateway.directory, state)})
    return gateway


def esp_packets(pcap):
    """(SPI, sequence number, IP packet) of all."""
    from scapy.all import IP, RawPcapReader
    found = []
    for frame, _ in RawPcapReader(pcap):
        packet = frame[14:]
        header = (packet[0] & 15) * 4
        found.append((*struct.unpack_from(">II", packet, header), IP(packet)))
    return found


class ManualKeys(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Single(cls.lab, dpdk_west=True)

    def state(self):
        """A directory for each test: they use the same keys."""
        return self._testMethodName[5:20]

    def gateways(self, **more):
        east = east_gateway(self.net.east, manual_tunnel("west", EAST, WEST, EAST_SPI, WEST_SPI, **more))
        west = west_gateway(self.net.west, manual_tunnel("east", WEST, EAST, WEST_SPI, EAST_SPI, **more))
        with_keys(east, TO_EAST, TO_WEST, self.state())
        with_keys(west, TO_WEST, TO_EAST, self.state())
        return self.stop_after(east), self.stop_after(west)

    def kill(self, gateway, *names):
        """kill -9, of the supervisor first, so that it does not tidy up."""
        pids = [pid for name in ("espgate", *names) for pid in gateway.pids(name)]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it went with the supervisor
        gateway.process.popen.wait(10)
        wait_until(lambda: not any(gateway.pids(name) for name in ("espgate", *names)), 10, "the processes end")

    def check_wire(self, pcap, spi, key):
        """No number twice; scapy opens what it is given."""
        from scapy.all import IP, ICMP
        from scapy.layers.ipsec import ESP, SecurityAssociation
        sent = [(sequence, packet) for its, sequence, packet in esp_packets(pcap) if its == spi]
        numbers = [sequence for sequence, _ in sent]
        self.assertGreater(len(numbers), 50)
        self.assertEqual(len(numbers), len(set(numbers)), "a sequence number came twice")
        self.assertEqual(numbers, sorted(numbers))
        association = SecurityAssociation(ESP, spi=spi, crypt_algo="AES-GCM", crypt_key=key)
        for _, packet in random.Random(1).sample(sent, 20):
            self.assertIn(ICMP, association.decrypt(packet)[IP])
        return numbers

    def test_killed_at_bad_moments(self):
        east, west = self.gateways()
        west.start()
        west.wait_up("east")  # which needs nobody's answer
        capture = Capture(self.net.west, "wan", "src", "host", EAST, "and", "esp")
        chance = random.Random(4303)
        for number in range(4):
            east.start()
            east.wait_up("west")
            wait_until(lambda: ping(self.net.lan_e, "10.2.0.10", count=1), 20, "the tunnel carries")
            flood = Ping(self.net.lan_e, "10.2.0.10", interval=0.002, name=f"flood{number}").wait_answered()
            time.sleep(chance.uniform(0.1, 0.6))
            if number == 1:
                east.kill("espgate-control")
                time.sleep(chance.uniform(0.0, 0.3))
            self.kill(east, "espgate-control", "espgate-dataplane")
            flood.process.stop()
        east.start()
        east.wait_up("west")
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "the tunnel carries")

        def sa():
            return east.json("show", "ipsec", "sa")[0]
        wait_until(lambda: sa()["outbound_sequence"] > 4 * 2**25, 10, sa)
        row = sa()
        self.assertTrue(row["manual"])
        self.assertLess(row["outbound_packets"], 100)  # counted from this start, unlike the numbers
        self.assertEqual(east.tunnels()["west"]["keys"], "manual")
        numbers = self.check_wire(capture.stop(), WEST_SPI, TO_WEST)
        self.assertGreater(numbers[-1], 4 * 2**25)

    def test_the_control_process_alone_is_killed(self):
        """Nothing is lost, and nothing is passed over."""
        east, west = self.gateways(encapsulation="udp", esn=False)
        west.start()
        east.start()
        east.wait_up("west")
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10", count=1), 20, "the tunnel carries")
        before = east.json("show", "ipsec", "sa")[0]["outbound_sequence"]
        flood = Ping(self.net.lan_e, "10.2.0.10").wait_answered()
        east.kill("espgate-control")
        east.wait_up("west")
        _, missing = flood.stop()
        self.assertEqual(missing, [])
        time.sleep(0.5)
        self.assertLess(east.json("show", "ipsec", "sa")[0]["outbound_sequence"], before + 2**20)

    def test_a_damaged_file_keeps_the_tunnel_down(self):
        east, _ = self.gateways()
        east.start()
        east.wait_up("west")
        east.stop()
        with open(os.path.join(east.directory, self.state(), "sequence-numbers"), "r+b") as numbers:
            numbers.seek(45)
            numbers.write(b"zz")
        east.start()
        wait_until(lambda: "is damaged" in east.tunnels()["west"]["last_error"], 20, "the error is told")
        self.assertFalse(east.up("west"))
        self.assertIn("new keys", east.tunnels()["west"]["last_error"])


if __name__ == "__main__":
    unittest.main()
