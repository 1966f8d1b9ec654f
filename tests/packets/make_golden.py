#!/usr/bin/python3
"""Writes golden.json: ESP packets as others seal them, with what must come out of them: of every suite, in tunnel and
transport mode, IPv4 and IPv6 outside and inside, raw and in UDP, with and without ESN, a short and a longer one.

Each is made twice: by scapy, and by the cryptography package with nothing of scapy's ESP; they must be the same. GMAC,
which scapy does not have, is made by the latter alone. Where scapy 2.5 is not what the RFCs say, it is put right here:
the UDP header's length (RFC 3948) and, in esp_oracle.py, the high bits in an HMAC.

Run it again only to change what is covered; the kept file is what the tests read. Keys and contents are made from a
fixed seed, so that a second run gives the same file.
"""
import itertools
import json
import os
import random
import struct
import sys
from typing import NamedTuple

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crypto"))
from esp_oracle import suites

SIZES = [0, 1, 2, 3, 13, 64, 200, 512, 1300]
LOCAL = {4: "192.0.2.1", 6: "2001:db8:ff::1"}  # the packets come from REMOTE
REMOTE = {4: "192.0.2.2", 6: "2001:db8:ff::2"}
SPI = 0x00040003                               # worker 0, generation 1, slot 3
WINDOW = 64                                    # packets
ESP_PROTOCOL, UDP_PROTOCOL = 50, 17


class Form(NamedTuple):
    """What an SA is like besides its suite. In transport mode the inner header is the outer one."""
    transport: bool
    outer: int  # 4 or 6
    inner: int
    udp: bool
    esn: bool


FORMS = [form for form in itertools.starmap(Form, itertools.product((False, True), (4, 6), (4, 6), (False, True),
                                                                    (False, True)))
         if not form.transport or form.inner == form.outer]


def header(family, source, destination, tos, **more):
    if family == 6:
        return IPv6(src=source, dst=destination, hlim=more.get("ttl", 64), tc=tos, fl=77)
    return IP(src=source, dst=destination, tos=tos, **more)


def upper_layer(rng, family, size):
    """UDP, TCP or an echo request by turns."""
    echo = ICMPv6EchoRequest(id=9, seq=1) if family == 6 else ICMP(id=9, seq=1)
    return [UDP(sport=4000, dport=53), TCP(sport=4000, dport=80, flags="PA", seq=7), echo][size % 3] / Raw(rng.randbytes(size))


def inner_packet(rng, form, size):
    """From 10.2.0.2 (2001:db8:2::2) to the inside of the gateway; in transport mode from the peer to the gateway."""
    source, destination = {4: ("10.2.0.2", "10.1.0.2"), 6: ("2001:db8:2::2", "2001:db8:1::2")}[form.inner]
    if form.transport:
        source, destination = REMOTE[form.outer], LOCAL[form.outer]
    packet = header(form.inner, source, destination, rng.choice([0, 0xb8, 0xb9, 0xba]), ttl=61)
    if form.inner == 4:
        packet.id = rng.randrange(65536)
    return packet / upper_layer(rng, form.inner, size)


def parse(packet):
    return (IPv6 if packet[0] >> 4 == 6 else IP)(packet)


def traffic_class(packet):
    return packet.tc if isinstance(packet, IPv6) else packet.tos


def tunnel_header(form, tos=0):
    return header(form.outer, REMOTE[form.outer], LOCAL[form.outer], tos, ttl=57)


def in_front_of(packet, protocol, payload):
    """The header of `packet` without what follows it, in front of `payload`."""
    front = packet.copy()
    front.remove_payload()
    if isinstance(front, IPv6):
        front.nh, front.plen = protocol, len(payload)
    else:
        front.proto = protocol
        del front.len, front.chksum
    return parse(bytes(front / Raw(payload)))


def in_udp(packet, esp, checksum):
    """`esp` in UDP (RFC 3948) behind the header of `packet`. In IPv6 the checksum may be zero (RFC 6935)."""
    udp = struct.pack(">HHHH", 4500, 4500, 8 + len(esp), 0) + esp
    whole = in_front_of(packet, UDP_PROTOCOL, udp)
    if not checksum:
        return bytes(whole)
    del whole[UDP].chksum
    return bytes(whole)


def outer_packet(form, front, esp, checksum=False):
    return in_udp(front, esp, checksum) if form.udp else bytes(in_front_of(front, ESP_PROTOCOL, esp))


def sealed_by_scapy(suite, keys, high, form, tos, inner, low, iv):
    """What is ESP of it."""
    association = suite.association(keys, high, spi=SPI, seq_num=low,
                                    tunnel_header=None if form.transport else tunnel_header(form, tos),
                                    nat_t_header=UDP(sport=4500, dport=4500) if form.udp else None)
    sealed = bytes(association.encrypt(parse(bytes(inner)), seq_num=low, iv=iv))
    front = {4: 20, 6: 40}[form.outer]
    assert parse(sealed).src == REMOTE[form.outer]
    assert sealed[6 if form.outer == 6 else 9] == (UDP_PROTOCOL if form.udp else ESP_PROTOCOL)
    return sealed[front + (8 if form.udp else 0):]


def sequence_and_highest(rng, esn):
    """A sequence number and the highest one that the window had before: often on the two sides of a 32-bit cycle."""
    if not esn:
        return rng.randrange(1, 1 << 31), 0
    cycle = rng.randrange(1, 1 << 31) << 32
    highest = cycle + rng.choice([-1, 0, 1, rng.randrange(WINDOW // 2), -rng.randrange(WINDOW), rng.randrange(1 << 32)])
    return highest + rng.choice([1, 2, rng.randrange(1, 1 << 31), -rng.randrange(1, WINDOW)]), highest


def sealed(rng, suite, form, size):
    keys, iv = rng.randbytes(suite.key_material), rng.randbytes(suite.iv)
    sequence, highest = sequence_and_highest(rng, form.esn)
    high, low = struct.pack(">L", sequence >> 32) if form.esn else b"", sequence & 0xffffffff
    inner = inner_packet(rng, form, size)
    opened = parse(bytes(inner))
    plain, next_header = bytes(inner), 41 if form.inner == 6 else 4
    tos = traffic_class(inner)
    if form.transport:
        front, next_header = opened, opened.nh if form.inner == 6 else opened.proto
        plain = plain[len(plain) - len(opened.payload):]
    else:
        if tos & 3 and rng.random() < 0.5:  # congestion on the way (RFC 6040 section 4.2)
            tos |= 3
            opened = marked(opened)
        front = tunnel_header(form, tos)
    esp = suite.esp_packet(keys, SPI, sequence, iv, plain, high, next_header)
    if suite.mode != "gmac":
        assert esp == sealed_by_scapy(suite, keys, high, form, tos, inner, low, iv), (suite.name, form)
    outer = outer_packet(form, front, esp, checksum=form.outer == 6 and rng.random() < 0.5)
    return {"suite": suite.name, **form._asdict(), "keys": keys.hex(), "spi": SPI, "sequence": sequence,
            "highest": highest, "sealed": outer.hex(), "opened": bytes(opened).hex()}


def marked(packet):
    """With Congestion Experienced."""
    if isinstance(packet, IPv6):
        packet.tc |= 3
    else:
        packet.tos |= 3
        del packet.chksum
    return packet


def main():
    rng = random.Random(4303)
    classes = list(itertools.product(suites(), FORMS))
    packets = [sealed(rng, suite, form, size) for at, (suite, form) in enumerate(classes)
               for size in (SIZES[at % 4], SIZES[4 + (at // 4) % 5])]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(packet) for packet in packets) + "\n]\n")
    print(f"{len(packets)} packets of {len(classes)} classes")


if __name__ == "__main__":
    main()
