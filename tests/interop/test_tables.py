#!/usr/bin/python3
"""
Route tables: two customers who know nothing of each other, with the same addresses inside and outside. Each has a table
for its LAN and another for its provider, in which a loopback is the end of its tunnel. The kernel's twins of the tunnels'
interfaces are called `vti` both, each in a network namespace of the customer's own.

  red-lan  10.1.0.10 --- lan-red  east wan-red  192.0.2.1 --- 192.0.2.2 red-end  --- 10.2.0.10 red-far
                                (espgate)  203.0.113.1
  blue-lan 10.1.0.10 --- lan-blue east wan-blue 192.0.2.1 --- 192.0.2.2 blue-end --- 10.2.0.10 blue-far
"""
import unittest

import swan
from base import LabCase
from gateway import Gateway, configuration, tunnel
from lab import Lab, ping, wait_until

END = "203.0.113.1"
PEER = "192.0.2.2"
CUSTOMERS = ("red", "blue")


def customer(name, psk, space):
    """What the configuration has of one: tables, ports, loopback, tunnel, routes. `space`: where its twins are."""
    inet = f"{name}-inet"
    return {"tables": [{"name": name, "namespace": space}, {"name": inet}],
            "loopbacks": [{"name": f"lo-{name}", "addresses": [END + "/32"], "table": inet}],
            "ports": [{"name": f"lan-{name}", "device": f"af_packet:lan-{name}", "addresses": ["10.1.0.1/24"],
                       "table": name},
                      {"name": f"wan-{name}", "device": f"af_packet:wan-{name}", "addresses": ["192.0.2.1/24"],
                       "table": inet, "encrypted-only": True}],
            "tunnels": [tunnel(name, END, PEER, END, PEER, psk, table=inet,
                               interface={"name": f"vti-{name}", "table": name, "addresses": ["169.254.1.1/30"],
                                          "kernel": "vti"})],
            "routes": [{"to": "10.2.0.0/24", "table": name, "tunnel": name}]}


class Tables(LabCase):
    @classmethod
    def build(cls):
        cls.east_space = cls.lab.namespace("east")
        config = configuration("east", [], [], [], **{"max-routes": 1000})
        cls.near, cls.far, cls.ends, cls.twins = {}, {}, {}, {}
        for name in CUSTOMERS:
            cls.build_customer(name)
            for key, value in customer(name, f"the secret of {name}", cls.twins[name].name).items():
                config[key] = config.get(key, []) + value
        cls.east = Gateway(cls.east_space, config).start()
        cls.east.wait_up(*CUSTOMERS)

    @classmethod
    def build_customer(cls, name):
        near, end, far = (cls.lab.namespace(f"{name}-{what}") for what in ("lan", "end", "far"))
        end.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        cls.lab.link(near, "eth0", cls.east_space, f"lan-{name}")
        cls.lab.link(end, "wan", cls.east_space, f"wan-{name}")
        cls.lab.link(far, "eth0", end, "lan")
        Lab.for_dpdk(cls.east_space, f"lan-{name}", f"wan-{name}")
        near.address("eth0", "10.1.0.10/24")
        near.ip("route", "add", "default", "via", "10.1.0.1")
        end.address("wan", PEER + "/24")
        end.address("lan", "10.2.0.1/24")
        end.ip("route", "add", END, "via", "192.0.2.1")
        far.address("eth0", "10.2.0.10/24")
        far.ip("route", "add", "default", "via", "10.2.0.1")
        far.address("eth0", "10.3.0.10/32")
        end.ip("route", "add", "10.3.0.10", "via", "10.2.0.10")
        cls.twins[name] = cls.lab.namespace(f"{name}-twins")
        connection = swan.connection(PEER, END, PEER, END)
        cls.near[name], cls.far[name] = near, far
        cls.ends[name] = swan.Swan(end, {"east": connection}, [(PEER, END, f"the secret of {name}")]).start()

    def carried(self):
        tunnels = self.east.settled_tunnels()
        return {name: tunnels[name]["tx_packets"] for name in CUSTOMERS}

    def test_each_reaches_its_own_far_end(self):
        for name, other in (CUSTOMERS, CUSTOMERS[::-1]):
            before = self.carried()
            wait_until(lambda name=name: ping(self.near[name], "10.2.0.10", count=5), 20, name)

            def counted(name=name, before=before):
                now = self.carried()
                return now if now[name] - before[name] >= 5 else None
            after = wait_until(counted, 10, f"{name} counts them")
            self.assertEqual(after[other], before[other])

    def test_one_is_gone_and_the_other_notices_nothing(self):
        self.addCleanup(self.bring_back, "red")
        self.ends["red"].stop()
        wait_until(lambda: not ping(self.near["red"], "10.2.0.10", count=1, seconds=2), 20, "red is gone")
        self.assertTrue(ping(self.near["blue"], "10.2.0.10", count=5))

    def bring_back(self, name):
        self.ends[name].start()
        self.east.shell("reset", "tunnel", name)
        self.east.wait_up(name)
        wait_until(lambda: ping(self.near[name], "10.2.0.10"), 20, f"{name} is back")

    def test_each_table_learns_from_its_own_namespace(self):
        for name in CUSTOMERS:
            wait_until(lambda name=name: "169.254.1.1/30" in self.twins[name].ip("addr", "show", "dev", "vti").stdout, 10,
                       f"{name} has its twin")
        self.twins["red"].ip("route", "add", "10.3.0.0/24", "dev", "vti")
        wait_until(lambda: ping(self.near["red"], "10.3.0.10", count=1, seconds=1), 20, "red has learned the route")
        self.assertFalse(ping(self.near["blue"], "10.3.0.10", count=2, seconds=2))
        self.twins["red"].ip("route", "del", "10.3.0.0/24")
        wait_until(lambda: not ping(self.near["red"], "10.3.0.10", count=1, seconds=1), 20, "and that it has gone")

    # The table of the LAN has no route to the provider, and nothing is to be had in clear on the provider's side.
    def test_nothing_leads_from_one_table_to_another(self):
        self.assertFalse(ping(self.near["red"], PEER, count=2, seconds=3))
        self.assertFalse(ping(self.near["red"], END, count=2, seconds=3))
        wait_until(lambda: self.east.drops().get("no-route", 0) > 0, 10, lambda: str(self.east.drops()))
        before = self.east.drops().get("cleartext-in", 0)
        self.assertFalse(ping(self.ends["red"].space, "192.0.2.1", count=2, seconds=3))
        wait_until(lambda: self.east.drops().get("cleartext-in", 0) > before, 10, lambda: str(self.east.drops()))

    def test_the_shell_tells_tables(self):
        rows = [row for row in self.east.json("show", "routes") if row["destination"] == "10.2.0.0/24"]
        self.assertEqual([(row["table"], row["target"]) for row in rows], [("red", "red"), ("blue", "blue")])
        self.assertIn("in table red", self.east.shell("show", "routes").stdout)


if __name__ == "__main__":
    unittest.main()
