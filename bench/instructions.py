#!/usr/bin/python3
"""Counts the instructions that a packet takes in the workers' ways, with valgrind: bench/instructions.py [--check]

They are the same on every machine with the same compiler, whatever else it is doing, so a regression shows that no
clock here would. Without --check the figures are written to bench/instructions.json, which goes into the commit that
changed them; with it they are held against that file.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(ROOT, "build", "bench", "pipeline", "espgate-bench")
KEPT = os.path.join(ROOT, "bench", "instructions.json")
BURSTS, BURST = 40, 64
TOLERANCE = 1.03
CASES = [(way, suite, size) for way in ("encrypt", "decrypt") for suite, size in
         (("aes128gcm16", "64"), ("aes128gcm16", "1420"), ("aes128-sha1", "64"))]


def instructions_per_packet(way, suite, size):
    with tempfile.TemporaryDirectory() as scratch:
        argv = ["valgrind", "--tool=callgrind", "--toggle-collect=*process_received*",
                f"--callgrind-out-file={scratch}/out", BENCH, "--way", way, "--suite", suite, "--size", size,
                "--bursts", str(BURSTS)]
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not collected:
        sys.exit(f"instructions: {' '.join(argv)}\n{done.stderr[-2000:]}")
    return round(int(collected.group(1)) / (BURSTS * BURST))


def main():
    parser = argparse.ArgumentParser(description="Counts the instructions that a packet takes.")
    parser.add_argument("--check", action="store_true", help="hold them against instructions.json, and write nothing")
    check = parser.parse_args().check
    if not shutil.which("valgrind"):
        print("valgrind is not installed")
        return 77
    counted = {f"{way} {suite} {size}": instructions_per_packet(way, suite, size) for way, suite, size in CASES}
    if not check:
        with open(KEPT, "w", encoding="utf-8") as out:
            out.write(json.dumps(counted, indent=2) + "\n")
        print(json.dumps(counted, indent=2))
        return 0
    with open(KEPT, encoding="utf-8") as kept_file:
        kept = json.load(kept_file)
    worse = {case for case in counted if counted[case] > kept.get(case, 0) * TOLERANCE}
    for case, count in counted.items():
        print(f"{case:28} {count:6} instructions a packet, kept {kept.get(case)}{'  MORE' if case in worse else ''}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
