#!/usr/bin/python3
"""Writes esp_vectors.hpp: ESP packets as the sealing engine must make them, made by scapy's ESP and by the
cryptography package instead. For each suite 20 payload lengths.

What sealing leaves to the engine's choice is the IV, and that is a function of key and sequence: AES-GCM takes the
sequence itself, AES-CBC its encryption as one block. scapy is given the IV and builds the rest, trailer and ICV
included; the cryptography package then opens each packet once more on its own.

    make_esp_vectors.py > esp_vectors.hpp      (Debian: python3-scapy, python3-cryptography)
"""
import hashlib
import hmac
import random
import struct
import textwrap

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

SUITES = [  # name, cipher key, salt, integrity key, IV, ICV, alignment, scapy's cipher and integrity, hash
    ("aes128_gcm16", 16, 4, 0, 8, 16, 4, "AES-GCM", "NULL", None),
    ("aes256_gcm16", 32, 4, 0, 8, 16, 4, "AES-GCM", "NULL", None),
    ("aes128_cbc_sha1", 16, 0, 20, 16, 12, 16, "AES-CBC", "HMAC-SHA1-96", hashlib.sha1),
    ("aes256_cbc_sha1", 32, 0, 20, 16, 12, 16, "AES-CBC", "HMAC-SHA1-96", hashlib.sha1),
    ("aes128_cbc_sha256", 16, 0, 32, 16, 16, 16, "AES-CBC", "SHA2-256-128", hashlib.sha256),
    ("aes256_cbc_sha256", 32, 0, 32, 16, 16, 16, "AES-CBC", "SHA2-256-128", hashlib.sha256),
]
# Bytes of inner IP packet: around the block and lane sizes, a minimal packet, full frames.
LENGTHS = [20, 28, 29, 33, 46, 47, 62, 63, 64, 78, 94, 126, 127, 254, 511, 576, 1006, 1280, 1438, 1500]


def aes(key, mode, data, encrypt=True):
    cipher = Cipher(algorithms.AES(key), mode)
    worker = cipher.encryptor() if encrypt else cipher.decryptor()
    return worker.update(data) + worker.finalize()


def inner_packet(length):
    payload = random.Random(length).randbytes(length - 20)
    return bytes(IP(src="10.1.0.1", dst="10.2.0.1", proto=17, ttl=61, id=length) / Raw(payload))


def engine_iv(name, key, sequence):
    if "gcm" in name:
        return struct.pack(">Q", sequence)
    return aes(key, modes.ECB(), struct.pack(">QQ", 0, sequence))


def open_again(suite, key, salt, integrity_key, packet):
    _, _, _, _, iv_length, icv_length, _, _, _, digest = suite
    header, iv, rest = packet[:8], packet[8:8 + iv_length], packet[8 + iv_length:]
    if digest is None:
        return AESGCM(key).decrypt(salt + iv, rest, header)
    assert hmac.new(integrity_key, packet[:-icv_length], digest).digest()[:icv_length] == rest[-icv_length:]
    return aes(key, modes.CBC(iv), rest[:-icv_length], encrypt=False)


def make(suite, rng, spi, sequence, length):
    name, key_length, salt_length, integrity_length, iv_length, _, alignment, cipher, integrity, _ = suite
    key, salt = rng.randbytes(key_length), rng.randbytes(salt_length)
    integrity_key = rng.randbytes(integrity_length)
    association = SecurityAssociation(ESP, spi=spi, crypt_algo=cipher, crypt_key=key + salt, auth_algo=integrity,
                                      auth_key=integrity_key, tunnel_header=IP(src="192.0.2.1", dst="192.0.2.2"))
    inner = inner_packet(length)
    sealed = association.encrypt(IP(inner), seq_num=sequence & 0xffffffff, iv=engine_iv(name, key, sequence))
    packet = bytes(sealed[ESP])
    plaintext = open_again(suite, key, salt, integrity_key, packet)
    assert plaintext[:length] == inner and plaintext[-1] == 4 and len(plaintext) % alignment == 0
    return name, sequence, LENGTHS.index(length), key + salt + integrity_key, packet


def literal(data):
    lines = textwrap.wrap(data.hex(), 100) or [""]
    return "\n     ".join(f'"{line}"' for line in lines)


def main():
    rng = random.Random(4303)
    rows = []
    for number, suite in enumerate(SUITES, 1):
        for at, length in enumerate(LENGTHS):
            rows.append(make(suite, rng, 0x10000 * number + at, 1 + at * 0x01234567, length))
    print("// Made by make_esp_vectors.py; not to be edited.")
    print("#pragma once\n\n#include <cstddef>\n#include <cstdint>\n#include <string_view>\n\n#include \"crypto/suite.hpp\"\n")
    print("namespace espgate::crypto::test {\n\n// clang-format off")
    print("inline constexpr std::string_view kInnerPackets[] = {")
    for length in LENGTHS:
        print(f"    {literal(inner_packet(length))},")
    print("};\n\n// `inner`: of kInnerPackets.")
    print("struct EspVector { EspSuite suite; std::uint64_t sequence; std::size_t inner; std::string_view keys, packet; };")
    print("inline constexpr EspVector kEspVectors[] = {")
    for name, sequence, inner, keys, packet in rows:
        print(f"    {{EspSuite::{name}, {sequence}u, {inner},\n     {literal(keys)},\n     {literal(packet)}}},")
    print("};\n// clang-format on\n\n}  // namespace espgate::crypto::test")


main()
