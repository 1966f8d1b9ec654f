#!/usr/bin/python3
"""espgate (east) whose ESP a crypto device does (lookaside), against strongSwan (west). The device is DPDK's OpenSSL."""
import unittest

from base import east_configuration, east_tunnel, west_swan
from gateway import Gateway
from lab import LabError, ping, wait_until
from test_strongswan import Tunnels

DEVICE = "crypto_openssl0"


class Lookaside(Tunnels):
    def bring_up(self, esp, **device):
        self.esp = esp
        tunnel = east_tunnel(ike=["aes256-sha384-ecp384"], esp=[esp], start="initiate")
        device = {"device": DEVICE, **device}
        east = self.stop_after(Gateway(self.net.east, east_configuration(tunnel, **{"crypto-devices": [device]})))
        west = self.stop_after(west_swan(self.net.west, ike="aes256-sha384-ecp384", esp=esp))
        west.start()
        east.start()
        east.wait_up("west")
        self.check_traffic()
        return east

    def check_counters(self, east):
        """Every packet of the tunnel was the device's, each way; also those that are dropped once they are opened."""
        def agrees():
            sa = east.json("show", "ipsec", "sa")[0]
            device = east.json("show", "crypto-devices")[0]
            return (sa["rx_crypto"] >= sa["inbound_packets"] >= 3 and sa["tx_crypto"] == sa["outbound_packets"] >= 3
                    and device["opened"] >= sa["rx_crypto"] and device["sealed"] >= sa["tx_crypto"])
        wait_until(agrees, 10, lambda: f"counters that say so: {east.json('show', 'ipsec', 'sa')} "
                                       f"{east.json('show', 'crypto-devices')} {east.drops()}")
        device = east.json("show", "crypto-devices")[0]
        self.assertEqual((device["name"], device["state"], device["failed"], device["lost"]), (DEVICE, "works", 0, 0))
        self.assertEqual(device["sessions"], 2)
        self.assertIn(self.esp, device["suites"])
        self.assertIn("by the crypto device", east.shell("show", "ipsec", "sa").stdout)

    def test_aead(self):
        east = self.bring_up("aes256gcm16")
        self.check_counters(east)
        self.assertEqual(east.stop(), 0, "a clean end, with a device")

    def test_cipher_and_hmac(self):
        self.check_counters(self.bring_up("aes128-sha256"))

    # A rekey makes new sessions and gives the former ones back, with packets on their way.
    def test_rekey_under_traffic(self):
        east = self.bring_up("aes128gcm16")
        before = east.json("show", "ipsec", "sa")[0]["inbound_spi"]
        east.shell("rekey", "tunnel", "west")
        wait_until(lambda: east.json("show", "ipsec", "sa")[0]["inbound_spi"] != before
                   or len(east.json("show", "ipsec", "sa")) > 1, 30, "new SAs")
        wait_until(lambda: ping(self.net.lan_e, "10.2.0.10"), 20, "traffic after the rekey")
        wait_until(lambda: east.json("show", "crypto-devices")[0]["sessions"] == 2, 60, "the former sessions gone")

    def test_other_suites_stay_with_software(self):
        east = self.bring_up("aes128gcm16", suites=["aes128-sha256"])
        sa = east.json("show", "ipsec", "sa")[0]
        self.assertEqual((sa["rx_crypto"], sa["tx_crypto"]), (0, 0))
        self.assertEqual(east.json("show", "crypto-devices")[0]["suites"], "aes128-sha256")

    def test_a_device_with_too_few_queue_pairs(self):
        dataplane = {"workers": [1, 1], "crypto-devices": [f"{DEVICE},max_nb_queue_pairs=1"]}
        east = self.stop_after(Gateway(self.net.east, east_configuration(east_tunnel(), **dataplane)))
        with self.assertRaisesRegex(LabError, "1 queue pairs, and 2 workers"):
            east.start()


if __name__ == "__main__":
    unittest.main()
