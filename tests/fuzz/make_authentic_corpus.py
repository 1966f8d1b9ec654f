#!/usr/bin/python3
"""Writes corpus/esp_authentic: plaintexts of each kind that a peer may send, for each SA of esp_authentic.cpp, made by
scapy."""
import os
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NS, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop)

HERE = os.path.dirname(os.path.abspath(__file__))
SAS = 8
TRANSPORT = {5: 4, 6: 4, 7: 6}  # SA: family
TRAILER, ROOM, AGAIN, END = 8, 16, 32, 64


def packet(sa, plaintext, next_header, options=TRAILER | ROOM, tos=0):
    plaintext = bytes(plaintext)
    return struct.pack(">BBBH", sa | options, tos, next_header, len(plaintext)) + plaintext


def inner_packets():
    out = IP(src="10.2.0.2", dst="10.1.0.2")
    yield "udp", out / UDP() / (b"z" * 33)
    yield "syn", out / TCP(flags="S", options=[("MSS", 1460)])
    yield "echo", out / ICMP() / b"z"
    yield "large", out / UDP() / (b"y" * 1800)
    yield "large-df", IP(src="10.2.0.2", dst="10.1.0.2", flags="DF") / UDP() / (b"y" * 1800)
    yield "last-hop", IP(src="10.2.0.2", dst="10.1.0.2", ttl=1) / UDP()
    yield "options", IP(src="10.2.0.2", dst="10.1.0.2", options=4 * [IPOption_NOP()]) / UDP()
    yield "fragment", IP(src="10.2.0.2", dst="10.1.0.2", flags="MF") / (b"f" * 64)
    yield "unknown-neighbour", IP(src="10.2.0.2", dst="10.1.0.77") / UDP()
    yield "no-route", IP(src="10.2.0.2", dst="203.0.113.9") / UDP()
    yield "multicast", IP(src="10.2.0.2", dst="224.0.0.5") / UDP()
    yield "to-gateway", IP(src="10.2.0.2", dst="10.1.0.1") / ICMP() / b"ping"
    yield "to-gateway-udp", IP(src="10.2.0.2", dst="10.1.0.1") / UDP(dport=53)
    yield "ike", IP(src="10.2.0.2", dst="192.0.2.1") / UDP(sport=500, dport=500) / (b"i" * 28)
    yield "esp-again", IP(src="10.2.0.2", dst="192.0.2.1", proto=50) / (struct.pack(">LL", 0x00040000, 1) + b"e" * 40)
    inner6 = IPv6(src="2001:db8:2::2", dst="fd00:1::2")
    yield "udp6", inner6 / UDP() / (b"6" * 20)
    yield "extensions6", inner6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(m=1) / UDP()
    yield "large6", inner6 / UDP() / (b"6" * 1800)
    yield "last-hop6", IPv6(src="2001:db8:2::2", dst="fd00:1::2", hlim=1) / UDP()
    yield "to-gateway6", IPv6(src="2001:db8:2::2", dst="fd00:1::1") / ICMPv6EchoRequest(data=b"ping")
    yield "discovery6", IPv6(src="fe80::2", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="fd00:1::1")


def upper_packets(family):
    yield "udp", 17, UDP(dport=9) / (b"u" * 12)
    yield "ike", 17, UDP(sport=500, dport=500) / (b"i" * 28)
    yield "tcp", 6, TCP(flags="S")
    if family == 4:
        yield "echo", 1, ICMP() / b"ping"
        yield "tunnel", 4, IP(src="10.2.0.2", dst="10.1.0.2") / UDP()
    else:
        yield "echo", 58, ICMPv6EchoRequest(data=b"ping")
        yield "options", 60, IPv6ExtHdrDestOpt(nh=17) / UDP()
        yield "fragment", 44, IPv6ExtHdrFragment(nh=17, m=1) / UDP()


def inputs():
    for sa in range(SAS):
        if sa in TRANSPORT:
            for name, protocol, upper in upper_packets(TRANSPORT[sa]):
                yield f"{sa}-{name}", packet(sa, upper, protocol)
        else:
            for number, (name, inner) in enumerate(inner_packets()):
                if number % (SAS - 2) == sa or sa == 0:
                    yield f"{sa}-{name}", packet(sa, inner, 41 if isinstance(inner, IPv6) else 4, tos=number % 4)
        yield f"{sa}-dummy", packet(sa, b"", 59)
        yield f"{sa}-padding", packet(sa, bytes(9) + b"\1\2\3\4\5\6\x09\4", 0, ROOM)
    inner = IP(src="10.2.0.2", dst="10.1.0.2") / UDP() / (b"z" * 10)
    flow_padding = bytes(inner) + bytes(200)  # RFC 4303 section 2.7
    yield "flow-padding", packet(0, flow_padding, 4)
    yield "no-room", packet(0, inner, 4, TRAILER)
    yield "twins", packet(0, inner, 4) + packet(0, inner, 4, TRAILER | AGAIN)
    yield "replay", packet(0, inner, 4, TRAILER | ROOM | END) + packet(0, inner, 4, TRAILER | AGAIN)
    yield "many", b"".join(packet(at % SAS, inner, 4) for at in range(40))
    yield "fragments", b"".join(packet(0, piece, 4) for piece in fragments())


def fragments():
    whole = IP(src="10.2.0.2", dst="192.0.2.1", id=7) / UDP(sport=500, dport=500) / (b"i" * 100)
    upper = bytes(whole)[20:]
    for at in range(0, len(upper), 64):
        more = "MF" if at + 64 < len(upper) else ""
        yield IP(src="10.2.0.2", dst="192.0.2.1", id=7, proto=17, flags=more, frag=at // 8) / upper[at:at + 64]


def main():
    folder = os.path.join(HERE, "corpus", "esp_authentic")
    os.makedirs(folder, exist_ok=True)
    for number, (name, packets) in enumerate(inputs()):
        with open(os.path.join(folder, name), "wb") as out:
            out.write(bytes([number % 2]) + packets)


if __name__ == "__main__":
    main()
