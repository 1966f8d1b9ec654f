#!/usr/bin/python3
"""
200 tunnels whose SAs live for 20 to 40 seconds, over a wire that loses one packet in twenty, IKE's and ESP's alike.

  lan-e 10.1.0.10 --- east 192.0.2.1 --- net (router, loses) --- 198.51.100.1 west --- lan-w 10.2.0.10
  10.101.0.0/16                                                                        10.102.0.0/16

Every ESP packet that the wire loses is counted there, so whatever else is missing was lost to a rekey. Two minutes, or
ESPGATE_SOAK_SECONDS (3600 for the figures of docs/assurance.md).
"""
import json
import os
import time
import unittest

from base import LabCase
from gateway import Gateway, configuration, tunnel
from lab import Lab, ping, resident_mib, wait_until
from paced import Paced
from topologies import east, lan

ALONE = "200 tunnels that are rekeyed every quarter of a minute"

SECONDS = int(os.environ.get("ESPGATE_SOAK_SECONDS", "120"))
TUNNELS = 200
RATE = 1000  # packets a second each way, of all tunnels together
EAST, WEST = "192.0.2.1", "198.51.100.1"
PSK = "one for all of them"
SHORTEST, LONGEST = 20, 40  # seconds
GROWTH = 4  # MiB that a process may take more at the end than halfway

LOSS = """
table ip loss {
  counter esp-to-west {}
  counter esp-to-east {}
  counter ike {}
  chain forward {
    type filter hook forward priority 0;
    numgen random mod 20 != 0 accept
    ip protocol esp oifname to-west counter name esp-to-west drop
    ip protocol esp oifname to-east counter name esp-to-east drop
    udp dport { 500, 4500 } counter name ike drop
  }
}
"""


class Wire:
    def __init__(self, lab):
        self.lan_e, self.east = east(lab)
        self.net, self.west = lab.namespace("net", forwarding=True), lab.namespace("west")
        for gateway, address in ((self.east, "192.0.2.254/24"), (self.west, "198.51.100.254/24")):
            lab.link(gateway, "wan", self.net, f"to-{gateway.short}")
            self.net.address(f"to-{gateway.short}", address)
            Lab.for_dpdk(gateway, "wan")
        self.lan_w = lan(lab, "lan-w", self.west, 2)
        Lab.for_dpdk(self.west, "lan")
        for number, host in ((101, self.lan_e), (102, self.lan_w)):
            host.ip("route", "add", "local", f"10.{number}.0.0/16", "dev", "lo")

    def lost(self):
        listed = json.loads(self.net.run("nft", "-j", "list", "counters").stdout)["nftables"]
        return {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}


def lifetime(tunnel_number, step):
    return f"{SHORTEST + tunnel_number * step % (LONGEST - SHORTEST + 1)}s"


class Soak(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.net = Wire(cls.lab)

    @staticmethod
    def gateway(space, here, there, number, **more):
        """`number`: of the network behind it; the other one's is 203 less this."""
        far = 203 - number
        tunnels = [tunnel(f"t{i}", here, there, f"{number}-{i}.example", f"{far}-{i}.example", PSK,
                          ike=["aes128gcm16-prfsha256-x25519"], esp=["aes128gcm16-x25519"],
                          ike_more={"lifetime": lifetime(i, 5)}, esp_more={"lifetime": lifetime(i, 1)}, **more)
                   for i in range(TUNNELS)]
        lan_net = f"10.{number - 100}.0"
        routes = [{"to": "0.0.0.0/0", "via": here.rsplit(".", 1)[0] + ".254"},
                  {"to": f"10.{number}.0.0/16", "via": f"{lan_net}.10"},
                  *({"to": f"10.{far}.{i}.0/24", "tunnel": f"t{i}"} for i in range(TUNNELS))]
        ports = [("lan", "lan", [f"{lan_net}.1/24"]), ("wan", "wan", [f"{here}/24"])]
        return Gateway(space, configuration(space.short, ports, tunnels, routes))

    @staticmethod
    def memory(gateways):
        return {f"{gateway.space.short}: {name}": resident_mib(gateway.pids(name)[0])
                for gateway in gateways for name in ("espgate-dataplane", "espgate-control")}

    @staticmethod
    def numbers(gateways):
        """Of SAs, with those that were replaced and still wait for their end."""
        return {f"{gateway.space.short}: {kind}": len(gateway.json("show", kind, "sa"))
                for gateway in gateways for kind in ("ipsec", "ike")}

    @staticmethod
    def sas(gateway, direction):
        return sorted(row[f"{direction}_spi"] for row in gateway.json("show", "ipsec", "sa"))

    def watch(self, gateways):
        """Until the time is over: every child SA that was seen, and memory and numbers of SAs halfway."""
        seen, halfway = set(), None
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(5)
            seen.update(self.sas(gateways[0], "inbound"))
            if halfway is None and end - time.monotonic() < SECONDS / 2:
                halfway = (self.memory(gateways), self.numbers(gateways))
        return seen, *halfway

    def test_nothing_is_lost_to_a_rekey(self):
        west = self.stop_after(self.gateway(self.net.west, WEST, EAST, 102, start="wait")).start()
        east_end = self.stop_after(self.gateway(self.net.east, EAST, WEST, 101)).start()
        gateways = (east_end, west)
        wait_until(lambda: all(row["state"] == "up" for end in gateways for row in end.tunnels().values()), 60,
                   "all tunnels are up")
        # A gateway that is to deliver the first packets to a host it does not know yet keeps a few of them only.
        for host, address in ((self.net.lan_e, "10.1.0.1"), (self.net.lan_w, "10.2.0.1")):
            wait_until(lambda host=host, address=address: ping(host, address, count=1), 20, f"{address} answers")
        self.net.net.nft(LOSS)
        streams = {"esp-to-west": Paced((self.net.lan_e, "10.1.0.10"), (self.net.lan_w, "10.102.0.1"), RATE, TUNNELS,
                                        hosts=TUNNELS, step=256),
                   "esp-to-east": Paced((self.net.lan_w, "10.2.0.10"), (self.net.lan_e, "10.101.0.1"), RATE, TUNNELS,
                                        hosts=TUNNELS, step=256)}
        seen, memory, numbers = self.watch(gateways)
        accounts = {name: stream.stop() for name, stream in streams.items()}
        injected = self.net.lost()
        grown = {name: (memory[name], mib) for name, mib in self.memory(gateways).items()}
        more = {name: (numbers[name], number) for name, number in self.numbers(gateways).items()}
        print(f"{SECONDS} s: {len(seen)} child SAs seen; {injected['ike']} messages of IKE lost by the wire")
        for name, account in accounts.items():
            print(f"{name}: {account['sent']} packets sent, {account['lost']} lost, {injected[name]} by the wire")
        print("halfway and at the end: MiB", {name: tuple(map(round, pair)) for name, pair in grown.items()}, "SAs", more)
        downs = {end.space.short: [line for line in end.shell("show", "log").stdout.splitlines() if " down" in line]
                 for end in gateways}
        drops = {end.space.short: end.drops() for end in gateways}
        for name, account in accounts.items():
            self.assertEqual(account["lost"], injected[name], f"{name}: {drops} {downs}")
            self.assertGreater(injected[name], account["sent"] / 40)
            self.assertEqual(account["doubled"], 0)
        self.assertGreater(len(seen), TUNNELS * SECONDS / LONGEST, "they were rekeyed")
        for name, (then, now) in grown.items():
            self.assertLess(now - then, GROWTH, f"the memory of {name} does not grow")
        for name, (then, now) in more.items():
            self.assertLess(now, 2 * TUNNELS, f"{name}: none is left over ({then} halfway)")
        self.ends_clean(gateways)

    def ends_clean(self, gateways):
        self.net.net.nft("delete table ip loss\n")
        gateways[0].stop()
        for kind in ("ipsec", "ike"):
            wait_until(lambda kind=kind: not gateways[1].json("show", kind, "sa"), 90, f"no SA is left over: {kind}")


if __name__ == "__main__":
    unittest.main()
