#!/usr/bin/python3
"""Writes corpus/esp_receive: one input of each kind that esp_receive.cpp knows, made by scapy."""
import json
import os

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether

HERE = os.path.dirname(os.path.abspath(__file__))
MAC = ["02:00:00:00:01:00", "02:00:00:00:01:01"]  # of the target's ports


def trailer(inner, next_header):
    padding = -(len(inner) + 2) % 4
    return bytes(inner) + bytes(range(1, padding + 1)) + bytes([padding, next_header])


def inputs():
    to_tunnel = IP(src="10.1.0.2", dst="10.2.0.2")
    to_tunnel6 = IPv6(src="2001:db8:1::2", dst="2001:db8:2::2")
    from_tunnel = IP(src="10.2.0.2", dst="10.1.0.2")
    to_us = IP(src="192.0.2.2", dst="192.0.2.1")
    yield "frame-arp", 0x00, Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="192.0.2.1")
    yield "frame-udp", 0x01, Ether(dst=MAC[1]) / to_tunnel / UDP() / (b"x" * 20)
    yield "frame-runt", 0x00, b"\x02\x00\x00"
    yield "ip-options", 0x15, IP(src="10.1.0.2", dst="10.2.0.2", options=4 * [IPOption_NOP()]) / UDP()
    yield "ip-syn", 0x15, to_tunnel / TCP(flags="S", options=[("NOP", None), ("MSS", 1460)])
    yield "ip-large", 0x15, to_tunnel / UDP() / (b"y" * 2000)
    yield "ip6-syn", 0x15, to_tunnel6 / TCP(flags="S", options=[("MSS", 1460)])
    yield "ip6-extensions", 0x15, to_tunnel6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1) / UDP()
    yield "ip6-discovery", 0x15, IPv6(src="fe80::2", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="2001:db8:1::1")
    yield "ip-ike", 0x14, to_us / UDP(sport=500, dport=500) / (b"i" * 28)
    yield "ip-keepalive", 0x14, to_us / UDP(sport=4500, dport=4500) / b"\xff"
    yield "ip-marker", 0x14, to_us / UDP(sport=4500, dport=4500) / (bytes(4) + b"i" * 28)
    yield "inner-udp", 0x24, trailer(from_tunnel / UDP() / (b"z" * 33), 4)
    yield "inner-ecn", 0x27, trailer(from_tunnel / ICMP() / b"z", 4)
    yield "inner-6", 0x24, trailer(IPv6(src="2001:db8:2::2", dst="2001:db8:1::2") / UDP(), 41)
    yield "inner-bfd", 0x24, trailer(IP(src="10.2.0.2", dst="10.1.0.1", ttl=255) / UDP(dport=3784) / bytes(24), 4)
    yield "inner-echo", 0x24, trailer(IP(src="10.2.0.2", dst="10.1.0.1") / ICMP(type="echo-reply"), 4)
    yield "inner-dummy", 0x24, trailer(b"", 59)
    yield "inner-padding", 0x24, b"\1\2\3\4\5\6\x09\4"
    with open(os.path.join(HERE, "..", "packets", "golden.json"), encoding="utf-8") as golden:
        yield "ip-esp", 0x14, bytes.fromhex(json.load(golden)[0]["sealed"])


def main():
    folder = os.path.join(HERE, "corpus", "esp_receive")
    os.makedirs(folder, exist_ok=True)
    for name, how, packet in inputs():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(bytes([how]) + bytes(packet))


if __name__ == "__main__":
    main()
