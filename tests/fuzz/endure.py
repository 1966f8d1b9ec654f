#!/usr/bin/python3
"""Lets a fuzz target run for so much time of a CPU, whatever else the machine is doing, and prints what came of it as
JSON: tests/fuzz/endure.py NAME --into FOLDER [--cpu-seconds 3600] [--build build-asan]

The program and its corpus are copied to FOLDER/NAME and run there, so neither the tree nor a new build touches a run.
What was ended (SIGTERM, SIGINT) goes on from what it had found by then, where it is begun with the same FOLDER again.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACE = 2  # seconds between two looks
LONGEST_INPUT = 16384
PATIENCE = 900  # seconds of the clock for one input: at the lowest priority, a busy machine lets it wait
COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def prepare(name, build, into):
    """The folder of the run, with a copy of the program and of its corpus."""
    folder = os.path.join(into, name)
    if os.path.isdir(folder):
        return folder
    os.makedirs(os.path.join(folder, "corpus"))
    shutil.copy(os.path.join(ROOT, build, "tests", "fuzz", f"fuzz-{name}"), os.path.join(folder, "program"))
    for path in glob.glob(os.path.join(ROOT, "tests", "fuzz", "corpus", name, "*")):
        shutil.copy(path, os.path.join(folder, "corpus"))
    return folder


def logs(folder):
    return sorted(glob.glob(os.path.join(folder, "log.*")))


def seconds_before(folder):
    """Of the CPU, that the runs until now have used."""
    try:
        with open(os.path.join(folder, "seconds"), encoding="ascii") as kept:
            return float(kept.read())
    except FileNotFoundError:
        return 0.0


def let_run(folder, wanted):
    """Until all runs have used `wanted` seconds or this one has found something."""
    argv = [os.path.join(folder, "program"), "-print_final_stats=1", f"-timeout={PATIENCE}",
            f"-report_slow_units={PATIENCE}", "-rss_limit_mb=4096", f"-max_len={LONGEST_INPUT}",
            "-detect_leaks=0",  # a look after every input that keeps memory costs many inputs; short runs do it
            f"-artifact_prefix={folder}/", os.path.join(folder, "corpus")]
    before = seconds_before(folder)
    used = 0.0
    with open(os.path.join(folder, f"log.{len(logs(folder)):03}"), "w", encoding="utf-8") as log:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                 preexec_fn=lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)))
        try:
            while child.poll() is None and before + used < wanted:
                time.sleep(PACE)
                used = cpu_seconds(child.pid) if child.poll() is None else used
        finally:
            child.send_signal(signal.SIGINT)
            child.wait()
            shutil.rmtree(f"/var/run/dpdk/espgate-test-{child.pid}", ignore_errors=True)  # DPDK's, of an interrupted one
            with open(os.path.join(folder, "seconds"), "w", encoding="ascii") as kept:
                kept.write(str(before + used))


def outcome(folder, name):
    texts = []
    for path in logs(folder):
        with open(path, encoding="utf-8", errors="replace") as log:
            texts.append(log.read())
    coverage = [found for text in texts for found in COVERAGE.findall(text)]
    executed = [int(found) for text in texts for found in re.findall(r"stat::number_of_executed_units:\s*(\d+)", text)]
    finds = [os.path.basename(path) for kind in ("crash", "leak", "timeout", "oom")
             for path in glob.glob(os.path.join(folder, f"{kind}-*"))]
    return {"target": name, "cpu_seconds": round(seconds_before(folder)), "executions": sum(executed),
            "coverage_first": coverage[0] if coverage else None, "coverage_last": coverage[-1] if coverage else None,
            "finds": finds}


def main():
    parser = argparse.ArgumentParser(description="Lets a fuzz target run for long.")
    parser.add_argument("name")
    parser.add_argument("--into", required=True, help="a folder outside of the tree")
    parser.add_argument("--cpu-seconds", type=float, default=3600)
    parser.add_argument("--build", default="build-asan")
    arguments = parser.parse_args()
    folder = prepare(arguments.name, arguments.build, arguments.into)
    let_run(folder, arguments.cpu_seconds)
    result = outcome(folder, arguments.name)
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["finds"] else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
