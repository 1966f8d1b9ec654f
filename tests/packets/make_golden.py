#!/usr/bin/python3
"""Writes golden.json: ESP packets sealed by scapy, with the inner packets that must come out of them.

Of the first six suites each size in each family, with and without UDP; of the others each size once.
Run it again only to change what is covered; the kept file is what the tests read. Keys and contents are made from a
fixed seed, so that a second run gives the same file.
"""
import json
import os
import random
import sys

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crypto"))
from esp_oracle import suites

SIZES = [0, 1, 2, 3, 13, 64, 512, 1300]
LOCAL, REMOTE = "192.0.2.1", "192.0.2.2"  # the packets come from REMOTE
SPI = 0x00040003                          # worker 0, generation 1, slot 3


def inner_packet(rng, family, size):
    """What comes from 10.2.0.2 (2001:db8:2::2) to the inside of the gateway: UDP, TCP or ICMP by turns."""
    payload = Raw(rng.randbytes(size))
    upper = [UDP(sport=4000, dport=53), TCP(sport=4000, dport=80, flags="PA", seq=7), ICMP(id=9, seq=1)][size % 3]
    tos = rng.choice([0, 0xb8])
    if family == 6:
        upper = UDP(sport=4000, dport=53) if isinstance(upper, ICMP) else upper
        return IPv6(src="2001:db8:2::2", dst="2001:db8:1::2", hlim=64, tc=tos, fl=77) / upper / payload
    return IP(src="10.2.0.2", dst="10.1.0.2", ttl=64, id=rng.randrange(65536), tos=tos) / upper / payload


def security_association(suite, keys, spi, udp, sequence=1):
    """scapy's end of an SA from REMOTE to LOCAL; check_sealed.py opens with the same."""
    return suite.association(keys, spi=spi, seq_num=sequence, tunnel_header=IP(src=REMOTE, dst=LOCAL, id=1),
                             nat_t_header=UDP(sport=4500, dport=4500) if udp else None)


def sealed(rng, suite, family, udp, size, sequence):
    keys = rng.randbytes(suite.key_material)
    inner = inner_packet(rng, family, size)
    iv = rng.randbytes(suite.iv)
    if suite.mode == "gmac":  # scapy does not have it
        esp = suite.esp_packet(keys, SPI, sequence, iv, bytes(inner))
        outer = IP(src=REMOTE, dst=LOCAL, proto=50) / Raw(esp)
        if udp:
            outer = IP(src=REMOTE, dst=LOCAL) / UDP(sport=4500, dport=4500, chksum=0) / Raw(esp)
    else:
        outer = security_association(suite, keys, SPI, udp, sequence).encrypt(inner.__class__(bytes(inner)), iv=iv)
    return {"suite": suite.name, "keys": keys.hex(), "spi": SPI, "sequence": sequence, "udp": udp,
            "outer": bytes(outer).hex(), "inner": bytes(inner).hex()}


def main():
    rng = random.Random(4303)
    packets = [sealed(rng, suite, family, udp, size, rng.randrange(1, 1 << 31))
               for suite in suites()[:6] for family in (4, 6) for udp in (False, True) for size in SIZES]
    packets += [sealed(rng, suite, 4 if at & 1 else 6, bool(at & 2), size, rng.randrange(1, 1 << 31))
                for number, suite in enumerate(suites()[6:]) for at, size in enumerate(SIZES, number)]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(packet) for packet in packets) + "\n]\n")
    print(f"{len(packets)} packets")


if __name__ == "__main__":
    main()
