#!/usr/bin/python3
"""Recomputes every vector of crypto/selftest_vectors.hpp with the cryptography package. Argument: that header."""
import hashlib
import hmac
import re
import struct
import sys

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    print("skipped: the Debian package python3-cryptography is not installed")
    sys.exit(77)

HASHES = {"sha1": (hashlib.sha1, 20, 12), "sha256": (hashlib.sha256, 32, 16)}


def aes(key, mode, data):
    worker = Cipher(algorithms.AES(key), mode).decryptor()
    return worker.update(data) + worker.finalize()


def check_gcm(keys, packet, plaintext, seals, sequence):
    key, salt = keys[:-4], keys[-4:]
    assert AESGCM(key).decrypt(salt + packet[8:16], packet[16:], packet[:8]) == plaintext
    assert seals and packet[8:16] == struct.pack(">Q", sequence)


def check_cbc(keys, packet, plaintext, seals, sequence, key_length, hash_name):
    digest, integrity_length, icv_length = HASHES[hash_name]
    key, integrity_key = keys[:key_length], keys[key_length:]
    assert len(integrity_key) == integrity_length
    body, icv = packet[:-icv_length], packet[-icv_length:]
    assert hmac.new(integrity_key, body, digest).digest()[:icv_length] == icv
    assert aes(key, modes.CBC(body[8:24]), body[24:]) == plaintext
    if seals:
        assert aes(key, modes.ECB(), body[8:24]) == struct.pack(">QQ", 0, sequence)


def vectors(text):
    """The rows of the table: suite, source, three hexadecimal strings (each in pieces), a bool and a number."""
    text = re.sub(r'"\s+"', "", text)
    row = r'\{EspSuite::(\w+),\s*"([^"]*)",\s*"(\w+)",\s*"(\w+)",\s*"(\w+)",\s*(true|false),\s*(0x[0-9a-f]+|0)\}'
    for suite, source, *hexes, seals, sequence in re.findall(row, text):
        yield suite, source, *map(bytes.fromhex, hexes), seals == "true", int(sequence, 0)


def main():
    seen = set()
    count = 0
    for suite, source, keys, packet, plaintext, seals, sequence in vectors(open(sys.argv[1]).read()):
        bits, *mode = suite.removeprefix("aes").split("_")
        if mode[0] == "gcm16":
            check_gcm(keys, packet, plaintext, seals, sequence)
        else:
            check_cbc(keys, packet, plaintext, seals, sequence, int(bits) // 8, mode[1])
        seen.add(suite)
        count += 1
        print(f"ok {suite}: {source}")
    assert len(seen) == 6 and count >= 15, f"only {count} vectors of {len(seen)} suites were understood"


main()
