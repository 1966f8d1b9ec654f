#!/usr/bin/python3
"""Writes esp_vectors.hpp: ESP packets as the sealing engine must make them, made by scapy's ESP and by the
cryptography package instead. For each of the first six suites 20 payload lengths, for each other four of them, and two
for each with ESN.

What sealing leaves to the engine's choice is the IV, and that is a function of key and sequence. scapy is given the IV
and builds the rest, trailer and ICV included; the cryptography package on its own comes to the same packet, and opens it.

    make_esp_vectors.py > esp_vectors.hpp      (Debian: python3-scapy, python3-cryptography)
"""
import random
import struct
import textwrap

from scapy.layers.inet import IP
from scapy.layers.ipsec import ESP
from scapy.packet import Raw

from esp_oracle import suites

# Bytes of inner IP packet: around the block and lane sizes, a minimal packet, full frames.
LENGTHS = [20, 28, 29, 33, 46, 47, 62, 63, 64, 78, 94, 126, 127, 254, 511, 576, 1006, 1280, 1438, 1500]


def inner_packet(length):
    payload = random.Random(length).randbytes(length - 20)
    return bytes(IP(src="10.1.0.1", dst="10.2.0.1", proto=17, ttl=61, id=length) / Raw(payload))


def make(suite, rng, spi, sequence, length, esn=False):
    keys = rng.randbytes(suite.key_material)
    inner = inner_packet(length)
    iv = suite.engine_iv(keys, sequence)
    high = struct.pack(">L", sequence >> 32) if esn else b""
    packet = suite.esp_packet(keys, spi, sequence, iv, inner, high)
    if suite.mode != "gmac":  # scapy does not have it
        association = suite.association(keys, high, spi=spi, tunnel_header=IP(src="192.0.2.1", dst="192.0.2.2"))
        assert packet == bytes(association.encrypt(IP(inner), seq_num=sequence & 0xffffffff, iv=iv)[ESP])
    plaintext = suite.open(keys, packet, high)
    assert plaintext[:length] == inner and plaintext[-1] == 4 and len(plaintext) % suite.alignment == 0
    return suite.enumerator(), sequence, esn, LENGTHS.index(length), keys, packet


def literal(data):
    lines = textwrap.wrap(data.hex(), 100) or [""]
    return "\n     ".join(f'"{line}"' for line in lines)


def main():
    rng = random.Random(4303)
    rows = []
    for number, suite in enumerate(suites(), 1):
        for at, length in enumerate(LENGTHS):
            if number <= 6 or at % 5 == number % 5:
                rows.append(make(suite, rng, 0x10000 * number + at, 1 + at * 0x01234567, length))
    for number, suite in enumerate(suites(), 1):
        for at in (number % 10, 10 + number % 7):
            sequence = rng.randrange(1 << 32, 1 << 64)
            rows.append(make(suite, rng, 0x1000000 * number + at, sequence, LENGTHS[at], True))
    print("// Made by make_esp_vectors.py; not to be edited.")
    print("#pragma once\n\n#include <cstddef>\n#include <cstdint>\n#include <string_view>\n\n#include \"crypto/suite.hpp\"\n")
    print("namespace espgate::crypto::test {\n\n// clang-format off")
    print("inline constexpr std::string_view kInnerPackets[] = {")
    for length in LENGTHS:
        print(f"    {literal(inner_packet(length))},")
    print("};\n\n// `inner`: of kInnerPackets.")
    print("struct EspVector {\n  EspSuite suite;\n  std::uint64_t sequence;\n  bool esn;\n  std::size_t inner;\n"
          "  std::string_view keys, packet;\n};")
    print("inline constexpr EspVector kEspVectors[] = {")
    for name, sequence, esn, inner, keys, packet in rows:
        print(f"    {{EspSuite::{name}, {sequence}u, {str(esn).lower()}, {inner},\n     {literal(keys)},\n     {literal(packet)}}},")
    print("};\n// clang-format on\n\n}  // namespace espgate::crypto::test")


main()
