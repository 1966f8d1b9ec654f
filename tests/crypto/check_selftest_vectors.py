#!/usr/bin/python3
"""Recomputes every vector of crypto/selftest_vectors.hpp with the cryptography package. Argument: that header."""
import re
import sys

try:
    from esp_oracle import suites
except ImportError:
    print("skipped: the Debian package python3-cryptography is not installed")
    sys.exit(77)


def check(suite, keys, packet, plaintext, seals, sequence):
    assert suite.open(keys, packet) == plaintext
    iv = packet[8:8 + suite.iv]
    assert suite.seal(keys, packet[:8], iv, plaintext) == packet
    assert not seals or suite.engine_iv(keys, sequence) == iv


def vectors(text):
    """The rows of the table: suite, source, three hexadecimal strings (each in pieces), a bool and a number."""
    text = re.sub(r'"\s+"', "", text)
    row = r'\{EspSuite::(\w+),\s*"([^"]*)",\s*"(\w+)",\s*"(\w+)",\s*"(\w+)",\s*(true|false),\s*(0x[0-9a-f]+|0)\}'
    for suite, source, *hexes, seals, sequence in re.findall(row, text):
        yield suite, source, *map(bytes.fromhex, hexes), seals == "true", int(sequence, 0)


def main():
    known = {suite.enumerator(): suite for suite in suites()}
    sealed = set()
    count = 0
    text = open(sys.argv[1]).read()
    for suite, source, keys, packet, plaintext, seals, sequence in vectors(text):
        check(known[suite], keys, packet, plaintext, seals, sequence)
        if seals:
            sealed.add(suite)
        count += 1
        print(f"ok {suite}: {source}")
    assert count == text.count("{EspSuite::"), f"only {count} vectors were understood"
    assert sealed == known.keys(), f"sealing is not shown of {known.keys() - sealed}"


main()
