#!/usr/bin/python3
"""
What IKE can agree on with a Linux kernel as peer, besides suites: ESN, IPv6 outside, transport mode, padding of inner
packets (TFC). The network is in guest_case.py.
"""
import unittest

from guest_case import EAST6, WEST6, GuestCase, east_gateway, lost_sizes, west_kernel_connection
from base import EAST, WEST, WEST_SECRETS, east_tunnel
from lab import Capture, forget_mtus, ping, pings_answered, wait_until

ALONE = "the guest is a machine in software, which takes a CPU"

IKE, ESP = "aes128gcm16-prfsha256-x25519", "aes256gcm16"
OVER_IPV4, OVER_IPV6 = (EAST, WEST), (EAST6, WEST6)


class Modes(GuestCase):
    def bring_up(self, ends=OVER_IPV4, esp=ESP, west_esp=None, start="wait", routes=None, child=None, connection=None,
                 **more):
        """`child` and `connection`: of west. `more`: of east's tunnel. The initiator is east unless it waits."""
        tunnel = east_tunnel(local=ends[0], remote=ends[1], ike=[IKE], esp=[esp], start=start, **more)
        east = self.stop_after(east_gateway(self.net.east, tunnel, routes=routes))
        self.swan.start({"east": west_kernel_connection(local=ends[1], remote=ends[0], ike=IKE, esp=west_esp or esp,
                                                        child=child, **(connection or {}))}, WEST_SECRETS)
        self.addCleanup(self.swan.stop)
        east.start()
        if start == "wait":
            self.swan.initiate("east")
        east.wait_up("west")
        return east

    def kernel_states(self):
        return self.west.run("ip xfrm state").stdout

    def check_everything(self, east):
        self.check_traffic()
        self.check_drops(east)

    def test_esn_by_linux(self):
        self.esn("wait")

    def test_esn_by_espgate(self):
        self.esn("initiate")

    def esn(self, start):
        east = self.bring_up(west_esp=f"{ESP}-esn", start=start, esp_more={"esn": "yes"})
        self.assertEqual(self.kernel_states().count("anti-replay esn context"), 2)
        self.assertIn("EXT_SEQ", self.swan.log())
        self.check_everything(east)
        self.shows("Exchange", "ESN", "initiator" if start == "initiate" else "responder")

    # Linux has both to offer, or to take: ESN is preferred by neither side's order but by espgate's choice.
    def test_esn_either(self):
        east = self.bring_up(west_esp=f"{ESP}-noesn-esn", esp_more={"esn": "either"})
        self.check_everything(east)

    def test_ipv6_outside_by_linux(self):
        self.check_everything(self.over_ipv6("wait"))

    def test_ipv6_outside_by_espgate(self):
        self.check_everything(self.over_ipv6("initiate"))

    def over_ipv6(self, start):
        east = self.bring_up(OVER_IPV6, start=start)
        self.assertIn(f"src {EAST6} dst {WEST6}", self.kernel_states())
        return east

    def test_ipv6_outside_in_udp(self):
        capture = Capture(self.net.host, "tap-wan")
        east = self.bring_up(OVER_IPV6, connection={"encap": "yes"}, encapsulation="udp")
        self.check_everything(east)
        capture.stop()
        self.assertGreaterEqual(capture.count("ip6 and udp port 4500"), 24)
        self.assertEqual(capture.count("ip6 proto 50"), 0)

    # What does not fit is cut behind ESP by both, and Linux's kernel puts together what espgate cut. A LAN's packet of
    # 1500 bytes makes two fragments; one of 8000 comes from its host in six such packets.
    def cut_after(self, ends, kind):
        for host in (self.net.lan_e, self.net.lan_w):
            forget_mtus(host)
        capture = Capture(self.net.host, "tap-wan", f"src host {ends[0]}")
        east = self.bring_up(ends, fragmentation="after")
        for host, other in ((self.net.lan_e, 2), (self.net.lan_w, 1)):
            self.assertEqual(lost_sizes(host, f"10.{other}.0.10", [1447, 1500, 3000, 8000]), [])
            self.assertEqual(lost_sizes(host, f"fd00:{other}::10", [1447, 1500, 3000, 8000]), [])
        self.assertTrue(ping(self.net.lan_e, "10.2.0.10", size=1472, dont_fragment=True), "1500 bytes go in whole")
        capture.stop()
        self.assertGreater(capture.count(kind), 24)
        self.assertLessEqual(max(capture.lengths()), 1514)
        row = east.settled_tunnels()["west"]
        self.assertGreater(row["cut_after"], 12)
        self.assertEqual(row["cut_before"], 0)
        self.assertGreater(east.json("show", "version")["reassembled"], 6)
        self.check_drops(east)

    def test_fragments_behind_esp(self):
        self.cut_after(OVER_IPV4, "ip proto 50 and ip[6:2] & 0x3fff != 0")

    def test_fragments_behind_esp_over_ipv6(self):
        self.cut_after(OVER_IPV6, "ip6 proto 44 and ip6[40] == 50")

    def transport(self, ends, start, **more):
        east = self.bring_up(ends, start=start, routes=[], mode="transport",
                             child={"mode": "transport", "local_ts": "dynamic", "remote_ts": "dynamic"}, **more)
        self.assertEqual(self.kernel_states().count("mode transport"), 2)
        capture = Capture(self.net.host, "tap-wan")
        for size in (0, 56, 1300):
            # With a limit for all it waits for the third answer that long; without, for two round trips.
            said = self.west.run(f"ping -n -q -c 3 -i 0.05 -W 5 -w 20 -s {size} {ends[0]}", check=False).stdout
            self.assertGreaterEqual(pings_answered(said), 3, said)
        capture.stop()
        self.assertGreaterEqual(capture.count("ip proto 50 or ip6 proto 50"), 18)
        self.assertEqual(capture.count("icmp or (icmp6 and (ip6[40] == 128 or ip6[40] == 129))"), 0, "nothing in clear")
        self.shows("Exchange", "transport mode", "initiator" if start == "initiate" else "responder")
        return east

    def test_transport_by_linux(self):
        self.transport(OVER_IPV4, "wait")

    def test_transport_by_espgate(self):
        self.transport(OVER_IPV4, "initiate")

    def test_transport_over_ipv6(self):
        self.transport(OVER_IPV6, "wait", west_esp=f"{ESP}-esn", esp_more={"esn": "yes"})

    # Every packet of espgate's is as long as the longest; Linux, which pads as well, has its own idea of "all".
    def test_tfc(self):
        east = self.bring_up(esp_more={"tfc": "mtu"}, child={"tfc_padding": "mtu"})
        capture = Capture(self.net.host, "tap-wan", "esp")
        for size in (0, 100, 700):
            wait_until(lambda: ping(self.net.lan_e, "10.2.0.10", size=size), 20, "pings")
        capture.stop()
        lengths = capture.lengths("src host " + EAST)
        self.assertGreaterEqual(len(lengths), 9)
        self.assertEqual(len(set(lengths)), 1, "all that espgate sends is of one length")
        self.assertGreater(lengths[0], 1400)
        self.assertGreater(min(capture.lengths("src host " + WEST)), 1400, "and Linux pads, which espgate bears")
        self.check_drops(east)


if __name__ == "__main__":
    unittest.main()
