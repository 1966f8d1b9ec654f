#!/usr/bin/python3
"""Runs seal-packets (argument 1) and opens with scapy and with the cryptography package what its encrypt way sealed: the
inner packet must be the one that went in with one hop less (in transport mode the very one), and the outer header what
RFC 4301, 4303, 3948 and 6040 say. What comes in fragments scapy puts together first."""
import json
import struct
import subprocess
import sys

from scapy.layers.inet import IP, UDP, defragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, defragment6

from make_golden import FORMS, Form, in_front_of, parse, suites, traffic_class

SUITES = {suite.name: suite for suite in suites()}
OURS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8:ff::1", "2001:db8:ff::2")}
PACKETS_OF_A_CLASS = 7
PATH_MTU = 1500


def one_hop_later(inner):
    if isinstance(inner, IPv6):
        inner.hlim -= 1
    else:
        inner.ttl -= 1
        del inner.chksum
    return parse(bytes(inner))


def is_rebuilt(packet, field):
    """Does the checksum that scapy comes to stand in `packet`?"""
    copy = parse(bytes(packet))
    layer = copy.getlayer(field)
    stands = layer.chksum
    del layer.chksum
    return parse(bytes(copy)).getlayer(field).chksum == stands


def check_lengths(outer, size):
    if isinstance(outer, IPv6):
        assert outer.plen == size - 40
    else:
        assert outer.len == size and is_rebuilt(outer, IP)


def check_tunnel_header(outer, inner, line):
    assert (outer.src, outer.dst) == OURS[line["outer"]]
    assert traffic_class(outer) == traffic_class(inner), "DSCP and ECN are copied"
    if isinstance(outer, IPv6):
        assert outer.hlim == 64
    else:
        assert (outer.ttl, outer.flags, outer.frag, outer.ihl) == (64, 0, 0, 5)
        assert outer.id == line["sequence"] & 0xffff


def check_transport_header(outer, inner):
    """Everything of the packet's own header but what says what follows and how much of it."""
    changed = {IP: ("len", "proto", "chksum"), IPv6: ("plen", "nh")}[type(inner)]
    for field in inner.fields_desc:
        if field.name not in changed:
            assert outer.getfieldval(field.name) == inner.getfieldval(field.name), field.name


def esp_of(outer, line):
    """From the SPI on, and the UDP header looked at."""
    sealed = bytes(outer)
    front = 40 if line["outer"] == 6 else 20
    protocol = outer.nh if line["outer"] == 6 else outer.proto
    assert protocol == (17 if line["udp"] else 50)
    if not line["udp"]:
        return sealed[front:]
    source, destination, length, checksum = struct.unpack_from(">HHHH", sealed, front)
    assert (source, destination, length) == (4500, 4500, len(sealed) - front)
    # RFC 3948 section 2.1; in IPv6 zero is allowed by RFC 6935.
    assert checksum == 0 or (line["outer"] == 6 and is_rebuilt(outer, UDP))
    return sealed[front + 8:]


def opened_by_cryptography(suite, line, esp, high):
    plaintext = suite.open(bytes.fromhex(line["keys"]), esp, high)
    padding, next_header = plaintext[-2:]
    assert len(plaintext) % suite.alignment == 0 and padding < suite.alignment
    assert plaintext[:-2].endswith(bytes(range(1, padding + 1)))
    return plaintext[:-2 - padding], next_header


def opened_by_scapy(suite, line, outer, esp, high):
    """Without the UDP header, behind which scapy 2.5 does not open transport mode in IPv6."""
    association = suite.association(bytes.fromhex(line["keys"]), high, spi=line["spi"],
                                    tunnel_header=None if line["transport"] else parse(bytes(outer)))
    return bytes(association.decrypt(in_front_of(outer, 50, esp)))


def whole(pieces):
    """The packet that these are, which is one alone or fragments. Of these, RFC 791 and RFC 8200 section 4.5 want what
    scapy does not look at."""
    packets = [parse(bytes.fromhex(piece)) for piece in pieces]
    if len(packets) == 1:
        return bytes(packets[0])
    assert all(len(piece) // 2 <= PATH_MTU for piece in pieces)
    for packet, piece in zip(packets, pieces):
        check_lengths(packet, len(piece) // 2)
    if isinstance(packets[0], IPv6):
        headers = [packet[IPv6ExtHdrFragment] for packet in packets]
        assert len({header.id for header in headers}) == 1 and len({header.nh for header in headers}) == 1
        assert all(len(header.payload) % 8 == 0 for header in headers[:-1])
        return bytes(defragment6(packets))
    assert all(len(packet.payload) % 8 == 0 for packet in packets[:-1])
    done = defragment(packets)
    assert len(done) == 1
    return bytes(done[0])


def check(line):
    line["sealed"] = whole(line["sealed"]).hex()
    suite, form = SUITES[line["suite"]], Form(*(line[name] for name in Form._fields))
    outer, inner = parse(bytes.fromhex(line["sealed"])), parse(bytes.fromhex(line["plain"]))
    check_lengths(outer, len(line["sealed"]) // 2)
    if form.transport:
        check_transport_header(outer, inner)
    else:
        inner = one_hop_later(inner)
        check_tunnel_header(outer, inner, line)
    esp = esp_of(outer, line)
    assert struct.unpack_from(">LL", esp) == (line["spi"], line["sequence"] & 0xffffffff)
    high = struct.pack(">L", line["sequence"] >> 32) if form.esn else b""
    plain, next_header = opened_by_cryptography(suite, line, esp, high)
    text = bytes(inner)
    if form.transport:
        assert plain == bytes(inner.payload) and next_header == 17
    else:
        assert plain == text and next_header == (41 if form.inner == 6 else 4)
    if suite.mode != "gmac":  # scapy does not have it
        assert opened_by_scapy(suite, line, outer, esp, high) == text
    return (suite.name, form), (line["spi"], esp[8:8 + suite.iv])


def main():
    done = subprocess.run([sys.argv[1]], stdout=subprocess.PIPE, text=True, check=True)
    found = [check(json.loads(line)) for line in done.stdout.splitlines()]
    classes = [name for name, _ in found]
    assert len(set(classes)) == len(SUITES) * len(FORMS) and len(classes) == PACKETS_OF_A_CLASS * len(set(classes))
    ivs = [iv for _, iv in found if iv[1]]  # NULL has none
    assert len(set(ivs)) == len(ivs), "an IV came twice under one key"
    print(f"{len(classes)} packets of {len(set(classes))} classes opened")


if __name__ == "__main__":
    main()
