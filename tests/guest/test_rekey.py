#!/usr/bin/python3
"""
Rekeys with a Linux kernel's ESP under running floods of pings, raw and in UDP: none may be lost. The network is in
guest_case.py.
"""
import unittest

from guest_case import GuestCase, east_gateway, west_kernel_connection
from base import WEST_SECRETS, east_tunnel
from lab import Capture, Ping, wait_until

ALONE = "the guest is a machine in software, which takes a CPU"

IKE, ESP = "aes128gcm16-prfsha256-x25519", "aes256gcm16-x25519"


class Rekey(GuestCase):
    def bring_up(self, encapsulated):
        east = self.stop_after(east_gateway(self.net.east, east_tunnel(
            ike=[IKE], esp=[ESP], start="wait", encapsulation="udp" if encapsulated else "auto"))).start()
        self.swan.start({"east": west_kernel_connection(ike=IKE, esp=ESP, encap="yes" if encapsulated else "no")},
                        WEST_SECRETS)
        self.addCleanup(self.swan.stop)
        self.swan.initiate("east")
        east.wait_up("west")
        return east

    def under_pings(self, east):
        net = self.net
        flows = [Ping(net.lan_e, "10.2.0.10", interval=0.02), Ping(net.lan_w, "10.1.0.10", interval=0.02),
                 Ping(net.lan_e, "fd00:2::10", interval=0.02)]
        wait_until(lambda: all("icmp_seq=50" in flow.process.output() for flow in flows), 30, "pings run")
        self.rekey(east, "show ipsec sa", lambda: self.swan.swanctl("--rekey", "--child", "net"))
        self.rekey(east, "show ipsec sa", lambda: east.shell("rekey", "tunnel", "west"))
        self.rekey(east, "show ike sa", lambda: self.swan.swanctl("--rekey", "--ike", "east"))
        for sent, missing in [flow.stop() for flow in flows]:
            self.assertGreater(sent, 100)
            self.assertEqual(missing, [], f"lost of {sent} pings; dropped: {east.drops()}")

    def rekey(self, east, shown, act):
        """Until one SA is left on either side, and it is none of those before."""
        def spis():
            return {row.get("inbound_spi") or row["initiator_spi"] for row in east.json(*shown.split())}
        before = spis()
        act()
        wait_until(lambda: len(spis()) == 1 and not before & spis(), 30, lambda: f"new SAs alone: {self.swan.sas()}")
        wait_until(lambda: self.swan.sas().count("INSTALLED") == 1, 30, "the old child SA is gone")

    def test_raw(self):
        self.on_the_wire("esp", "udp port 4500", encapsulated=False)

    def test_in_udp(self):
        self.on_the_wire("udp port 4500", "esp", encapsulated=True)

    def on_the_wire(self, seen, unseen, encapsulated):
        east = self.bring_up(encapsulated)
        capture = Capture(self.net.host, "tap-wan")
        self.under_pings(east)
        self.check_traffic()
        capture.stop()
        self.assertGreater(capture.count(seen), 600)
        self.assertEqual(capture.count(unseen), 0)


if __name__ == "__main__":
    unittest.main()
