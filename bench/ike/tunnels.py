#!/usr/bin/python3
"""Sets tunnels up between two whole gateways, over a real channel, real dataplanes and a wire (veth, af_packet), and prints
what it took as JSON; then a ping goes through some of them, spread over all.

  sudo bench/ike/tunnels.py [--tunnels 10000] [--templates]

  lan-e 10.1.0.10 --- east 172.20.1.1 .. 172.20.1.16 ---wan--- 172.20.2.1 .. 172.20.2.16 west --- lan-w 10.64.0.0/16
                      espgate                                               espgate

With --templates west has four tunnels for all of them (`remote: any`), and each of east's has ends, an identity, a secret
and a network of its own.
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
from lab import Lab, LabError, ping, resident_mib, seconds_of_cpu, wait_until  # noqa: E402

ENDS = 16  # addresses of either side, which is what a port may have
TEMPLATES = 4
FIRST, FIRST_LOOPBACK = ipaddress.ip_address("10.64.0.0"), ipaddress.ip_address("10.200.0.0")
PSK = "one for all of them"
PROCESSES = ("espgate-control", "espgate-signer", "espgate-dataplane")


def end(side, number):
    return f"172.20.{side}.{number + 1}"


def behind(number):
    return str(FIRST + number)


def own(number):
    """Where packets into tunnel `number` come from, as the template's peers tell."""
    return f"10.{80 + number % TEMPLATES}.{number // TEMPLATES // 256}.{number // TEMPLATES % 256}"


def loopback(number):
    return str(FIRST_LOOPBACK + number // TEMPLATES)


def tunnels(mine, theirs, names, count, start):
    """Dealt out to all pairs of ends."""
    made = []
    for number in range(count):
        at = {1: number % ENDS, 2: number // ENDS % ENDS}
        made.append(tunnel(f"t{number}", end(mine, at[mine]), end(theirs, at[theirs]),
                           *(f"{name}-{number}.example" for name in names), PSK,
                           ike=["aes256gcm16-prfsha256-x25519"], esp=["aes256gcm16"], start=start))
    return made


def to_templates(count):
    """East's, each with an end and a network of its own."""
    made = tunnels(1, 2, ("east", "west"), count, "initiate")
    for number, each in enumerate(made):
        each["local"]["address"] = loopback(number)
        each["remote"] = {"address": end(2, number % TEMPLATES), "id": "west.example"}
        each["selectors"] = {"local": [f"{own(number)}/32"], "remote": ["10.64.0.0/16"]}
    return made


def templates(count):
    """West's: one for each of some of its addresses, with so many peers."""
    made = tunnels(2, 1, ("west", "east"), TEMPLATES, "wait")
    for number, each in enumerate(made):
        del each["psk"]
        each.update(name=f"peer{number}", local={"address": end(2, number), "id": "west.example"}, remote="any",
                    peers=count // TEMPLATES, selectors={"local": ["10.64.0.0/16"], "remote": [f"10.{80 + number}.0.0/16"]})
        each["psks-file"] = f"peer{number}.psks"
    return made


def write_secrets(side, count):
    for which in range(TEMPLATES):
        path = os.path.join(side.directory, f"peer{which}.psks")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            out.writelines(f"east-{number}.example: {PSK}\n" for number in range(which, count, TEMPLATES))


def gateway(space, side, lan, routes, made, count):
    wan = [end(side, number) for number in range(ENDS)]
    ports = [("lan", "lan", lan), ("wan", "wan", [f"{address}/16" for address in wan])]
    others = [f"{address}/32" for address in sorted({each["local"]["address"] for each in made} - set(wan))]
    loopbacks = [{"name": f"lo{number}", "addresses": others[number:number + ENDS]} for number in range(0, len(others), ENDS)]
    made = configuration(space.short, ports, made, routes, **{"max-tunnels": max(1024, count)})
    return Gateway(space, {**made, "loopbacks": loopbacks})


def network(lab, count, by_templates):
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
    spaces["lan-e"].ip("route", "add", "local", "10.80.0.0/14", "dev", "lo")
    out = [{"to": behind(number) + "/32", "tunnel": f"t{number}"} for number in range(count)]
    back = [{"to": "10.64.0.0/16", "via": "10.2.0.10"}]
    if by_templates:
        theirs, ours = to_templates(count), templates(count)
        out.append({"to": "10.80.0.0/14", "via": "10.1.0.10"})
        back.append({"to": "10.200.0.0/16", "via": end(1, 0)})
    else:
        theirs, ours = tunnels(1, 2, ("east", "west"), count, "initiate"), tunnels(2, 1, ("west", "east"), count, "wait")
        back.append({"to": "10.1.0.0/24", "tunnel": "t0"})
    east = gateway(spaces["east"], 1, ["10.1.0.1/24"], out, theirs, count)
    west = gateway(spaces["west"], 2, ["10.2.0.1/24"], back, ours, count)
    if by_templates:
        write_secrets(west, count)
    return spaces, east, west


def up(side):
    return sum(row["state"] == "up" for row in side.json("show", "tunnels"))


def figures(side):
    pids = {name: side.pids(name)[0] for name in PROCESSES}
    return {name: {"cpu_seconds": round(seconds_of_cpu(pid), 1), "resident_mib": round(resident_mib(pid))}
            for name, pid in pids.items()}


def measure(lab, count, by_templates):
    spaces, east, west = network(lab, count, by_templates)
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
        source = own(number) if by_templates else None
        wait_until(lambda: ping(spaces["lan-e"], behind(number), count=1, seconds=2, source=source), 10,
                   f"a ping through t{number}")
    return {"tunnels": count, "seconds_until_the_shell_answers": round(answering - began, 1),
            "seconds_until_all_are_up": round(took, 1), "worst_shell_ms": round(1000 * worst),
            "east": figures(east), "west": figures(west), "west_without_tunnels": before["west"]}


def main():
    parser = argparse.ArgumentParser(description="Sets tunnels up between two whole gateways.")
    parser.add_argument("--tunnels", type=int, default=10000)
    parser.add_argument("--templates", action="store_true")
    options = parser.parse_args()
    lab = Lab("espgate-tunnels-")
    try:
        print(json.dumps(measure(lab, options.tunnels, options.templates), indent=1))
    finally:
        lab.close()


if __name__ == "__main__":
    main()
