#!/usr/bin/python3
"""Runs seal-packets (argument 1) and opens with scapy what its encrypt way sealed: the inner packet must be the one
that went in with one hop less, and the outer header what RFC 4301, 4303, 3948 and 6040 say."""
import json
import subprocess
import sys

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP

from make_golden import security_association, suites

SUITES = {suite.name: suite for suite in suites()}


def one_hop_later(inner):
    if isinstance(inner, IPv6):
        inner.hlim -= 1
    else:
        inner.ttl -= 1
        del inner.chksum
    return inner.__class__(bytes(inner))


def checksum_is_right(packet):
    copy = packet.copy()
    del copy.chksum
    return IP(bytes(copy)).chksum == packet.chksum


def check(line):
    raw = bytes.fromhex(line["inner"])
    inner = one_hop_later(IPv6(raw) if raw[0] >> 4 == 6 else IP(raw))
    outer = IP(bytes.fromhex(line["outer"]))
    assert (outer.src, outer.dst, outer.ttl, outer.flags, outer.frag) == ("192.0.2.1", "192.0.2.2", 64, 0, 0)
    assert outer.tos == (inner.tc if isinstance(inner, IPv6) else inner.tos), "DSCP and ECN are copied"
    assert outer.len == len(bytes.fromhex(line["outer"])) and checksum_is_right(outer)
    assert outer.id == line["sequence"] & 0xffff
    if line["udp"]:
        assert outer.proto == 17 and (outer[UDP].sport, outer[UDP].dport, outer[UDP].chksum) == (4500, 4500, 0)
        assert outer[UDP].len == outer.len - 20
    else:
        assert outer.proto == 50
    assert outer[ESP].spi == line["spi"] and outer[ESP].seq == line["sequence"]
    suite = SUITES[line["suite"]]
    iv = bytes(outer[ESP].data[:suite.iv])
    keys = bytes.fromhex(line["keys"])
    if suite.mode == "gmac":  # scapy does not have it
        plaintext = suite.open(keys, bytes(outer[ESP]))
        opened = plaintext[:-2 - plaintext[-2]]
    else:
        opened = security_association(suite, keys, line["spi"], line["udp"]).decrypt(outer)
    assert bytes(opened) == bytes(inner), f"{bytes(opened).hex()} is not {bytes(inner).hex()}"
    return line["suite"], line["spi"], iv


def main():
    done = subprocess.run([sys.argv[1]], stdout=subprocess.PIPE, text=True, check=True)
    ivs = [check(json.loads(line)) for line in done.stdout.splitlines()]
    packets = len(ivs)
    assert packets == len(SUITES) * 2 * 9 * 2 * 2, packets
    ivs = [iv for iv in ivs if iv[-1]]  # NULL has none
    assert len(set(ivs)) == len(ivs), "an IV came twice under one key"
    print(f"{packets} packets opened")


if __name__ == "__main__":
    main()
