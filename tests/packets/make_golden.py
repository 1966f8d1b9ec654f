#!/usr/bin/python3
"""Writes golden.json: ESP packets sealed by scapy, with the inner packets that must come out of them.

Run it again only to change what is covered; the kept file is what the tests read. Keys and contents are made from a
fixed seed, so that a second run gives the same file.
"""
import json
import os
import random

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

SUITES = {  # name: scapy's cipher, scapy's integrity, bytes of cipher key, salt and integrity key
    "aes128gcm16": ("AES-GCM", None, 16, 4, 0),
    "aes256gcm16": ("AES-GCM", None, 32, 4, 0),
    "aes128-sha1": ("AES-CBC", "HMAC-SHA1-96", 16, 0, 20),
    "aes256-sha1": ("AES-CBC", "HMAC-SHA1-96", 32, 0, 20),
    "aes128-sha256": ("AES-CBC", "SHA2-256-128", 16, 0, 32),
    "aes256-sha256": ("AES-CBC", "SHA2-256-128", 32, 0, 32),
}
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
    cipher, integrity, key_length, salt_length, integrity_length = SUITES[suite]
    assert len(keys) == key_length + salt_length + integrity_length
    return SecurityAssociation(
        ESP, spi=spi, seq_num=sequence, crypt_algo=cipher, crypt_key=keys[:key_length + salt_length],
        auth_algo=integrity, auth_key=keys[key_length + salt_length:] or None,
        tunnel_header=IP(src=REMOTE, dst=LOCAL, id=1), nat_t_header=UDP(sport=4500, dport=4500) if udp else None)


def sealed(rng, suite, family, udp, size, sequence):
    keys = rng.randbytes(sum(SUITES[suite][2:]))
    inner = inner_packet(rng, family, size)
    iv = rng.randbytes(8 if SUITES[suite][0] == "AES-GCM" else 16)
    outer = security_association(suite, keys, SPI, udp, sequence).encrypt(inner.__class__(bytes(inner)), iv=iv)
    return {"suite": suite, "keys": keys.hex(), "spi": SPI, "sequence": sequence, "udp": udp,
            "outer": bytes(outer).hex(), "inner": bytes(inner).hex()}


def main():
    rng = random.Random(4303)
    packets = [sealed(rng, suite, family, udp, size, rng.randrange(1, 1 << 31))
               for suite in SUITES for family in (4, 6) for udp in (False, True) for size in SIZES]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(packet) for packet in packets) + "\n]\n")
    print(f"{len(packets)} packets")


if __name__ == "__main__":
    main()
