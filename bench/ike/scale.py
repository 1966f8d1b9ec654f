#!/usr/bin/python3
"""
Two real control processes, `espgate-control`, each with its `espgate-signer`, and with as many tunnels between them as asked for, over dataplanes
without packets and a wire in memory (bench/ike/wire.cpp). No root needed.

  west: espgate-control --- channel --- ike-wire --- channel --- espgate-control :east

All tunnels are set up at once, by west. Measured: seconds from attaching to the last SA, CPU of either side for one
tunnel, the control process's and its signer's, memory for one tunnel, and how long a shell command waits meanwhile.
"""
import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("ESPGATE_BUILD", os.path.join(ROOT, "build"))
PER_LOOPBACK = 16
POLL = 0.02  # seconds between two commands at one shell


def addresses(net, count):
    return [f"10.{net}.{i // 250}.{i % 250 + 1}" for i in range(count)]


def write_configuration(path, here, there, tunnels, start, options):
    """Tunnels between all pairs of the ends' addresses, as many as it takes."""
    edge = 1
    while edge * edge < tunnels:
        edge += 1
    ours, theirs = addresses(here, edge), addresses(there, edge)
    loopbacks = [{"name": f"lo{i}", "addresses": [f"{a}/32" for a in ours[i * PER_LOOPBACK:(i + 1) * PER_LOOPBACK]]}
                 for i in range((edge + PER_LOOPBACK - 1) // PER_LOOPBACK)]
    rows = []
    for i in range(tunnels):
        # The same pair of ends has the same number on both sides.
        a, b = (i % edge, i // edge) if here < there else (i // edge, i % edge)
        rows.append({"name": f"t{i}", "local": {"address": ours[a], "id": f"t{i}.{here}.example"},
                     "remote": {"address": theirs[b], "id": f"t{i}.{there}.example"}, "psk": f"the secret of {i}",
                     "start": start, "ike": {"proposals": [options.ike], "lifetime": "24h"},
                     "esp": {"proposals": [options.esp], "lifetime": "12h"}, "dpd": 0})
    text = {"name": f"gw{here}", "dataplane": {"max-tunnels": tunnels}, "ports": [{"name": "wan", "device": "af_packet:wan", "addresses": [f"192.0.2.{here}/24"]}],
            "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.254"}], "loopbacks": loopbacks, "tunnels": rows}
    with open(path, "w", encoding="utf-8") as out:
        json.dump(text, out)  # which is YAML, too


class Shell(threading.Thread):
    """Asks the same few commands again and again and notes how long each answer took."""

    COMMANDS = ("show tunnels t0", "show ike sa t0", "show ipsec sa t0", "show version", "show drops --nonzero")

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.ended, self.seconds = path, threading.Event(), []

    def run(self):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self.path)
            answers = link.makefile()
            while not self.ended.is_set():
                for command in self.COMMANDS:
                    began = time.monotonic()
                    link.sendall((json.dumps({"command": command, "json": True}) + "\n").encode())
                    if not answers.readline():
                        return
                    self.seconds.append(time.monotonic() - began)
                self.ended.wait(POLL)

    def stop(self):
        self.ended.set()
        self.join()
        ordered = sorted(self.seconds)
        return {"commands": len(ordered), "worst_ms": round(1e3 * ordered[-1], 1),
                "p99_ms": round(1e3 * ordered[int(len(ordered) * 0.99)], 1)}


def cpu_seconds(pid):
    """Of its one thread; finer than the clock ticks of /proc/PID/stat."""
    with open(f"/proc/{pid}/schedstat", encoding="utf-8") as stat:
        return int(stat.read().split()[0]) / 1e9


def memory_bytes(pid):
    """Private memory in use, whatever file it came from."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


@contextlib.contextmanager
def running(argv, log, **more):
    child = subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL, **more)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Progress(threading.Thread):
    """What the wire says."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.last = stream, {"west": 0, "east": 0}
        self.start()

    def run(self):
        for line in self.stream:
            self.last = json.loads(line)


def measure(tunnels, options, folder, log):
    ends = {"west": (1, 2, "initiate"), "east": (2, 1, "wait")}
    directories = {}
    for name, (here, there, start) in ends.items():
        directories[name] = os.path.join(folder, f"{name}-{tunnels}")
        os.mkdir(directories[name], 0o700)
        write_configuration(directories[name] + ".yaml", here, there, tunnels, start, options)
    with contextlib.ExitStack() as stack:
        def begin(argv, **more):
            return stack.enter_context(running(argv, log, **more))

        def signer(name):
            return begin([f"{BUILD}/control/espgate-signer", "--config", directories[name] + ".yaml", "--runtime",
                          directories[name]], stdout=log)

        def control(name):
            argv = [f"{BUILD}/control/espgate-control", "--config", directories[name] + ".yaml", "--runtime", directories[name]]
            child = begin(argv, stdout=log)
            wait_for(lambda: os.path.exists(directories[name] + "/shell.sock") or child.poll() is not None, 300, name)
            if child.poll() is not None:
                raise RuntimeError(f"{name} ended with {child.returncode}: {log.name}")
            return child
        signers = {name: signer(name).pid for name in ("east", "west")}
        pids = {name: control(name).pid for name in ("east", "west")}
        time.sleep(1.5)  # both look for a dataplane, once a second at last
        before = {name: (cpu_seconds(pid), memory_bytes(pid)) for name, pid in pids.items()}
        signers_before = {name: cpu_seconds(pid) for name, pid in signers.items()}
        shells = {name: Shell(directories[name] + "/shell.sock") for name in ends}
        for shell in shells.values():
            shell.start()
        wire = begin([f"{BUILD}/bench/ike/ike-wire", directories["west"], directories["east"], str(tunnels)],
                     stdout=subprocess.PIPE, text=True)
        progress = Progress(wire.stdout)
        wait_for(lambda: progress.last.get("installs", 0) or wire.poll() is not None, 60, "the first tunnel")
        began = progress.last["at"]
        wait_for(lambda: min(progress.last["west"], progress.last["east"]) == tunnels, options.limit,
                 f"{tunnels} tunnels: {progress.last}")
        seconds = progress.last["at"] - began
        time.sleep(0.5)
        waits = {name: shell.stop() for name, shell in shells.items()}
        after = {name: (cpu_seconds(pid), memory_bytes(pid)) for name, pid in pids.items()}
        signing = {name: cpu_seconds(pid) - signers_before[name] for name, pid in signers.items()}
        return {"tunnels": tunnels, "seconds": round(seconds, 3), "datagrams": progress.last["datagrams"],
                **{name: {"cpu_us_per_tunnel": round(1e6 * (after[name][0] - before[name][0] + signing[name]) / tunnels),
                          "signer_us_per_tunnel": round(1e6 * signing[name] / tunnels),
                          "memory_before": before[name][1], "memory_after": after[name][1],
                          "bytes_per_tunnel": round((after[name][1] - before[name][1]) / tunnels),
                          "shell": waits[name]} for name in ends}}


def table(rows):
    yield (f"{'tunnels':>8} {'seconds':>8} {'datagrams':>10}   {'side':5} {'CPU us':>7} {'signer':>7} {'set-ups/s':>10} {'SA bytes':>9} "
           f"{'all bytes':>10} {'shell ms':>9}")
    for row in rows:
        for name in ("west", "east"):
            side = row[name]
            first = f"{row['tunnels']:8} {row['seconds']:8.2f} {row['datagrams']:10}" if name == "west" else " " * 28
            yield (f"{first}   {name:5} {side['cpu_us_per_tunnel']:7} {side['signer_us_per_tunnel']:7} {1e6 / max(side['cpu_us_per_tunnel'], 1):10.0f} "
                   f"{side['bytes_per_tunnel']:9} {side['memory_after'] // row['tunnels']:10} {side['shell']['worst_ms']:9}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tunnels", nargs="*", type=int, default=[1, 1000, 10000])
    parser.add_argument("--ike", default="aes256gcm16-prfsha256-x25519")
    parser.add_argument("--esp", default="aes256gcm16")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one count of tunnels")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="espgate-ike-")
    try:
        with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
            rows = [measure(count, options, folder, log) for count in options.tunnels]
    except (RuntimeError, TimeoutError) as error:
        with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as log:
            print("".join(log.readlines()[-20:]), file=sys.stderr)
        sys.exit(str(error))
    finally:
        shutil.rmtree(folder)
    print(json.dumps(rows, indent=1) if options.json else "\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
