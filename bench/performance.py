#!/usr/bin/python3
"""Measures what docs/performance.md tells, and writes its tables: bench/performance.py [--from FILE.json]

What stands in that file above the line of marks is written by hand and kept. --from makes the tables of an earlier
measurement, which bench/performance.py leaves in build/performance.json.
"""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(ROOT, "build", "bench", "pipeline", "espgate-bench")
KEPT = os.path.join(ROOT, "build", "performance.json")
PAGE = os.path.join(ROOT, "docs", "performance.md")
MARK = "<!-- measured: everything below is written by bench/performance.py -->"
MORE_SUITES = ("aes192gcm16,aes128gmac,chacha20poly1305,aes128ccm16,aes128ctr-sha256,aes256-sha384,aes256-sha512,"
               "null-sha256")
SUITES = "aes128gcm16,aes256gcm16,aes128-sha1,aes256-sha1,aes128-sha256,aes256-sha256"

# way, suite, sizes, most cycles over ipsec-mb's that there should be, and what VPP 26.06 was measured to take.
RATIOS = [("encrypt", "aes128gcm16", {"64": (1.7, 2.3), "512": (1.4, 2.1), "1420": (1.2, 1.7)}),
          ("decrypt", "aes128gcm16", {"64": (2.0, 2.9), "512": (1.6, 2.3), "1420": (1.25, 1.65)}),
          ("encrypt", "aes128-sha1", {"64": (1.4, 1.8), "512": (1.2, 1.4), "1420": (1.08, 1.2)}),
          ("decrypt", "aes256-sha256", {"64": (1.4, 1.8), "512": (1.2, 1.4), "1420": (1.08, 1.2)})]
CHAIN = {"64": (260, 324), "1420": (480, 625)}
SCALE = {1: 0, 1000: 0, 10000: 75, 100000: 60}  # tunnels: least percentage of the rate of one

SWEEPS = {
    "suites": ["--way", "encrypt,decrypt", "--suite", f"{SUITES},{MORE_SUITES}", "--size", "64,256,512,1420,imix"],
    "chain": ["--way", "chain", "--size", "64,512,1420,imix"],
    "scale": ["--way", "encrypt,decrypt", "--size", "64,1420", "--tunnels", "1,1000,10000,100000", "--per-sa", "1"],
    "runs": ["--way", "encrypt,decrypt", "--suite", "aes128gcm16,aes128-sha1", "--size", "64,imix", "--tunnels", "10000",
             "--per-sa", "1,4,32"],
    "cold": ["--way", "encrypt,decrypt", "--suite", SUITES, "--size", "64,512,1420", "--cold"],
}
PAIRED = [(way, suite, size) for suite in ("aes128gcm16", "aes128-sha1", "aes256-sha256")
          for way in ("encrypt", "decrypt") for size in ("64", "1420")]
ROUNDS = 3


def measure(results, wanted):
    """The sweeps that are wanted; in `results` the others stay as they are."""
    results.update({"date": datetime.date.today().isoformat(), "machine": machine()})
    for name in wanted:
        print(f"performance: {name}", flush=True)
        if name == "paired":
            results[name] = [paired(*case) for case in PAIRED] if os.cpu_count() >= 2 else []
            continue
        rounds = [bench(*SWEEPS[name]) for _ in range(ROUNDS)]
        results[name] = [min(rows, key=lambda row: row["raw_cycles_per_packet"]["median"]) for rows in zip(*rounds)]
    with open(KEPT, "w", encoding="utf-8") as out:
        json.dump(results, out, indent=1)
    return results


def bench(*arguments):
    done = subprocess.run([BENCH, "--json", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def paired(way, suite, size):
    """One worker, two with a tunnel each, and one that is helped: by turns, because the machine changes meanwhile."""
    print(f"performance: two workers, {way} {suite} {size}", flush=True)
    case = ["--way", way, "--suite", suite, "--size", size]
    rates = {"alone": [], "two": [], "helped": []}
    for _ in range(ROUNDS):
        for kind, arguments in (("alone", []), ("two", ["--workers", "2"]), ("helped", ["--workers", "2", "--spread"])):
            rates[kind].append(bench(*case, *arguments)[0]["mpps"]["median"])
    return {"way": way, "suite": suite, "size": size, **{kind: statistics.median(mpps) for kind, mpps in rates.items()}}


def machine():
    listed = subprocess.run(["lscpu"], stdout=subprocess.PIPE, text=True, check=True).stdout
    model = re.search(r"Model name:\s*(.*)", listed).group(1)
    flags = re.search(r"Flags:\s*(.*)", listed).group(1).split()
    vectors = "AVX-512 with VAES" if {"avx512f", "vaes"} <= set(flags) else "AVX2" if "avx2" in flags else "SSE"
    head = subprocess.run([BENCH, "--way", "encrypt", "--size", "64", "--milliseconds", "1"], stdout=subprocess.PIPE,
                          text=True, check=True).stdout.splitlines()[0]
    return f"{model} ({vectors}), a virtual machine of {os.cpu_count()} CPUs; {head}"


def one(rows, **wanted):
    return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))


def mark(good):
    return "" if good else " **missed**"


def spread(values):
    return f"{values['median']:.0f} ({values['min']:.0f}..{values['max']:.0f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def ratios(results):
    out = []
    for way, suite, sizes in RATIOS:
        for size, (target, peer) in sizes.items():
            row = one(results["suites"], way=way, suite=suite, size=size)
            out.append([way, suite, size, spread(row["cycles_per_packet"]), spread(row["raw_cycles_per_packet"]),
                        f"{row['ratio']:.2f}{mark(row['ratio'] <= target)}", target, peer])
    return ["## Cycles a packet over ipsec-mb's", ""] + table(
        ["way", "suite", "bytes", "cycles", "ipsec-mb alone", "ratio", "target", "VPP 26.06"], out)


def chain(results):
    out = []
    for row in results["chain"]:
        cycles = row["cycles_per_packet"]["median"]
        target, peer = CHAIN.get(row["size"], ("", ""))
        out.append([row["size"], f"{spread(row['cycles_per_packet'])}{mark(target == '' or cycles <= target)}",
                    spread(row["raw_cycles_per_packet"]), f"{row['ratio']:.2f}", target, peer])
    return ["## Encrypt, then decrypt, in one worker (AES-128-GCM, cycles for the pair)", ""] + table(
        ["bytes", "cycles", "ipsec-mb alone", "ratio", "target", "VPP 26.06"], out)


def scale(results):
    out = []
    for row in results["scale"]:
        best = one(results["scale"], way=row["way"], size=row["size"], tunnels=1)["mpps"]["median"]
        share = 100 * row["mpps"]["median"] / best
        out.append([row["way"], row["size"], f"{row['tunnels']:,}", f"{row['mpps']['median']:.2f}",
                    spread(row["cycles_per_packet"]),
                    f"{share:.0f} %{mark(share >= SCALE[row['tunnels']])}", SCALE[row["tunnels"]] or "",
                    f"{row['chase_cycles']:.0f}{' noisy' if row['noisy'] else ''}"])
    return ["## Many tunnels (AES-128-GCM, every packet another SA than the one before)", "",
            "The share is of the rate with one tunnel. A dependent load is one somewhere in 16 MiB, in cycles, measured just",
            "before the row.", ""] + table(
        ["way", "bytes", "tunnels", "Mpps", "cycles", "share", "target %", "a dependent load"], out)


def plain(title, rows, keys):
    out = [[*(row[key] for key in keys), f"{row['mpps']['median']:.2f}", f"{row['gbps']['median']:.1f}",
            spread(row["cycles_per_packet"]), spread(row["raw_cycles_per_packet"]), f"{row['ratio']:.2f}"]
           for row in rows]
    return [f"## {title}", ""] + table([*keys, "Mpps", "Gbit/s", "cycles", "ipsec-mb alone", "ratio"], out)


def two_workers(results):
    out = []
    for row in results["paired"]:
        two, helped = row["two"] / row["alone"], row["helped"] / row["alone"]
        out.append([row["way"], row["suite"], row["size"], f"{row['alone']:.2f}",
                    f"{row['two']:.2f}", f"{two:.2f}{mark(two >= 1.9)}",
                    f"{row['helped']:.2f}", f"{helped:.2f}{mark(helped >= 1.6)}"])
    return ["## Two workers", "",
            "On separate tunnels, 1.9 times as fast as one is wanted; on one tunnel, whose cryptography the second one helps",
            f"with (`spread`), 1.6 times. Medians of {ROUNDS} runs of each, by turns.", ""] + table(
        ["way", "suite", "bytes", "Mpps of one", "of two", "times", "of one that is helped", "times"], out)


def stages(results):
    rows = [one(results["suites"], way=way, suite="aes128gcm16", size=size)
            for way in ("encrypt", "decrypt") for size in ("64", "1420")]
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]))
    out = [[row["way"], row["size"], *(f"{row['stages'].get(name, 0):.0f}" for name in names)] for row in rows]
    return ["## Where the cycles go (AES-128-GCM)", ""] + table(["way", "bytes", *names], out)


def page(results):
    lines = [f"Measured on {results['date']}: {results['machine']}.", "",
             f"Each figure is the median of 11 samples, with the least and the greatest; of {ROUNDS} such runs the one that was",
             "disturbed least, which is the one with the smallest figure for ipsec-mb alone.", ""]
    lines += ratios(results) + chain(results) + stages(results) + scale(results) + two_workers(results)
    lines += plain("Packets of one SA that follow each other (10,000 tunnels)", results["runs"],
                   ["way", "suite", "size", "per_sa"])
    lines += plain("Frames that are in no cache when they come; ipsec-mb alone gets them so, too", results["cold"],
                   ["way", "suite", "size"])
    lines += plain("All suites", results["suites"], ["way", "suite", "size"])
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Measures, and writes the tables of docs/performance.md.")
    parser.add_argument("--from", dest="kept", metavar="FILE.json", help="the tables of an earlier measurement")
    parser.add_argument("--only", nargs="+", choices=[*SWEEPS, "paired"], help="measure these, and keep the others")
    options = parser.parse_args()
    results = {}
    if options.kept or options.only:
        with open(options.kept or KEPT, encoding="utf-8") as kept:
            results = json.load(kept)
    if options.only or not options.kept:
        results = measure(results, options.only or [*SWEEPS, "paired"])
    with open(PAGE, encoding="utf-8") as old:
        by_hand = old.read().split(MARK)[0]
    with open(PAGE, "w", encoding="utf-8") as new:
        new.write(by_hand + MARK + "\n" + page(results))
    print(f"written to {os.path.relpath(PAGE, ROOT)}")


if __name__ == "__main__":
    main()
