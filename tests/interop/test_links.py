#!/usr/bin/python3
"""
Links that go down and come back, with dead peer detection switched off: only the port's state tells.

                            /--- wan-a 192.0.2.0/24 ---\\
  lan-e 10.1.0.10 --- east <                            > west --- lan-w 10.2.0.10 to .17
                            \\--- wan-b 198.51.100.0/24 -/
                      espgate                            espgate, a tunnel by each, in a group
"""
import unittest

from base import EAST_LAN, PSK, WEST_LAN, LabCase
from gateway import Gateway, configuration, tunnel
from lab import Lab, ping, wait_until
from topologies import lan

NETS = {"a": "192.0.2.", "b": "198.51.100."}
HOSTS = [f"10.2.0.{number}" for number in range(10, 18)]


def side(name, own, far, addresses, to, start, **dataplane):
    """`own`, `far`: last bytes of the addresses on the wans."""
    tunnels = [tunnel(f"t-{letter}", net + own, net + far, f"{own}-{letter}.example", f"{far}-{letter}.example", PSK,
                      dpd=0, start=start) for letter, net in NETS.items()]
    ports = [("lan", "lan", addresses)] + [(f"wan-{letter}", f"wan-{letter}", [net + own + "/24"])
                                           for letter, net in NETS.items()]
    return configuration(name, ports, tunnels, [{"to": to, "group": "both"}],
                         [{"name": "both", "tunnels": ["t-a", "t-b"]}], **dataplane)


class Links(LabCase):
    needs_swan = False

    @classmethod
    def build(cls):
        cls.east_space, cls.west_space = cls.lab.namespace("east"), cls.lab.namespace("west")
        for letter in NETS:
            cls.lab.link(cls.east_space, f"wan-{letter}", cls.west_space, f"wan-{letter}")
        cls.lan_e, lan_w = lan(cls.lab, "lan-e", cls.east_space, 1), lan(cls.lab, "lan-w", cls.west_space, 2)
        lan_w.address("eth0", *(host + "/24" for host in HOSTS[1:]))
        for space in (cls.east_space, cls.west_space):
            Lab.for_dpdk(space, "lan", "wan-a", "wan-b")
        cls.east_space.ip("link", "set", "wan-a", "down")  # the gateway sets it up
        Gateway(cls.west_space, side("west", "2", "1", WEST_LAN, "10.1.0.0/24", "wait",
                                     **{"main-cpu": 1, "workers": [0]})).start()
        cls.east = Gateway(cls.east_space, side("east", "1", "2", EAST_LAN, "10.2.0.0/24", "initiate")).start()
        cls.east.wait_up("t-a", "t-b")

    def port(self, name):
        return {row["name"]: row for row in self.east.json("show", "interfaces")}[name]

    def wait_state(self, name, state):
        wait_until(lambda: self.port(name)["state"] == state, 30, lambda: f"{name} is {state}: {self.port(name)}")

    def all_answer(self):
        for host in HOSTS:
            wait_until(lambda host=host: ping(self.lan_e, host, count=1, seconds=3), 20, f"{host} answers")

    def sent(self):
        return [self.east.settled_tunnels()[f"t-{letter}"]["tx_packets"] for letter in NETS]

    def test_1_both_carry(self):
        before = self.sent()
        self.all_answer()
        wait_until(lambda: all(now > then for then, now in zip(before, self.sent())), 10,
                   lambda: f"both counted something: {before} {self.sent()}")

    def test_2_a_link_goes_down_and_comes_back(self):
        self.west_space.ip("link", "set", "wan-a", "down")
        self.wait_state("wan-a", "down")
        before = self.sent()
        self.all_answer()
        after = self.sent()
        self.assertEqual(after[0], before[0])
        self.assertGreaterEqual(after[1] - before[1], len(HOSTS))
        self.assertTrue(self.east.up("t-a"), "its SAs stay")
        self.west_space.ip("link", "set", "wan-a", "up")
        self.wait_state("wan-a", "up")

        def carries_again():  # which it does when both gateways have seen its port
            self.all_answer()
            return self.sent()[0] > after[0]
        wait_until(carries_again, 20, lambda: f"t-a carries again: {after} {self.sent()}")

    def test_3_what_is_shown_of_a_port(self):
        row = self.port("wan-b")
        self.assertEqual((row["driver"], row["receive_queues"], row["spreading"]),
                         ("net_af_packet", 1, "one receive queue"))
        for key in ("missed", "no_buffer", "rx_errors", "tx_errors"):
            self.assertEqual(row[key], 0, key)
        shown = " ".join(self.east.shell("show", "interfaces").stdout.split())  # lines are wrapped
        self.assertIn("af_packet:wan-b (net_af_packet), 1 receive and 1 transmit queues: one receive queue", shown)

    def test_3_multicast_without_promiscuous_mode(self):
        for group in ("33:33:00:00:00:01", "33:33:ff:00:00:01"):
            self.assertIn(group, self.east_space.ip("maddr", "show", "dev", "lan").stdout)
        self.assertIn("promiscuity 0", self.east_space.ip("-d", "link", "show", "dev", "lan").stdout)

    def test_4_an_interface_that_is_deleted_is_absent(self):
        self.west_space.ip("link", "del", "wan-b")
        self.wait_state("wan-b", "absent")
        self.all_answer()


if __name__ == "__main__":
    unittest.main()
