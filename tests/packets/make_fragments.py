#!/usr/bin/python3
"""Writes fragments.json: golden.json's tunnelled packets with IPv4 outside and inside, without ESN, cut into two to eight
fragments by scapy.

Run it again after make_golden.py; the kept file is what the tests read.
"""
import json
import os
import random

from scapy.layers.inet import IP, fragment

HERE = os.path.dirname(os.path.abspath(__file__))
MOST = 8  # fragments of one packet


def cut(rng, packet):
    payload = len(packet) - 20
    wanted = rng.randint(2, MOST)
    size = max(8, (-(-payload // wanted) + 7) // 8 * 8)
    pieces = [bytes(piece) for piece in fragment(IP(packet), fragsize=size)]
    assert 2 <= len(pieces) <= MOST
    return pieces


def main():
    rng = random.Random(791)
    with open(os.path.join(HERE, "golden.json"), encoding="utf-8") as golden:
        packets = [packet for packet in json.load(golden)
                   if packet["outer"] == packet["inner"] == 4 and not packet["transport"] and not packet["esn"]]
    rows = [dict({key: packet[key] for key in ("suite", "keys", "spi", "sequence", "udp")},
                 outer=packet["sealed"], inner=packet["opened"],
                 fragments=[piece.hex() for piece in cut(rng, bytes.fromhex(packet["sealed"]))])
            for packet in packets]
    with open(os.path.join(HERE, "fragments.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(f"{len(rows)} packets")


if __name__ == "__main__":
    main()
