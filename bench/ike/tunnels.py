#!/usr/bin/python3
"""Sets tunnels up between two whole gateways, over a real channel, real dataplanes and a wire (veth, af_packet), and prints
what it took as JSON; then a ping goes through some of them, spread over all.

  sudo bench/ike/tunnels.py [--tunnels 10000]

  lan-e 10.1.0.10 --- east 172.20.1.1 .. 172.20.1.16 ---wan--- 172.20.2.1 .. 172.20.2.16 west --- lan-w 10.64.0.0/16
                      espgate                                               espgate

Needs scripts/test's build. bench/ike/scale.py measures the control process alone; this is all of it, on shared CPUs.
"""
import argparse
import ipaddress
import json
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))

from gateway import Gateway, configuration, tunnel  # noqa: E402
from lab import Lab, LabError, ping, wait_until  # noqa: E402
from test_scale import resident_mib, seconds_of_cpu  # noqa: E402

ENDS = 16  # addresses of either side, which is what a port may have
FIRST = ipaddress.ip_address("10.64.0.0")
PSK = "one for all of them"
PROCESSES = ("espgate-control", "espgate-signer", "espgate-dataplane")


def end(side, number):
    return f"172.20.{side}.{number + 1}"


def behind(number):
    return str(FIRST + number)


def tunnels(mine, theirs, names, count, start):
    """Dealt out to all pairs of ends."""
    made = []
    for number in range(count):
        at = {1: number % ENDS, 2: number // ENDS % ENDS}
        made.append(tunnel(f"t{number}", end(mine, at[mine]), end(theirs, at[theirs]),
                           *(f"{name}-{number}.example" for name in names), PSK,
                           ike=["aes256gcm16-prfsha256-x25519"], esp=["aes256gcm16"], start=start))
    return made


def gateway(space, side, lan, routes, made):
    ports = [("lan", "lan", lan), ("wan", "wan", [f"{end(side, number)}/16" for number in range(ENDS)])]
    return Gateway(space, configuration(space.short, ports, made, routes, **{"max-tunnels": max(1024, len(made))}))


def network(lab, count):
    spaces = {name: lab.namespace(name) for name in ("lan-e", "east", "west", "lan-w")}
    lab.link(spaces["lan-e"], "eth0", spaces["east"], "lan")
    lab.link(spaces["east"], "wan", spaces["west"], "wan")
    lab.link(spaces["west"], "lan", spaces["lan-w"], "eth0")
    for name in ("east", "west"):
        Lab.for_dpdk(spaces[name], "wan", "lan")
    spaces["lan-e"].address("eth0", "10.1.0.10/24")
    spaces["lan-e"].ip("route", "add", "default", "via", "10.1.0.1")
    spaces["lan-w"].address("eth0", "10.2.0.10/24")
    spaces["lan-w"].ip("route", "add", "default", "via", "10.2.0.1")
    spaces["lan-w"].ip("route", "add", "local", "10.64.0.0/16", "dev", "lo")
    east = gateway(spaces["east"], 1, ["10.1.0.1/24"],
                   [{"to": behind(number) + "/32", "tunnel": f"t{number}"} for number in range(count)],
                   tunnels(1, 2, ("east", "west"), count, "initiate"))
    west = gateway(spaces["west"], 2, ["10.2.0.1/24"],
                   [{"to": "10.1.0.0/24", "tunnel": "t0"}, {"to": "10.64.0.0/16", "via": "10.2.0.10"}],
                   tunnels(2, 1, ("west", "east"), count, "wait"))
    return spaces, east, west


def up(side):
    return sum(row["state"] == "up" for row in side.json("show", "tunnels"))


def figures(side):
    pids = {name: side.pids(name)[0] for name in PROCESSES}
    return {name: {"cpu_seconds": round(seconds_of_cpu(pid), 1), "resident_mib": round(resident_mib(pid))}
            for name, pid in pids.items()}


def measure(lab, count):
    spaces, east, west = network(lab, count)
    west.start()
    before = {"east": None, "west": figures(west)}
    began = time.monotonic()
    east.start()
    answering, worst = time.monotonic(), 0.0
    while up(east) < count:
        asked = time.monotonic()
        east.shell("show", "version")
        worst = max(worst, time.monotonic() - asked)
        if asked - began > 600:
            raise LabError(f"{up(east)} of {count} tunnels are up after {asked - began:.0f} s")
        time.sleep(0.2)
    took = time.monotonic() - began
    for number in range(0, count, max(1, count // 50)):
        wait_until(lambda: ping(spaces["lan-e"], behind(number), count=1, seconds=2), 10, f"a ping through t{number}")
    return {"tunnels": count, "seconds_until_the_shell_answers": round(answering - began, 1),
            "seconds_until_all_are_up": round(took, 1), "worst_shell_ms": round(1000 * worst),
            "east": figures(east), "west": figures(west), "west_without_tunnels": before["west"]}


def main():
    parser = argparse.ArgumentParser(description="Sets tunnels up between two whole gateways.")
    parser.add_argument("--tunnels", type=int, default=10000)
    count = parser.parse_args().tunnels
    lab = Lab("espgate-tunnels-")
    try:
        print(json.dumps(measure(lab, count), indent=1))
    finally:
        lab.close()


if __name__ == "__main__":
    main()
