#!/usr/bin/python3
"""Draws docs/failover.svg from a real run: the packets that conf/examples/oci-dual-tunnel.yaml sends into each of its
two tunnels, ten milliseconds at a time, while the way to one far end is cut and comes back.

  sudo bench/failover.py [--rate 4000] [--into docs/failover.svg]

The network is that of tests/interop/test_cloud.py: namespaces, strongSwan at both far ends. Needs scripts/test's build.
"""
import argparse
import os
import struct
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))

from lab import Capture, wait_until  # noqa: E402
from test_cloud import ADDRESSES, CPE, FLOWS, OracleDualTunnel  # noqa: E402

BIN = 0.01  # seconds
BEFORE, AWAY, AFTER = 1.5, 4.0, 3.5  # seconds of the picture: up to the cut, cut, from the return on
COLOURS = ("#1b6ca8", "#d1662a")
WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 130, 60, 60, 46


def times_of(path):
    """When each packet of a pcap file passed, in seconds."""
    with open(path, "rb") as pcap:
        data = pcap.read()
    times, at = [], 24
    while at + 16 <= len(data):
        seconds, micros, captured, _ = struct.unpack_from("<IIII", data, at)
        times.append(seconds + micros / 1e6)
        at += 16 + captured
    return times


def counts(times, began, seconds):
    bins = [0] * round(seconds / BIN)
    for moment in times:
        place = int((moment - began) / BIN)
        if 0 <= place < len(bins):
            bins[place] += 1
    return bins


class Run(OracleDualTunnel):
    """The lab of the test, with a cut in the middle."""

    RATE = 4000

    def cut(self):
        self.net.internet.nft("table ip cut { chain forward { type filter hook forward priority 0; "
                              f"ip daddr {ADDRESSES[0]} drop; ip saddr {ADDRESSES[0]} drop; }}; }}")

    def mend(self):
        self.net.internet.run("nft", "delete", "table", "ip", "cut")

    def measure(self):
        # Before the cut, so that what is sent into it is seen too.
        captures = [Capture(self.net.internet, "to-cpe", f"udp port 4500 and src host {CPE} and dst host {address} and "
                            "greater 120") for address in ADDRESSES]
        streams = self.streams(rate=self.RATE)
        time.sleep(BEFORE + 1)
        cut = time.time()
        self.cut()
        time.sleep(AWAY)
        self.mend()
        mended = time.time()
        wait_until(lambda: self.alive(*self.tunnels), 60, "both far ends are alive again")
        back = time.time()
        time.sleep(AFTER)
        accounts = [stream.stop() for stream in streams]
        return {"cut": cut, "mended": mended, "back": back, "accounts": accounts,
                "times": [times_of(capture.stop()) for capture in captures]}


def path(values, left, top, scale, step):
    points = [f"{left + place * step:.1f},{top + HEIGHT - value * scale:.1f}" for place, value in enumerate(values)]
    return "M" + " L".join(points)


def draw(run, rate):
    began = run["cut"] - BEFORE
    seconds = run["back"] - began + AFTER
    rows = [counts(times, began, seconds) for times in run["times"]]
    most = max(max(row) for row in rows)
    flows = [flow["in_a_row"] * FLOWS / account["rate"] for account in run["accounts"]
             for flow in account["lost_by_flow"].values()]
    step, scale = WIDTH / len(rows[0]), HEIGHT / most
    size = f'width="{LEFT + WIDTH + 20}" height="{TOP + 2 * (HEIGHT + GAP) + 20}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="{LEFT}" y="20" font-size="15">Packets in 10 ms into each tunnel: {rate} packets a second of '
             f'{2 * FLOWS} flows, IPv4 and IPv6</text>',
             f'<text x="{LEFT}" y="38" fill="#444">{len(flows)} flows were moved, and each was blocked for '
             f'{1000 * max(flows):.0f} ms at most; the others lost nothing</text>']
    for number, row in enumerate(rows):
        top = TOP + number * (HEIGHT + GAP)
        lines.append(f'<path d="M{LEFT},{top} V{top + HEIGHT} H{LEFT + WIDTH}" fill="none" stroke="#888"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{top + 4}" text-anchor="end">{most}</text>'
                     f'<text x="{LEFT - 8}" y="{top + HEIGHT}" text-anchor="end">0</text>')
        lines.append(f'<text x="{LEFT + 6}" y="{top + 4}" fill="{COLOURS[number]}">oci-{number + 1}</text>')
        lines.append(f'<path d="{path(row, LEFT, top, scale, step)}" fill="none" stroke="{COLOURS[number]}"/>')
    for moment, words in ((run["cut"], "cut"), (run["mended"], "mended")):
        at = LEFT + (moment - began) / seconds * WIDTH
        bottom = TOP + 2 * HEIGHT + GAP
        lines.append(f'<path d="M{at:.1f},{TOP} V{bottom}" stroke="#b00" stroke-dasharray="4 3"/>'
                     f'<text x="{at + 4:.1f}" y="{bottom + 30}" fill="#b00">the way to oci-1 is {words}</text>')
    for second in range(int(seconds) + 1):
        at = LEFT + second / seconds * WIDTH
        lines.append(f'<text x="{at:.1f}" y="{TOP + 2 * HEIGHT + GAP + 15}" text-anchor="middle">{second} s</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Draws a failover and a return from a real run.")
    parser.add_argument("--rate", type=int, default=Run.RATE)
    parser.add_argument("--into", default=os.path.join(ROOT, "docs", "failover.svg"))
    options = parser.parse_args()
    Run.RATE = options.rate
    Run.setUpClass()
    try:
        lab = Run("measure")
        lab.setUp()
        result = lab.measure()
        lab.doCleanups()
    finally:
        Run.doClassCleanups()
    with open(options.into, "w", encoding="utf-8") as out:
        out.write(draw(result, options.rate))
    for account in result["accounts"]:
        print({key: value for key, value in account.items() if key != "lost_by_flow"})
    print(f"usable {result['back'] - result['mended']:.2f} s after the way was mended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
