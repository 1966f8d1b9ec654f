#!/usr/bin/python3
"""Has bfd-codec (argument 1) read and write control packets that scapy wrote: the fields must be those that scapy was
given, and our packet scapy's, byte by byte. Those that RFC 5880 section 6.8.6 discards must be discarded."""
import random
import subprocess
import sys

from scapy.contrib.bfd import BFD

PACKETS = 4000
POLL, FINAL, INDEPENDENT, AUTHENTICATED, DEMAND, MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01


def any_packet(rng):
    word = lambda: rng.choice([0, 1, 50_000, 1_000_000, 2 ** 32 - 1, rng.randrange(2 ** 32)])
    return {"version": rng.choice([1] * 20 + [0, 2, 7]), "diag": rng.randrange(32), "sta": rng.randrange(4),
            "flags": rng.choice([0, POLL, FINAL, INDEPENDENT, DEMAND, POLL | INDEPENDENT, rng.randrange(64)]),
            "detect_mult": rng.choice([1, 3, 255, rng.randrange(256)]), "len": rng.choice([24] * 20 + [0, 23, 25, 26]),
            "my_discriminator": word(), "your_discriminator": word(), "min_tx_interval": word(),
            "min_rx_interval": word(), "echo_rx_interval": word()}


def to_discard(packet):
    """RFC 5880 section 6.8.6, up to the selection of a session; authentication is nobody's here."""
    return (packet["version"] != 1 or packet["len"] != 24 or packet["detect_mult"] == 0
            or packet["flags"] & (MULTIPOINT | AUTHENTICATED) or packet["my_discriminator"] == 0
            or (packet["your_discriminator"] == 0 and packet["sta"] > 1))


def expected(packet, wire):
    if to_discard(packet):
        return "discarded"
    flag = lambda bit: 1 if packet["flags"] & bit else 0
    fields = [packet["sta"], packet["diag"], flag(POLL), flag(FINAL), flag(INDEPENDENT), flag(DEMAND),
              packet["detect_mult"], packet["my_discriminator"], packet["your_discriminator"],
              packet["min_tx_interval"], packet["min_rx_interval"], packet["echo_rx_interval"], wire.hex()]
    return " ".join(str(field) for field in fields)


def main():
    rng = random.Random(5880)
    packets = [any_packet(rng) for _ in range(PACKETS)]
    wires = [bytes(BFD(**packet)) for packet in packets]
    given = "".join(wire.hex() + "\n" for wire in wires) + wires[0][:23].hex() + "\n"
    lines = subprocess.run([sys.argv[1]], input=given, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
    kept = 0
    for packet, wire, line in zip(packets, wires, lines):
        assert line == expected(packet, wire), f"{packet}\n  ours: {line}\nscapy: {expected(packet, wire)}"
        kept += line != "discarded"
    assert lines[PACKETS] == "discarded", "one byte is missing"
    assert PACKETS // 4 < kept < PACKETS, kept
    print(f"{PACKETS} packets of scapy's, {kept} of them kept, agree in every field and byte")


if __name__ == "__main__":
    main()
